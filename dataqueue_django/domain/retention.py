"""What is kept for how long: which jobs may go, in lots of which size, and where to begin looking for them.

A job type's own time outranks the alias' setting, whether it is longer or shorter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .records import JSON, JobStatus

DAY = 24 * 3600.0
LONGEST = 36_500 * DAY

AGAIN = timedelta(days=1)
OVERLAP = timedelta(minutes=5)
"""A job is seen to have ended some time after it has: its transaction commits later. So each look goes back a bit."""

QUICK, SLOW = 0.1, 0.5
"""Seconds that a lot should take, so that nobody waits for its locks for longer than a moment."""

BATCH, FIRST_LOT, LEAST_LOT = 1000, 100, 50
"""How many jobs, events, lines or ticks one transaction deletes: at most, at first and at least."""

Days = Mapping[JobStatus, float | None]
"""For how many days jobs that ended so are kept; None, or no entry, is for ever."""

OwnTimes = Mapping[JobStatus, Mapping[str, float]]
"""For how many seconds those of a job type are kept instead, `math.inf` being for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Jobs that may go: those that ended in `status` over `keep` seconds ago, of these types or of all but these."""

    status: JobStatus
    keep: float
    job_types: tuple[str, ...] = ()
    exclude_job_types: tuple[str, ...] = ()

    @property
    def passes_by(self) -> bool:
        """Whether there are jobs among those that ended so that it has to leave alone, however old."""
        return bool(self.job_types or self.exclude_job_types)

    @property
    def key(self) -> str:
        """What it is remembered by. Any change of what is kept is another sweep, which begins anew."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    def before(self, now: datetime) -> datetime:
        """Return the time before which a job must have ended."""
        return now - timedelta(seconds=self.keep)


def sweeps(days: Days, own: OwnTimes) -> list[Sweep]:
    """Return what to delete, given how long jobs are kept in general, and those of some types in particular."""
    found = []
    for status in sorted({*days, *own}):
        types, kept = own.get(status, {}), days.get(status)
        for seconds in sorted({value for value in types.values() if value != math.inf}):
            chosen = tuple(sorted(name for name, value in types.items() if value == seconds))
            found.append(Sweep(status=status, keep=seconds, job_types=chosen))
        if kept is not None:
            found.append(Sweep(status=status, keep=kept * DAY, exclude_job_types=tuple(sorted(types))))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """Until when sweeps that pass jobs by have found nothing left, so that they need not walk over them each time.

    `since` is when the first of them began at the beginning. They do so again after a day, for the sake of jobs that
    somebody has put there with times of long ago.
    """

    since: datetime
    until: Mapping[str, datetime]

    @classmethod
    def read(cls, state: JSON, now: datetime) -> Reached:
        """Return what is remembered in the state of a duty; nothing after a day."""
        if isinstance(state, dict) and now - (since := datetime.fromisoformat(state["since"])) < AGAIN:
            return cls(since=since, until={key: datetime.fromisoformat(at) for key, at in state["until"].items()})
        return cls(since=now, until={})

    def begin_at(self, sweep: Sweep) -> datetime | None:
        """Return the time from which on a sweep has to look; None is from the beginning."""
        found = self.until.get(sweep.key)
        return None if found is None else found - OVERLAP

    def after(self, done: Iterable[Sweep], left: Iterable[Sweep], now: datetime) -> JSON:
        """Return what to remember once some sweeps have found nothing left, and others have to go on."""
        until = {sweep.key: sweep.before(now) for sweep in done if sweep.passes_by}
        until |= {sweep.key: self.until[sweep.key] for sweep in left if sweep.key in self.until}
        if not until:
            return None
        return {"since": self.since.isoformat(), "until": {key: at.isoformat() for key, at in until.items()}}


def next_lot(lot: int, deleted: int, seconds: float, most: int) -> int:
    """Return how much to delete next, at most, after a lot of which so much was there, and that took so long."""
    if seconds > SLOW:
        return max(min(LEAST_LOT, most), lot // 2)
    return min(most, lot * 2) if seconds < QUICK and deleted >= lot else lot
