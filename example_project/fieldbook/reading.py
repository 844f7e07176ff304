"""From the bytes of a CSV file to rows, and from a row to an airport's values. Pure: no database, no Django."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

COLUMNS = ("iata", "name", "city", "state", "country", "latitude", "longitude")
MAX_BYTES = 2 * 1024 * 1024
MAX_ROWS = 25_000
LONGEST_TEXT = 200

_CODE = re.compile(r"[A-Z0-9]{3,4}", re.ASCII)
_STATE = re.compile(r"[A-Z]{2}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,3}(\.\d{1,20})?", re.ASCII)


class BadFile(Exception):
    """The file as a whole cannot be imported; the message is meant for the visitor."""


class Problem(NamedTuple):
    """What is wrong with a row, and in which column; an empty column means the row as a whole."""

    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: the line it begins on, its cells by column, and what only the whole file could tell."""

    line: int
    cells: dict[str, str]
    problems: tuple[Problem, ...] = ()


def check_file(data: bytes) -> None:
    """Raise BadFile for what can be told at once: the size, the encoding and the header."""
    if len(data) > MAX_BYTES:
        raise BadFile(f"The file is larger than {MAX_BYTES // 1024**2} MiB, which is the limit.")
    _header(_reader(data))


def read_rows(data: bytes) -> list[Row]:
    """Return the rows below the header, blank lines left out; raises BadFile naming the line that cannot be read."""
    check_file(data)
    reader = _reader(data)
    header = _header(reader)
    rows: list[Row] = []
    first_line_of: dict[str, int] = {}
    for line, cells in _lines(reader):
        if len(rows) == MAX_ROWS:
            raise BadFile(f"The file has more than {MAX_ROWS:,} rows, which is the limit.")
        rows.append(_row(line, header, cells, first_line_of))
    if not rows:
        raise BadFile("The file has a header but no rows below it.")
    return rows


def checked(row: Row) -> tuple[dict[str, Any], list[Problem]]:
    """Return an airport's values and what is wrong with them; the values count only when nothing is."""
    problems = list(row.problems)
    if any(not problem.column for problem in problems):
        return {}, problems  # with a cell too many or too few, the others may stand in the wrong columns
    cells = row.cells
    problems += _text_problems(cells)
    if not _CODE.fullmatch(cells["iata"]):
        problems.append(Problem("iata", "must be 3 or 4 capital letters or digits, such as JFK or 00M"))
    if not _STATE.fullmatch(cells["state"]):
        problems.append(Problem("state", "must be two capital letters, such as NY"))
    values: dict[str, Any] = dict(cells)
    for column, limit in (("latitude", 90), ("longitude", 180)):
        number = float(cells[column]) if _NUMBER.fullmatch(cells[column]) else None
        if number is None or abs(number) > limit:
            problems.append(Problem(column, f"must be a number from -{limit} to {limit}"))
        values[column] = number
    return values, sorted(problems, key=lambda problem: COLUMNS.index(problem.column))


def _reader(data: bytes) -> Any:
    if not data.strip():
        raise BadFile("The file is empty.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile("The file is not UTF-8 text. Save it as “CSV UTF-8” and try again.") from None
    if "\x00" in text:
        raise BadFile("The file holds NUL characters, so it is not a text file.")
    return csv.reader(io.StringIO(text, newline=""), strict=True)


def _header(reader: Any) -> list[str]:
    _, first = next(_lines(reader), (0, []))
    header = [cell.strip().lower() for cell in first]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise BadFile(
            f"The first line must name the columns {', '.join(COLUMNS)}, separated by commas. "
            f"Missing: {', '.join(missing)}."
        )
    twice = [column for column in COLUMNS if header.count(column) > 1]
    if twice:
        raise BadFile(f"The first line names {', '.join(twice)} more than once.")
    return header


def _lines(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank, with the line on which it begins."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as why:
            raise BadFile(f"Line {line} cannot be read as CSV: {why}.") from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _row(line: int, header: list[str], cells: list[str], first_line_of: dict[str, int]) -> Row:
    by_name = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    known = {column: by_name.get(column, "") for column in COLUMNS}
    if len(cells) != len(header):
        return Row(line, known, (Problem("", f"has {len(cells)} cells where the header has {len(header)}"),))
    first = first_line_of.setdefault(known["iata"], line)
    if first != line and known["iata"]:
        return Row(line, known, (Problem("iata", f"repeats the code of line {first}"),))
    return Row(line, known)


def _text_problems(cells: dict[str, str]) -> Iterator[Problem]:
    if not cells["name"]:
        yield Problem("name", "must not be empty")
    for column in ("name", "city", "country"):
        if len(cells[column]) > LONGEST_TEXT:
            yield Problem(column, f"must not be longer than {LONGEST_TEXT} characters")
        elif not cells[column].isprintable():
            yield Problem(column, "must not hold line breaks or control characters")
