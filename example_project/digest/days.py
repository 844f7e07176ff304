"""Days, and what clocks do to them. Pure: no database, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

LOOK_AHEAD = 400
"""Days in which clocks that change at all change."""


@dataclass(frozen=True, slots=True)
class Day:
    """From one midnight to the next in a time zone, or until now: 23 to 25 hours where clocks change."""

    date: date
    since: datetime
    until: datetime
    is_over: bool = True

    @classmethod
    def before(cls, moment: datetime, zone: ZoneInfo) -> Day:
        """Return the day before that of a moment."""
        today = moment.astimezone(zone).date()
        yesterday = today - timedelta(days=1)
        return cls(yesterday, _midnight(yesterday, zone), _midnight(today, zone))

    @classmethod
    def so_far(cls, moment: datetime, zone: ZoneInfo) -> Day:
        """Return the day of a moment, up to it."""
        today = moment.astimezone(zone).date()
        return cls(today, _midnight(today, zone), moment, is_over=False)

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.until - self.since) / timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Change:
    """A moment at which the clocks of a zone are set, and from what to what; the two have no zone."""

    moment: datetime
    old: datetime
    new: datetime


def next_change(zone: ZoneInfo, after: datetime) -> Change | None:
    """Return the next change of a zone's clocks; None where they are left alone."""
    for days in range(LOOK_AHEAD):
        low, high = after + timedelta(days=days), after + timedelta(days=days + 1)
        if _offset(low, zone) != _offset(high, zone):
            return _between(low, high, zone)
    return None


def _between(low: datetime, high: datetime, zone: ZoneInfo) -> Change:
    offset = _offset(low, zone)
    while high - low > timedelta.resolution:
        middle = low + (high - low) / 2
        low, high = (middle, high) if _offset(middle, zone) == offset else (low, middle)
    last = timedelta.resolution
    return Change(high, _wall(high - last, zone) + last, _wall(high, zone))


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
