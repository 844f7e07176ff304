"""CSV files that are safe to open in a spreadsheet. Pure: no database, no Django."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FULL_WIDTH = ("\uff1d", "\uff0b", "\uff0d", "\uff20")  # some spreadsheets read these as the four below
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *_FULL_WIDTH)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def neutral(cell: object) -> str:
    """Return a cell's text, with an apostrophe in front where a spreadsheet would take it for a formula."""
    text = str(cell)
    begins_badly = text.startswith(_STARTS_FORMULA) or text.lstrip().startswith(_STARTS_FORMULA)
    return f"'{text}" if begins_badly and not _NUMBER.fullmatch(text) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV file with every cell neutralised."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows([neutral(cell) for cell in row] for row in rows)
    return file.getvalue()
