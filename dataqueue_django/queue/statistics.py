"""Reading statistics: what happened in a window of time, and how many jobs there were."""

from __future__ import annotations

from datetime import timedelta

from ..domain.asking import name_from, window_from
from ..domain.folding import COUNTING, FOLDING, Folded, segments
from ..domain.records import Kind, QueueGauge, QueueStat, Resolution
from ..domain.statistics import Stats, bucket_of, resolution_for, stats_of
from .aio import with_async_twins
from .base import QueueBase

HOUR = timedelta(hours=1)


@with_async_twins
class Statistics(QueueBase):
    """`get_stats`, `get_gauges`: some statements whatever the window, none of which reads a job that has ended."""

    def get_stats(
        self, window: timedelta | float = HOUR, *, queue: str | None = None, job_type: str | None = None
    ) -> Stats:
        """Return what happened in the last `window` (a timedelta or seconds), of one queue and job type if given.

        Up to 3 hours are told by minutes, up to 7 days by hours, more by days; the time begins with the bucket in which
        the window does. Workers write what they count every 15 s, additions and cancellations come within a
        minute. Raises InvalidFilter for a window below a minute or what is no name.
        """
        window, queue, job_type = window_from(window), name_from("queue", queue), name_from("job_type", job_type)
        until, resolution = self.store.now(), resolution_for(window)
        since = bucket_of(until - window, resolution)
        duties = {duty.id: duty for duty in self.store.find(Kind.DUTY)}
        progress = Folded.of(duties[FOLDING].state if FOLDING in duties else None)
        rows: list[QueueStat] = []
        for fineness, begin, end in segments(since, resolution, progress):
            rows += self.store.stats(fineness, since=begin, until=end, queue=queue, job_type=job_type)
        backlogs = self.store.backlogs(queue=queue, job_type=job_type, now=until)
        # In idle minutes nothing is written, but somebody looks whether there is anything.
        looked_at = duties[COUNTING].finished_at if COUNTING in duties else None
        signs = [self.store.stats_written_at(Resolution.MINUTE), looked_at]
        return stats_of(
            rows,
            since=since,
            until=until,
            resolution=resolution,
            oldest_ready_age=max((backlog.waited for backlog in backlogs), default=None),
            as_of=max((at for at in signs if at is not None), default=None),
        )

    def get_gauges(self, window: timedelta | float = HOUR, *, queue: str | None = None) -> list[QueueGauge]:
        """Return how many jobs there were in each condition, minute by minute for the last `window`.

        By time and queue; there is none for a queue that had no jobs, or while no worker measured. Raises InvalidFilter
        as `get_stats` does.
        """
        since = self.store.now() - window_from(window)
        return self.store.gauges(since=since, queue=name_from("queue", queue))
