"""Judging how a queue is: for monitoring, which wants a yes or a no."""

from __future__ import annotations

from datetime import timedelta

from ..domain.asking import amount
from ..domain.backlog import unserved
from ..domain.health import Health, HealthFacts, HealthLimits, judge
from .aio import with_async_twins
from .overseeing import Overseeing
from .statistics import Statistics

RATED = timedelta(minutes=15)
"""The time over which the rate of failed jobs is taken."""

SILENT = 300.0
"""After so many seconds without a sign of those who count, what they have not counted is not known."""

MOST_SECONDS, MOST_WORKERS = 366 * 86_400, 100_000


@with_async_twins
class Checking(Overseeing, Statistics):
    """`get_health`."""

    def get_health(
        self,
        *,
        max_oldest: float | timedelta | None = None,
        max_failed_rate: float | None = None,
        min_workers: int | None = None,
    ) -> Health:
        """Return how the queue is, judged by the limits that are given; without any by nothing but its answering.

        `max_oldest` is for how long, in seconds or as a timedelta, the oldest ready job may have been ready,
        `max_failed_rate` how many of the jobs that ended in the last fifteen minutes may have failed (0 to 1), and
        `min_workers` how many live workers there have to be. Of the jobs only the ready ones are counted.
        Raises InvalidFilter for a limit that makes no sense, and the store's own error when that cannot be reached.
        """
        limits = _limits(max_oldest, max_failed_rate, min_workers)
        backlogs, workers = self.store.backlogs(), self.get_live_workers()
        facts = HealthFacts(
            ready=sum(backlog.ready for backlog in backlogs),
            oldest_ready=max((backlog.waited for backlog in backlogs), default=None),
            workers=len(workers),
            unserved=sum(one.backlog.ready for one in unserved(backlogs, workers)),
            failed_rate=None if limits.max_failed_rate is None else self._failed_rate(),
        )
        return judge(facts, limits)

    def _failed_rate(self) -> float | None:
        """Which part of the jobs that ended lately failed: none where none ended, unknown where nobody counts."""
        stats = self.get_stats(RATED)
        is_counted = stats.silent_for is not None and stats.silent_for <= SILENT
        return 0.0 if stats.failure_rate is None and is_counted else stats.failure_rate


def _limits(oldest: float | timedelta | None, rate: float | None, workers: int | None) -> HealthLimits:
    seconds = oldest.total_seconds() if isinstance(oldest, timedelta) else oldest
    return HealthLimits(
        max_oldest=None if seconds is None else amount("max_oldest", seconds, least=0, most=MOST_SECONDS),
        max_failed_rate=None if rate is None else amount("max_failed_rate", rate, least=0, most=1),
        min_workers=None if workers is None else int(amount("min_workers", workers, least=0, most=MOST_WORKERS)),
    )
