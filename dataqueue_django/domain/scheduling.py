"""What a schedule does at a moment: which tick it fires, which it lets go, and when it is due again.

One step at a time: each fires at most one tick and moves `next_run_at`, so that whoever takes the step can do it in one
transaction, and whoever comes second finds it done.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from .recurring import Cron, Every, Recurrence, latest, upcoming

ON_TIME = timedelta(seconds=120)
"""A tick that is seen later than this was missed: nobody was there. A platform's cron looks every minute."""

MOST_CAUGHT_UP = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """When a schedule fires: either a cron expression or an interval, within limits.

    `catch_up` is how many missed ticks are made up for: 1 is the latest, 0 none. `max_runs` is how often it fires at
    all, of which it has done `runs`.
    """

    cron_expression: str = ""
    timezone: str = "UTC"
    every: timedelta | None = None
    anchor: datetime
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    runs: int = 0
    catch_up: int = 1
    jitter: timedelta = timedelta()

    @property
    def recurrence(self) -> Recurrence:
        """The ticks, without the limits."""
        return Cron(self.cron_expression, self.timezone) if self.every is None else Every(self.every, self.anchor)


@dataclass(frozen=True, slots=True)
class Advance:
    """One step: fire `tick`, or nothing if it is None; then the schedule is due at `next_run_at`, or never again."""

    tick: datetime | None
    next_run_at: datetime | None


def first_run(timing: Timing, now: datetime) -> datetime | None:
    """Return when a schedule that was made, edited or resumed at `now` fires; what was due before stays undone."""
    if timing.start_at is None or timing.start_at <= now:
        return _within(timing, upcoming(timing.recurrence, now, 1)[0], timing.runs)
    return _within(timing, upcoming(timing.recurrence, timing.start_at - timedelta.resolution, 1)[0], timing.runs)


def advance(timing: Timing, next_run_at: datetime, now: datetime) -> Advance:
    """Return the next step of a schedule that is due since `next_run_at`."""
    until = now if timing.end_at is None else min(now, timing.end_at)
    wanted = latest(timing.recurrence, next_run_at, until, max(1, timing.catch_up))
    if timing.catch_up == 0:
        wanted = [tick for tick in wanted if now - tick <= ON_TIME]
    after = wanted[1] if len(wanted) > 1 else upcoming(timing.recurrence, now, 1)[0]
    fired = wanted[0] if wanted else None
    return Advance(fired, _within(timing, after, timing.runs + (fired is not None)))


def next_runs(timing: Timing, next_run_at: datetime | None, number: int) -> list[datetime]:
    """Return the next ticks of a schedule that is due at `next_run_at`, as many as there are."""
    if next_run_at is None:
        return []
    left = number if timing.max_runs is None else min(number, timing.max_runs - timing.runs)
    ticks = [next_run_at, *upcoming(timing.recurrence, next_run_at, max(0, left - 1))]
    return [tick for tick in ticks[:left] if timing.end_at is None or tick <= timing.end_at]


def run_at(timing: Timing, schedule_name: str, tick: datetime) -> datetime:
    """Return when the job of a tick is to run: up to `jitter` later, the same whoever asks."""
    digest = hashlib.sha256(f"{schedule_name}\0{tick.isoformat()}".encode()).digest()
    return tick + timing.jitter * (int.from_bytes(digest[:8]) / 2**64)


def _within(timing: Timing, tick: datetime, runs: int) -> datetime | None:
    """The tick, or None if a schedule that has fired so often does not fire then any more."""
    is_over = timing.end_at is not None and tick > timing.end_at
    return None if is_over or (timing.max_runs is not None and runs >= timing.max_runs) else tick
