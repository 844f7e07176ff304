"""How values are printed."""

from __future__ import annotations

from datetime import datetime


def timestamp(at: datetime | None) -> str | None:
    """Return a time as the JSON of commands has it."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """Return a text without characters that could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
