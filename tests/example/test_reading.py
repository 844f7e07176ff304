"""What a CSV file and its rows may hold."""

from __future__ import annotations

import pytest

from example_project.fieldbook.reading import (
    COLUMNS,
    MAX_BYTES,
    MAX_ROWS,
    BadFile,
    Problem,
    Row,
    check_file,
    checked,
    read_rows,
)

from .conftest import HEADER, csv_file

GOOD = {
    "iata": "JFK",
    "name": "Kennedy",
    "city": "New York",
    "state": "NY",
    "country": "USA",
    "latitude": "40.6",
    "longitude": "-73.8",
}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b" \n\r\n", "is empty"),
        (b"\xef\xbb\xbf", "must name the columns"),
        (HEADER.encode() + b"\nJFK,Z\xfcrich", "not UTF-8"),
        (HEADER.encode() + b"\nJFK,\x00", "NUL"),
        (b"iata,name\nJFK,Kennedy", "Missing: city, state, country, latitude, longitude"),
        (HEADER.replace(",", ";").encode(), "Missing: iata"),
        (f"{HEADER},name\n".encode(), "names name more than once"),
        (b'"iata\n', "Line 1 cannot be read as CSV"),
        (HEADER.encode() + b"\n" * MAX_BYTES, "larger than 2 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    for look in (check_file, read_rows):
        with pytest.raises(BadFile, match=reason):
            look(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (csv_file(), "no rows below"),
        (csv_file("", "  ,"), "no rows below"),
        (csv_file("JFK,Kennedy,New York,NY,USA,1,1", 'LGA,"open'), "Line 3 cannot be read as CSV"),
        (csv_file(f"JFK,{'x' * 140_000},New York,NY,USA,1,1"), "Line 2 cannot be read as CSV: field larger"),
        (csv_file(*["a,,,,,,"] * (MAX_ROWS + 1)), "more than 25,000 rows"),
    ],
)
def test_rows_that_cannot_be_read_are_for_the_job_to_find(data: bytes, reason: str) -> None:
    check_file(data)
    with pytest.raises(BadFile, match=reason):
        read_rows(data)


def test_rows_know_the_line_they_begin_on() -> None:
    rows = read_rows(csv_file('AAA,"two\nlines",,NY,USA,1,1', "", "BBB,Plain,,NY,USA,1,1"))
    assert [(row.line, row.cells["iata"]) for row in rows] == [(2, "AAA"), (5, "BBB")]


def test_columns_may_stand_in_any_order_beside_others() -> None:
    header = " Longitude,problem,latitude,COUNTRY,state,city,name,iata"
    (row,) = read_rows("﻿".encode() + csv_file("-73.8,old,40.6, USA ,NY,New York,Kennedy,JFK", header=header))
    assert row == Row(2, GOOD)


def test_windows_line_ends_and_quotes_are_read() -> None:
    data = f'{HEADER}\r\nJFK,"Kennedy, ""JFK""",New York,NY,USA,40.6,-73.8\r\n'.encode()
    assert read_rows(data)[0].cells["name"] == 'Kennedy, "JFK"'


def test_a_good_row_becomes_values() -> None:
    assert checked(Row(2, GOOD)) == ({**GOOD, "latitude": 40.6, "longitude": -73.8}, [])


@pytest.mark.parametrize("column", ["iata", "name", "state", "latitude", "longitude"])
def test_nothing_needed_may_be_missing(column: str) -> None:
    _, problems = checked(Row(2, {**GOOD, column: ""}))
    assert [problem.column for problem in problems] == [column]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("iata", "jfk"),
        ("iata", "JF"),
        ("iata", "JFKXX"),
        ("iata", "J K"),
        ("iata", "ＪＦＫ"),
        ("name", "x" * 201),
        ("name", "two\nlines"),
        ("city", "bell\x07"),
        ("state", "N"),
        ("state", "New York"),
        ("state", "ny"),
        ("latitude", "90.01"),
        ("latitude", "-91"),
        ("latitude", "nan"),
        ("latitude", "1e1"),
        ("latitude", "1_0"),
        ("latitude", "٤٠"),
        ("longitude", "180.5"),
        ("longitude", "inf"),
        ("longitude", "west"),
    ],
)
def test_a_bad_cell_is_named(column: str, cell: str) -> None:
    _, problems = checked(Row(2, {**GOOD, column: cell}))
    assert [problem.column for problem in problems] == [column]


@pytest.mark.parametrize(("column", "cell"), [("latitude", "-90"), ("latitude", "+90.000"), ("longitude", "180")])
def test_the_ends_of_a_range_belong_to_it(column: str, cell: str) -> None:
    values, problems = checked(Row(2, {**GOOD, column: cell}))
    assert not problems
    assert values[column] == float(cell)


def test_all_problems_of_a_row_are_told_in_the_order_of_the_columns() -> None:
    _, problems = checked(Row(2, dict.fromkeys(COLUMNS, "?")))
    assert [problem.column for problem in problems] == ["iata", "state", "latitude", "longitude"]


def test_a_repeated_code_is_told_with_its_first_line() -> None:
    first, second, third = read_rows(csv_file("AAA,A,,NY,USA,1,1", "AAA,B,,NY,USA,1,1", "AAA,C,,NY,USA,1,1"))
    assert not first.problems
    assert second.problems == third.problems == (Problem("iata", "repeats the code of line 2"),)


@pytest.mark.parametrize(("row", "cells"), [("AAA,A,,NY", 4), ("AAA,A,,NY,USA,1,1,9", 8)])
def test_a_row_of_another_length_is_not_looked_into(row: str, cells: int) -> None:
    (found,) = read_rows(csv_file(row))
    assert checked(found) == ({}, [Problem("", f"has {cells} cells where the header has 7")])
