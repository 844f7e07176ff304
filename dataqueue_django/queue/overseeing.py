"""Looking at the queue as a whole: what waits, who works, and what nobody will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain.asking import amount
from ..domain.backlog import Backlog, Unserved, unserved
from ..domain.filters import JobFilter
from ..domain.health import Health, HealthFacts, HealthLimits, judge
from ..domain.liveness import is_silent
from ..domain.records import Kind, Worker
from .aio import with_async_twins
from .finding import Finding

MOST_SECONDS, MOST_WORKERS = 366 * 86_400, 100_000
RATED = timedelta(minutes=15)
"""The time over which the rate of failed jobs is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """A queue at one moment, by the store's clock.

    `counts` are jobs per (status, queue, job type). `workers` are the live ones, `busy` the number of jobs each of them
    holds, by its id. `backlogs` are the ready jobs, `unserved` those of them that no live worker will take.
    """

    at: datetime
    counts: Mapping[tuple[str, str, str], int]
    workers: tuple[Worker, ...]
    busy: Mapping[int, int]
    backlogs: tuple[Backlog, ...]
    unserved: tuple[Unserved, ...]


@with_async_twins
class Overseeing(Finding):
    """`get_overview`, `get_live_workers`, `get_backlogs`, `get_unserved_jobs`, `ping`, `get_health`."""

    def get_overview(self) -> Overview:
        """Return the queue as it stands: counts, workers, and what waits.

        Counts every job there is, which takes a while for millions: for people who ask, not for a loop.
        """
        backlogs, workers = self.store.backlogs(), self.get_live_workers()
        busy = {id: n for (id,), n in self.store.count(JobFilter(held=True), by=("worker_id",)).items()}
        return Overview(
            at=self.store.now(),
            counts=self.count_jobs_by("status", "queue", "job_type"),
            workers=tuple(workers),
            busy={worker.id: busy.get(worker.id, 0) for worker in workers},
            backlogs=tuple(backlogs),
            unserved=tuple(unserved(backlogs, workers)),
        )

    def get_live_workers(self) -> list[Worker]:
        """Return the workers that are neither gone nor silent for longer than their lease, by ascending id."""
        now = self.store.now()
        return [worker for worker in self.store.find(Kind.WORKER, expired_at=None) if not is_silent(worker, now)]

    def get_backlogs(self) -> list[Backlog]:
        """Return the ready jobs by queue and job type: how many, and for how long the first has been ready."""
        return self.store.backlogs()

    def get_unserved_jobs(self) -> list[Unserved]:
        """Return the ready jobs that no live worker will take, by queue and job type, with the reason."""
        return unserved(self.store.backlogs(), self.get_live_workers())

    def ping(self) -> None:
        """Ask the store for the time; raises the store's own error when it does not answer."""
        self.store.now()

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
            failed_rate=None if limits.max_failed_rate is None else failed_rate(self, RATED),
        )
        return judge(facts, limits)


def failed_rate(queue: Overseeing, window: timedelta) -> float | None:
    """Return which part of the jobs that ended within `window` failed; None where nobody keeps statistics."""
    get_stats = getattr(queue, "get_stats", None)
    return None if get_stats is None else get_stats(window).failure_rate


def _limits(oldest: float | timedelta | None, rate: float | None, workers: int | None) -> HealthLimits:
    seconds = oldest.total_seconds() if isinstance(oldest, timedelta) else oldest
    return HealthLimits(
        max_oldest=None if seconds is None else amount("max_oldest", seconds, least=0, most=MOST_SECONDS),
        max_failed_rate=None if rate is None else amount("max_failed_rate", rate, least=0, most=1),
        min_workers=None if workers is None else int(amount("min_workers", workers, least=0, most=MOST_WORKERS)),
    )
