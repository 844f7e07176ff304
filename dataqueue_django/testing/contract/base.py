"""What all topics of the contract share: a store under watch, a fixed time and words for the usual steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ...domain.changes import Change, Committed, Verb
from ...domain.records import Claim, ClaimedJob, EventType, Job, JobEvent, NewJob, Worker
from ...domain.transitions import Execution
from ...stores.base import Store
from .watching import Watched

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
"""The time of every test; the microseconds must survive."""

Trace = tuple[Job | None, list[JobEvent]]
"""Everything that a store shows of a job."""


class Contract:
    """The hooks that the author of a store fills in, and helpers for the tests."""

    now = NOW
    store: Store
    _anybody: Worker | None = None

    def make_store(self) -> Store:
        """Return a store that holds nothing; called more than once by some tests."""
        raise NotImplementedError

    def check_store(self, store: Store, operation: str, now: datetime) -> None:
        """Assert what this kind of store promises itself; called after each writing `operation` at `now`."""

    def session(self, store: Store) -> AbstractContextManager[Any]:
        """Return the context in which each test uses `store`."""
        return nullcontext()

    @pytest.fixture(autouse=True)
    def _store_under_watch(self) -> Iterator[None]:
        store = self.make_store()
        with self.session(store):
            self.store = self.watched(store)
            yield

    def watched(self, store: Store) -> Store:
        """Return `store` behind a check of every promise after every write."""
        return cast(Store, Watched(store, self.check_store))

    # -- words for the usual steps

    def later(self, seconds: float) -> datetime:
        """Return the time `seconds` after now."""
        return self.now + timedelta(seconds=seconds)

    def add(self, job_type: str = "send", **options: Any) -> int:
        """Insert one job and return its id."""
        return self.store.insert([NewJob(job_type=job_type, **options)], now=self.now)[0].id

    def add_all(self, jobs: list[NewJob]) -> list[int]:
        """Insert jobs in one call and return their ids."""
        return [one.id for one in self.store.insert(jobs, now=self.now)]

    def worker(self, label: str = "here") -> Worker:
        """Register a worker."""
        return self.store.put(Worker(label=label), now=self.now)

    def asking(self, limit: int = 10, *, worker: Worker | None = None, **filters: Any) -> Claim:
        """Return a claim by `worker`, or by one that stands for any."""
        if worker is None and self._anybody is None:
            self._anybody = self.worker("anybody")
        holder = cast(Worker, worker or self._anybody)
        return Claim(limit=limit, worker_id=holder.id, locked_by=holder.label, **filters)

    def claim(self, limit: int = 10, *, at: datetime | None = None, **options: Any) -> list[ClaimedJob]:
        """Claim jobs at a time, now if not given."""
        return self.store.claim(self.asking(limit, **options), now=at or self.now)

    def start(self, job_id: int, *, at: datetime | None = None, worker: Worker | None = None) -> Execution:
        """Claim just this job and return its execution."""
        [job] = self.claim(1, ids=(job_id,), crashed=None, at=at, worker=worker)
        return execution_of(job)

    def running(self, **options: Any) -> Execution:
        """Insert a job and start it."""
        return self.start(self.add(**options))

    def commit(self, *changes: Change, at: datetime | None = None) -> list[Committed]:
        """Commit changes that have no alternatives."""
        return self.store.commit([(change,) for change in changes], now=at or self.now)

    def set_fields(self, job_id: int, event: EventType | None = None, **fields: Any) -> None:
        """Set fields of a job for which there is no transition at hand."""
        [done] = self.commit(Change(verb=Verb.OTHER, id=job_id, set=fields, event=event))
        assert done.applied

    def job(self, job_id: int) -> Job:
        """Return a job that must exist."""
        [job] = self.store.get([job_id])
        return job

    def words(self, job_id: int) -> list[str]:
        """Return the types of a job's events, oldest first."""
        return [event.event_type.value for event in self.store.events(job_id)]

    def trace(self, job_id: int) -> Trace:
        """Return the job, or None, and its events: what must be equal when nothing happened."""
        return next(iter(self.store.get([job_id])), None), self.store.events(job_id)


def execution_of(job: ClaimedJob) -> Execution:
    """Return the execution that a claim began."""
    return Execution(job.id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count)


def ids_of(jobs: list[ClaimedJob] | list[Job]) -> list[int]:
    """Return the ids of jobs, in their order."""
    return [job.id for job in jobs]
