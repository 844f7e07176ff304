"""When a schedule fires: cron expressions in a time zone, and fixed intervals.

A tick is a moment in UTC. What the clocks of a zone do twice a year is decided here, as cron on Debian does: an
expression whose minute and hour are both fixed fires once a day, also on the day that skips its hour (at the first
moment after the gap) and on the day that has it twice (the first time); one with a `*` in either goes by the clock on
the wall, in real intervals.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter
from croniter.croniter import CroniterError

from ..exceptions import InvalidSchedule, did_you_mean, shown

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
RANGE = re.compile(r"(\d+)-(\d+)")
FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
LONGEST_EXPRESSION = 255
LEAST_INTERVAL = timedelta(seconds=1)
MOST_INTERVAL = timedelta(days=3650)
RARELY = 8
"""Years without a tick after which there is none: the 29th of February is the rarest, about the year 2100."""

ODD = timedelta(hours=26)
"""No zone has ever set its clocks by more, so a tick's local time is looked for from this long before it."""

LOOK_BACK = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 366, 366 * RARELY))
"""How far back the last ticks are looked for, until enough are found: most expressions fire often."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields, read by the clock on the wall of a zone. Made by `cron`."""

    expression: str
    timezone: str

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Return the ticks after a moment, in order; there is always another one."""
        zone, last = clock_of(self.timezone), moment
        local = self._local(moment, zone)
        for tick in _fixed(local, zone) if self._is_fixed else _real(local, zone):
            if tick > last:
                last = tick
                yield tick

    @property
    def _is_fixed(self) -> bool:
        minute, hour = self.expression.split(" ")[:2]
        return "*" not in minute and "*" not in hour

    def _local(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The times on the wall that match, from well before a moment, without a zone."""
        start = (moment - ODD).astimezone(zone).replace(tzinfo=None, fold=0)
        matches = croniter(self.expression, start, max_years_between_matches=RARELY)
        while True:
            yield matches.get_next(datetime)


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from an anchor, whatever clocks on walls do. Made by `every`."""

    interval: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Return the ticks after a moment, in order; the first is one interval after the anchor at the earliest."""
        tick = self.anchor + self.interval * max(1, (moment - self.anchor) // self.interval + 1)
        while True:
            yield tick
            tick += self.interval


Recurrence = Cron | Every


def cron(expression: Any, timezone: Any = "UTC") -> Cron:
    """Return the recurrence of a cron expression (DataQueue "cronExpression").

    It has five fields or is an alias such as `@daily`. Raises InvalidSchedule naming the field that is wrong, for an
    expression that never fires, or for an unknown zone.
    """
    if not isinstance(expression, str) or not expression.isascii() or len(expression) > LONGEST_EXPRESSION:
        raise InvalidSchedule(
            f"cron is {shown(expression)}; expected five fields such as '0 9 * * 1-5', or one of {', '.join(ALIASES)}."
        )
    found = Cron(_five_fields(expression), _zone(timezone))
    try:
        next(found.after(datetime.now(UTC)))
    except CroniterError:
        raise InvalidSchedule(f"cron is {shown(expression)}, which never comes; expected days that exist.") from None
    return found


def every(interval: Any, anchor: datetime) -> Every:
    """Return the recurrence of an interval, seconds or a timedelta; raises InvalidSchedule."""
    is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
    try:
        length = timedelta(seconds=interval) if is_number else interval
    except (OverflowError, ValueError):  # infinite, or no number
        length = None
    if not isinstance(length, timedelta) or not LEAST_INTERVAL <= length <= MOST_INTERVAL:
        raise InvalidSchedule(f"every is {shown(interval)}; expected 1 second to 3650 days, in seconds or a timedelta.")
    return Every(length, anchor)


def latest(recurrence: Recurrence, since: datetime, until: datetime, most: int) -> list[datetime]:
    """Return the last `most` ticks from `since` to `until`, both included, in order.

    However many there are, only about the last ones are looked at.
    """
    if isinstance(recurrence, Every):
        begin = max(since - timedelta.resolution, until - recurrence.interval * most)
        return _between(recurrence, begin, until)[-most:]
    found: list[datetime] = []
    for span in LOOK_BACK:
        begin = max(since - timedelta.resolution, until - span)
        found = _between(recurrence, begin, until)
        if len(found) >= most or begin < since:
            break
    return found[-most:]


def upcoming(recurrence: Recurrence, after: datetime, number: int) -> list[datetime]:
    """Return the next ticks after a moment."""
    return list(islice(recurrence.after(after), number))


def _between(recurrence: Recurrence, after: datetime, until: datetime) -> list[datetime]:
    found = []
    for tick in recurrence.after(after):
        if tick > until:
            break
        found.append(tick)
    return found


def _fixed(local: Iterator[datetime], zone: ZoneInfo) -> Iterator[datetime]:
    """Each local time once: the first of two, and the end of the gap for those that do not exist."""
    for time in local:
        moment = time.replace(tzinfo=zone).astimezone(UTC)
        yield moment if _exists(moment, time, zone) else _end_of_gap(time, zone)


def _real(local: Iterator[datetime], zone: ZoneInfo) -> Iterator[datetime]:
    """Each moment at which the clock on the wall shows one of these times: of two none, one or both."""
    waiting: list[datetime] = []
    for time in local:
        first = time.replace(tzinfo=zone).astimezone(UTC)
        while waiting and waiting[0] <= first:
            yield heapq.heappop(waiting)
        for moment in {first, time.replace(tzinfo=zone, fold=1).astimezone(UTC)}:
            if _exists(moment, time, zone):
                heapq.heappush(waiting, moment)


def _exists(moment: datetime, time: datetime, zone: ZoneInfo) -> bool:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0) == time


def _end_of_gap(time: datetime, zone: ZoneInfo) -> datetime:
    """The first moment after the gap in which a local time does not exist."""
    ends = [time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    before, after = min(ends), max(ends)  # the gap ends between what the time would be by either offset
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _five_fields(expression: str) -> str:
    text = " ".join(expression.split())
    text = ALIASES.get(text.lower(), text)
    if text.startswith("@"):
        hint = did_you_mean(text.lower(), ALIASES) or f" Known: {', '.join(ALIASES)}."
        raise InvalidSchedule(f"cron has the unknown alias {shown(expression)}.{hint}")
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise InvalidSchedule(
            f"cron is {shown(expression)}, which has {len(fields)} fields; expected five: {', '.join(FIELDS)}."
        )
    for place, field in enumerate(fields):
        if not _is_valid(field, place):
            raise InvalidSchedule(
                f"cron is {shown(expression)}: field {place + 1}, the {FIELDS[place]}, cannot be {shown(field)}."
            )
    return text


def _is_valid(field: str, place: int) -> bool:
    alone = ["*"] * len(FIELDS)
    alone[place] = field
    if not croniter.is_valid(" ".join(alone)):
        return False
    ranges = [RANGE.match(part) for part in field.split(",")]
    return all(int(found[1]) <= int(found[2]) for found in ranges if found)  # croniter takes 5-1 to go over the end


def clock_of(zone: str) -> ZoneInfo:
    """Return the clock of a zone that was stored; raises InvalidSchedule where this machine does not know it."""
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise InvalidSchedule(f"timezone is {shown(zone)}, which this machine does not know.") from None


def _zone(name: Any) -> str:
    known = _zones()
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, sorted(known)) if isinstance(name, str) else ""
        raise InvalidSchedule(f"timezone is {shown(name)}; expected a name such as 'Europe/Berlin'.{hint}")
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
