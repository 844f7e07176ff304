"""The glossary is a table where it is read as a file; in the site each row is a term that pages can link to."""

from __future__ import annotations

import re

_TABLE = re.compile(r"^\| name \|.*\n\| --- .*\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)


def with_terms(page: str) -> str:
    """Return the page with its table turned into a `glossary`; several names of one row share its text."""
    return _TABLE.sub(
        lambda found: "```{glossary}\n" + "\n".join(map(_entry, found["rows"].splitlines())) + "```\n", page
    )


def _entry(row: str) -> str:
    names, text = (cell.strip() for cell in row.strip("| ").split(" | ", 1))
    terms = "\n".join(name.strip(" `") for name in names.split(","))
    return f"{terms}\n  {text[0].upper()}{text[1:].rstrip('.')}.\n"
