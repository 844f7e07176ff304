"""Cells that a spreadsheet must not run."""

from __future__ import annotations

import csv
import io

import pytest

from example_project.fieldbook.spreadsheets import csv_text, neutral


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1", '=HYPERLINK("x")', "-", "-1;2", "+49 30"],
)
def test_a_formula_becomes_text(cell: str) -> None:
    assert neutral(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "Kennedy", "O'Hare", "-73.8", "+40", -73.8, 12, "a=b", "1-2"])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert neutral(cell) == str(cell)


def test_a_file_can_be_read_back() -> None:
    text = csv_text(["a", "b"], [['say "hi", now', "two\nlines"], ["=1", 2]])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [["a", "b"], ['say "hi", now', "two\nlines"], ["'=1", "2"]]
