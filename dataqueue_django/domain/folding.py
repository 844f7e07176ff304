"""How minutes become hours and hours become days, and from which of them a window is read.

A coarse row is always the sum of the finer ones, computed anew: folding twice changes nothing, and a bucket of which a
row comes late is folded once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from .records import JSON, Counts, QueueStat, Resolution
from .statistics import LENGTH, bucket_of, grouped

OVERLAP = timedelta(minutes=2)
"""A row carries the time of its statement, and is seen once its transaction has ended: folding looks back so far."""

COUNTS = tuple(f.name for f in fields(Counts))


def folded(rows: Iterable[QueueStat], resolution: Resolution, bucket: datetime) -> list[QueueStat]:
    """Return the rows of a coarser bucket from all the finer rows in it, whoever wrote these."""
    return [
        QueueStat(**counts_in(counts), resolution=resolution, bucket=bucket, queue=queue, job_type=job_type)
        for (queue, job_type), counts in grouped(rows, lambda row: (row.queue, row.job_type)).items()
    ]


def counts_in(counts: Counts) -> dict[str, Any]:
    """Return just the counts of a row."""
    return {name: getattr(counts, name) for name in COUNTS}


@dataclass(frozen=True, slots=True)
class Folded:
    """How far folding has come: rows written before `seen` are in their hours and days, but for the hours `left`."""

    seen: datetime | None = None
    left: tuple[datetime, ...] = ()

    @classmethod
    def of(cls, state: JSON) -> Folded:
        """Return what a duty remembers of it."""
        state = state if isinstance(state, Mapping) else {}
        seen = state.get("seen")
        left = tuple(datetime.fromisoformat(hour) for hour in state.get("left", ()))
        return cls(datetime.fromisoformat(seen) if seen else None, left)

    def state(self) -> JSON:
        """Return what the duty is to remember."""
        return {"seen": self.seen and self.seen.isoformat(), "left": [hour.isoformat() for hour in self.left]}

    @property
    def look_from(self) -> datetime | None:
        """From when on rows may have been written that are not folded."""
        return None if self.seen is None else self.seen - OVERLAP

    def until(self, resolution: Resolution) -> datetime | None:
        """Return the end of the last hour, or day, of which all is folded but what comes late."""
        if self.look_from is None:
            return None
        return bucket_of(min((self.look_from, *self.left)), resolution)


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
