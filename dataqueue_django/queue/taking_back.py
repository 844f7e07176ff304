"""Taking jobs back from workers that are gone: what upkeep does all the time, and commands on request.

First read, then a commit guarded by each `claim_seq`: one statement with an anti-join could take a live worker's job.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection

from ..announcing import Announce, announcer, facts_of
from ..domain.changes import Alternatives, Committed
from ..domain.filters import JobFilter, Order
from ..domain.liveness import PeerWatch, expire
from ..domain.records import Job, Kind
from ..domain.retry import Backoff
from ..domain.transitions import CRASH_LIMIT, Execution, or_cancelled, reclaim, release
from ..logs import worker as logger
from ..stores import Store

LOT = 50
SECONDS = 0.5
"""The longest one round of taking back takes; the rest waits for the next."""

OBSERVED_LEASES = 2
"""For how many leases somebody who has no lease of its own watches a silent worker."""

LOOKS_PER_LEASE = 10

Begun = Callable[[int, int], bool]


def seconds_of_watching(lease: float) -> float:
    """Return for how long `expire_silent` watches a worker with a lease of so many seconds, where looks are quick."""
    return lease * (OBSERVED_LEASES + 2 / LOOKS_PER_LEASE)


def everything_begun(_job_id: int, _claim_seq: int) -> bool:
    """Without a supervisor nobody knows what a dead worker had begun: all of it."""
    return True


def holders(store: Store) -> set[int]:
    """Return the ids of the workers that have jobs."""
    return {worker_id for (worker_id,) in store.count(JobFilter(held=True), by=("worker_id",))}


def gone_holders(store: Store) -> set[int]:
    """Return the ids of the workers that have jobs and have expired, or have no row any more."""
    found = holders(store)  # before the workers, so that a holder without a row has none for good
    return found and found - {worker.id for worker in store.find(Kind.WORKER, expired_at=None)}


def take_back(
    store: Store,
    worker_id: int,
    *,
    begun: Begun = everything_begun,
    crash_limit: int = CRASH_LIMIT,
    announce: Announce | None = None,
) -> int:
    """Take back the jobs of a worker whose row has expired and return how many; for a bounded time.

    Jobs that had begun are charged with an attempt and a crash, the others with nothing. Those that somebody asked to
    stop are cancelled.
    """
    announce = announce or announcer(store)
    until, total = time.monotonic() + SECONDS, 0
    while jobs := store.query(JobFilter(worker_ids=(worker_id,)), order=Order.OLDEST, limit=LOT):
        items = [_taken_back(job, begun, crash_limit) for job in jobs]
        results = store.commit(items, wait=False)
        for job, item, result in zip(jobs, items, results, strict=True):
            tell_of_taking(announce, job, item, result)
        moved = sum(result.applied for result in results)
        total += moved
        if not moved or time.monotonic() > until:
            break
    return total


def take_back_from_gone(store: Store, *, crash_limit: int = CRASH_LIMIT, announce: Announce | None = None) -> int:
    """Take back the jobs of all workers that are gone and return how many; for a bounded time for each worker."""
    gone = sorted(gone_holders(store))
    return sum(take_back(store, worker_id, crash_limit=crash_limit, announce=announce) for worker_id in gone)


def tell_of_taking(announce: Announce, job: Job, item: Alternatives, result: Committed) -> None:
    """Announce what became of a job that was to be taken from its worker, if anything did."""
    change = None if result.choice is None else item[result.choice]
    if change is not None and change.event is not None:
        facts = {"attempt": job.attempts, "worker": job.locked_by, **facts_of(change)}
        announce(change.event, job_id=job.id, job_type=job.job_type, queue=job.queue, **facts)


def expire_silent(store: Store, suspects: Collection[int]) -> set[int]:
    """Watch workers for two leases, expire those whose beat does not move in that time, and return their ids.

    Blocks until each of them has moved or has been silent for long enough. Whoever watches must reach the store all the
    while: where a look takes too long, the watch begins anew, since the workers may not have reached it either.
    """
    watch, gone, unbroken_since = PeerWatch(), set(), time.monotonic()
    first: dict[int, int] = {}
    looked_at = unbroken_since
    left = set(suspects)
    while left:
        asked_at = time.monotonic()
        peers = [w for w in store.find(Kind.WORKER, expired_at=None) if w.id in left]
        now = time.monotonic()
        lease = min((w.lease_ms / 1000 for w in peers), default=0.0)
        if now - looked_at > lease / 2:
            unbroken_since = now
        looked_at = now
        left = {w.id for w in peers if first.setdefault(w.id, w.beat) == w.beat}
        beats = [(w.id, w.beat, OBSERVED_LEASES * w.lease_ms / 1000) for w in peers if w.id in left]
        for worker_id, beat in watch.silent(beats, now=now, asked_at=asked_at, unbroken_since=unbroken_since):
            left.discard(worker_id)
            if store.commit([(expire(worker_id, seen_beat=beat),)])[0].applied:
                logger.warning("worker %d has been silent for two leases and is taken for dead", worker_id)
                gone.add(worker_id)
        if left:
            time.sleep(lease / LOOKS_PER_LEASE)
    return gone


def _taken_back(job: Job, begun: Begun, crash_limit: int) -> Alternatives:
    run = Execution.of(job)
    if not begun(job.id, job.claim_seq):
        return or_cancelled((release(run, why="worker_lost"),))
    spread = random.random()
    delay = Backoff.of(job).seconds_after(job.crash_count + 1, spread)
    return or_cancelled((reclaim(run, crash_limit=crash_limit, backoff=delay),))
