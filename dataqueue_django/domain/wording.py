"""How numbers, times and people are put into sentences."""

from __future__ import annotations

from datetime import datetime, timedelta


def number(count: int, what: str) -> str:
    """Return so many of something, in the plural unless it is one."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def by(actor: str | None) -> str:
    """Return by whom, with a space in front; nothing where nobody was named."""
    return f" by {actor}" if actor else ""


def because(reason: str | None) -> str:
    """Return why, after a colon; nothing where no reason was given."""
    return f": {reason}" if reason else ""


def time(moment: datetime | None) -> str:
    """Return a time to the second."""
    return "an unknown time" if moment is None else moment.isoformat(sep=" ", timespec="seconds")


def span(duration: timedelta) -> str:
    """Return a duration in the two largest units that matter."""
    seconds = max(0, round(duration.total_seconds()))
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds} s"
