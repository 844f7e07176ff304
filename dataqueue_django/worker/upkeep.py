"""What every worker does for the others: notices the dead and takes their jobs back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from ..announcing import Announce, announce_here, facts_of
from ..conf import AliasSettings
from ..domain.changes import Alternatives
from ..domain.filters import JobFilter, Order
from ..domain.liveness import PeerWatch, expire
from ..domain.records import Job, Kind, Worker
from ..domain.retry import Backoff
from ..domain.transitions import CRASH_LIMIT, Execution, reclaim, release
from ..logs import worker as logger
from ..stores import Store

LOT = 50
SECONDS = 0.5
"""The longest one round of reclaiming takes; the rest waits for the next."""

Begun = Callable[[int, int], bool]


def everything_begun(_job_id: int, _claim_seq: int) -> bool:
    """Without a supervisor nobody knows what a dead worker had begun: all of it."""
    return True


class Upkeep:
    """One observer's rounds. Each statement stands for itself; another worker doing the same at once does no harm."""

    def __init__(self, store: Store, settings: AliasSettings, announce: Announce) -> None:
        self._store = store
        self._settings = settings
        self._announce = announce
        self._watch = PeerWatch()

    def round(self, me: int, unbroken_since: float) -> int:
        """Expire silent peers, reclaim dead workers' jobs, drop old rows; returns how many jobs were reclaimed."""
        asked_at = time.monotonic()  # first of all: `unbroken_since` was true then, and any call may take long
        holders = {worker_id for (worker_id,) in self._store.count(JobFilter(held=True), by=("worker_id",))}
        workers = self._store.find(Kind.WORKER)  # after the holders, so that a holder without a row has none for good
        expired = [w for w in workers if w.expired_at is not None]
        peers = [w for w in workers if w.expired_at is None and w.id != me]
        expired += self._expire_silent(peers, asked_at, unbroken_since)
        gone = holders - {worker.id for worker in workers} | holders & {worker.id for worker in expired}
        reclaimed = sum(
            take_back(self._store, id, crash_limit=self._settings.worker.crash_limit, announce=self._announce)
            for id in sorted(gone)
        )
        self._forget_old(expired)
        return reclaimed

    @property
    def ripe_at(self) -> float:
        """The monotonic time at which the next peer could be declared gone if it stays silent."""
        return self._watch.ripe_at

    def _expire_silent(self, peers: list[Worker], asked_at: float, unbroken_since: float) -> list[Worker]:
        """Declare gone the peers that have been silent for a lease, and return them."""
        beats = [(peer.id, peer.beat, peer.lease_ms / 1000) for peer in peers]
        silent = self._watch.silent(beats, now=time.monotonic(), asked_at=asked_at, unbroken_since=unbroken_since)
        gone = {id for id, seen in silent if self._store.commit([(expire(id, seen_beat=seen),)])[0].applied}
        for worker_id in gone:
            logger.warning("worker %d has been silent for its whole lease and is taken for dead", worker_id)
        return [peer for peer in peers if peer.id in gone]

    def _forget_old(self, expired: Iterable[Worker]) -> None:
        days = self._settings.retention.workers
        if days is None:
            return
        before = datetime.now(UTC) - timedelta(days=days)
        old = [w.id for w in expired if w.expired_at is not None and w.expired_at < before]
        if old:
            self._store.remove(Kind.WORKER, old)


def take_back(
    store: Store,
    worker_id: int,
    *,
    begun: Begun = everything_begun,
    crash_limit: int = CRASH_LIMIT,
    announce: Announce | None = None,
) -> int:
    """Take back the jobs of a worker whose row has expired and return how many; for a bounded time.

    Jobs that had begun are charged with an attempt and a crash, the others with nothing. First read, then a commit
    guarded by each `claim_seq`: one statement with an anti-join could take a live worker's job.
    """
    announce = announce or announce_here(store)
    until, total = time.monotonic() + SECONDS, 0
    while jobs := store.query(JobFilter(worker_ids=(worker_id,)), order=Order.OLDEST, limit=LOT):
        items = [_taken_back(job, begun, crash_limit) for job in jobs]
        results = store.commit(items, wait=False)
        for job, (change,), result in zip(jobs, items, results, strict=True):
            if result.applied and change.event is not None:
                facts = {"attempt": job.attempts, "worker": job.locked_by, **facts_of(change)}
                announce(change.event, job_id=job.id, job_type=job.job_type, queue=job.queue, **facts)
        moved = sum(result.applied for result in results)
        total += moved
        if not moved or time.monotonic() > until:
            break
    return total


def _taken_back(job: Job, begun: Begun, crash_limit: int) -> Alternatives:
    run = Execution.of(job)
    if not begun(job.id, job.claim_seq):
        return (release(run, why="worker_lost"),)
    spread = random.random()
    delay = Backoff.of(job).seconds_after(job.crash_count + 1, spread)
    return (reclaim(run, crash_limit=crash_limit, backoff=delay),)
