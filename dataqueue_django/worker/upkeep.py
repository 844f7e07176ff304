"""What every worker does for the others: notices the dead and takes their jobs back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from ..conf import AliasSettings
from ..domain.changes import Alternatives
from ..domain.filters import JobFilter, Order
from ..domain.liveness import PeerWatch, expire
from ..domain.records import EventType, Job, Kind, Worker
from ..domain.retry import Backoff
from ..domain.transitions import Execution, reclaim, release
from ..logs import state_change
from ..logs import worker as logger
from ..stores import Store
from ..stores.base import chunks

LOT = 200
SECONDS = 0.5
"""The longest one round of reclaiming takes; the rest waits for the next."""

Begun = Callable[[int, int], bool]


def everything_begun(_job_id: int, _claim_seq: int) -> bool:
    """Without a supervisor nobody knows what a dead worker had begun: all of it."""
    return True


class Upkeep:
    """One observer's rounds. Each statement stands for itself; another worker doing the same at once does no harm."""

    def __init__(self, store: Store, settings: AliasSettings) -> None:
        self._store = store
        self._settings = settings
        self._watch = PeerWatch()

    def round(self, me: int, unbroken_since: float) -> int:
        """Expire silent peers, reclaim expired workers' jobs, drop old rows; returns how many jobs were reclaimed."""
        asked_at = time.monotonic()
        workers = [worker for worker in self._store.find(Kind.WORKER) if worker.id != me]
        answered_at = time.monotonic()
        live = [worker for worker in workers if worker.expired_at is None]
        beats = [(worker.id, worker.beat, worker.lease_ms / 1000) for worker in live]
        silent = self._watch.silent(beats, now=answered_at, asked_at=asked_at, unbroken_since=unbroken_since)
        for worker_id, seen in silent:
            if self._store.commit([(expire(worker_id, seen_beat=seen),)])[0].applied:
                logger.warning("worker %d has been silent for its whole lease and is taken for dead", worker_id)
        expired = [worker for worker in self._store.find(Kind.WORKER) if worker.expired_at is not None]
        holders = self._holders([worker.id for worker in expired])
        reclaimed = sum(take_back(self._store, worker_id, crash_limit=self._crash_limit) for worker_id in holders)
        self._forget_old(expired)
        return reclaimed

    def _holders(self, expired: list[int]) -> list[int]:
        """Return which of these workers still hold jobs, some of them if it is many: most rows are long empty."""
        jobs = [
            job
            for lot in chunks(expired, LOT)
            for job in self._store.query(JobFilter(worker_ids=tuple(lot)), order=Order.OLDEST, limit=LOT)
        ]
        return sorted({job.worker_id for job in jobs if job.worker_id is not None})

    @property
    def _crash_limit(self) -> int:
        return self._settings.worker.crash_limit

    def _forget_old(self, expired: Iterable[Worker]) -> None:
        days = self._settings.retention.workers
        if days is None:
            return
        before = datetime.now(UTC) - timedelta(days=days)
        old = [worker.id for worker in expired if worker.expired_at is not None and worker.expired_at < before]
        if old:
            self._store.remove(Kind.WORKER, old)


def take_back(store: Store, worker_id: int, *, begun: Begun = everything_begun, crash_limit: int = 3) -> int:
    """Take back the jobs of a worker whose row has expired and return how many; for a bounded time.

    Jobs that had begun are charged with an attempt and a crash, the others with nothing. First read, then a commit
    guarded by each `claim_seq`: one statement with an anti-join could take a live worker's job.
    """
    until, total = time.monotonic() + SECONDS, 0
    while jobs := store.query(JobFilter(worker_id=worker_id), order=Order.OLDEST, limit=LOT):
        results = store.commit([_taken_back(job, begun, crash_limit) for job in jobs], wait=False)
        for job, result in zip(jobs, results, strict=True):
            if result.applied:
                state_change(EventType.RECLAIMED, job_id=job.id, job_type=job.job_type, worker=worker_id)
        moved = sum(result.applied for result in results)
        total += moved
        if not moved or time.monotonic() > until:
            break
    return total


def _taken_back(job: Job, begun: Begun, crash_limit: int) -> Alternatives:
    run = Execution(job.id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count)
    if not begun(job.id, job.claim_seq):
        return (release(run, why="worker_lost"),)
    spread = random.random()
    delay = Backoff.of(job).seconds_after(job.crash_count + 1, spread)
    return (reclaim(run, crash_limit=crash_limit, backoff=delay),)
