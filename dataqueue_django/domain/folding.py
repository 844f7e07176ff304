"""How minutes become hours and hours become days, and from which of them a window is read.

A coarse row is always the sum of the finer ones, computed anew: folding twice changes nothing, and a bucket of which a
row comes late is folded once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from .records import JSON, Counts, QueueStat, Resolution
from .statistics import LENGTH, bucket_of, grouped

OVERLAP = timedelta(minutes=2)
"""A row carries the time of its statement, and is seen once its transaction has ended: folding looks back so far."""

COUNTING, MEASURING, FOLDING = "count_events", "measure_queues", "fold_statistics"
"""The names of the duties that keep statistics."""

COUNTS = tuple(f.name for f in fields(Counts))
TIMES = ("seen", "minutes_from", "hours_from")


def folded(rows: Iterable[QueueStat], resolution: Resolution, bucket: datetime) -> list[QueueStat]:
    """Return the rows of a coarser bucket from all the finer rows in it, whoever wrote these."""
    return [
        QueueStat(**counts_in(counts), resolution=resolution, bucket=bucket, queue=queue, job_type=job_type)
        for (queue, job_type), counts in grouped(rows, lambda row: (row.queue, row.job_type)).items()
    ]


def counts_in(counts: Counts) -> dict[str, Any]:
    """Return just the counts of a row."""
    return {name: getattr(counts, name) for name in COUNTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Folded:
    """How far folding has come.

    What was written before `seen` is in its hours and days, but for the hours `left`. Of hours before `minutes_from`
    there are minutes no more, of days before `hours_from` no hours: these are not made anew.
    """

    seen: datetime | None = None
    minutes_from: datetime | None = None
    hours_from: datetime | None = None
    left: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, state: JSON) -> Folded:
        """Return what a duty remembers of it."""
        if state is None:
            return cls()
        times = {name: state[name] and datetime.fromisoformat(state[name]) for name in TIMES}
        return cls(**times, left=tuple(datetime.fromisoformat(hour) for hour in state["left"]))

    def state(self) -> JSON:
        """Return what the duty is to remember."""
        times = {name: at.isoformat() if (at := getattr(self, name)) else None for name in TIMES}
        return {**times, "left": [hour.isoformat() for hour in self.left]}

    @property
    def look_from(self) -> datetime | None:
        """From when on rows may have been written that are not folded."""
        return None if self.seen is None else self.seen - OVERLAP

    def until(self, resolution: Resolution) -> datetime | None:
        """Return the end of the last hour, or day, of which all is folded but what comes late."""
        if self.look_from is None:
            return None
        return bucket_of(min((self.look_from, *self.left)), resolution)

    def hours_to_fold(self, written: Iterable[datetime]) -> list[datetime]:
        """Return the hours that are made anew, given the minutes of which rows were written."""
        return self._made_anew({bucket_of(at, Resolution.HOUR) for at in (*written, *self.left)}, self.minutes_from)

    def days_to_fold(self, hours: Iterable[datetime]) -> list[datetime]:
        """Return the days that are made anew, given the hours that were."""
        return self._made_anew({bucket_of(hour, Resolution.DAY) for hour in hours}, self.hours_from)

    def moved(
        self, now: datetime, *, left: Iterable[datetime], minutes: timedelta | None, hours: timedelta | None
    ) -> Folded:
        """Return how far it has come once all but the hours `left` is folded, and what may be deleted then.

        Whole hours of minutes, and whole days of hours, older than these.
        """
        left = tuple(left)
        return Folded(
            seen=now,
            minutes_from=_cut(self.minutes_from, now, minutes, left, Resolution.HOUR),
            hours_from=_cut(self.hours_from, now, hours, left, Resolution.DAY),
            left=left,
        )

    @staticmethod
    def _made_anew(buckets: Iterable[datetime], first: datetime | None) -> list[datetime]:
        return sorted(bucket for bucket in buckets if first is None or bucket >= first)


def _cut(
    before: datetime | None, now: datetime, age: timedelta | None, left: tuple[datetime, ...], resolution: Resolution
) -> datetime | None:
    """From when on finer rows are kept: no earlier than before, and not after what is not folded."""
    if age is None:
        return before
    cut = bucket_of(min((now - age, *left)), resolution)
    return cut if before is None else max(before, cut)


def segments(
    since: datetime, resolution: Resolution, folded: Folded
) -> Iterator[tuple[Resolution, datetime, datetime | None]]:
    """Yield which rows tell of the time from `since` on: those of (resolution, from, until), None is without end.

    Coarse rows as far as they are complete, finer ones from there on.
    """
    coarse_to_fine = {
        Resolution.DAY: (Resolution.DAY, Resolution.HOUR),
        Resolution.HOUR: (Resolution.HOUR,),
        Resolution.MINUTE: (),
    }[resolution]
    for coarse in coarse_to_fine:
        until = folded.until(coarse)
        if until is not None and until > since:
            yield coarse, since, until
            since = until
    yield Resolution.MINUTE, since, None


def next_bucket(bucket: datetime, resolution: Resolution) -> datetime:
    """Return when a bucket ends."""
    return bucket + LENGTH[resolution]
