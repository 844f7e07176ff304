"""Looking at the queue as a whole: what waits, who works, and what nobody will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ..domain.backlog import Backlog, Unserved, unserved
from ..domain.filters import JobFilter
from ..domain.liveness import is_silent
from ..domain.records import Duty, Kind, Worker
from .aio import with_async_twins
from .finding import Finding


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
    """`get_overview`, `get_live_workers`, `get_backlogs`, `get_unserved_jobs`, `get_duties`, `ping`, `get_health`."""

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

    def get_duties(self) -> list[Duty]:
        """Return what workers do for all: when each is due, who did it last, what that did, and why it failed."""
        found: list[Duty] = self.store.find(Kind.DUTY)
        return found

    def ping(self) -> None:
        """Ask the store for the time; raises the store's own error when it does not answer."""
        self.store.now()
