"""Who is alive: how a worker keeps its lease, when it must stop, and when a peer may be declared gone.

Times are seconds of the observer's own monotonic clock, passed in. The database's clock takes no part in deciding, so
an outage, a failover or a clock step cannot make everybody look dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .changes import Add, After, Change, Verb
from .records import Kind, Worker

STOP_AT = 2 / 3
"""The part of a lease after which a worker that could not renew it stops acting."""


def beat(worker_id: int) -> Change:
    """Renew a worker's lease; refused once the row has expired."""
    return Change(
        kind=Kind.WORKER,
        verb=Verb.BEAT,
        id=worker_id,
        guard={"expired_at": (None,)},
        set={"beat": Add(1), "last_beat_at": After()},
    )


def expire(worker_id: int, *, seen_beat: int | None = None) -> Change:
    """Declare a worker gone, for good; with `seen_beat` only if it has not renewed since that beat was seen."""
    guard = {"expired_at": (None,)}
    if seen_beat is not None:
        guard["beat"] = (seen_beat,)  # type: ignore[assignment]
    return Change(kind=Kind.WORKER, verb=Verb.EXPIRE, id=worker_id, guard=guard, set={"expired_at": After()})


def stop(worker_id: int) -> Change:
    """Note that a worker takes no new jobs and will end."""
    return Change(
        kind=Kind.WORKER,
        verb=Verb.STOP,
        id=worker_id,
        guard={"expired_at": (None,)},
        set={"stopping_at": After()},
    )


def serves(worker: Worker, queue: str) -> bool:
    """Return whether a worker takes jobs of a queue."""
    return (not worker.queues or queue in worker.queues) and queue not in worker.exclude_queues


def is_silent(worker: Worker, now: datetime) -> bool:
    """Return whether a worker has missed its lease by the clock: enough to say so, not to take its jobs."""
    return worker.last_beat_at is not None and now - worker.last_beat_at > timedelta(milliseconds=worker.lease_ms)


@dataclass(slots=True)
class Lease:
    """A worker's own view of its lease: when the last renewal that succeeded was sent, and since when none failed."""

    seconds: float
    sent_at: float
    unbroken_since: float

    @classmethod
    def taken(cls, seconds: float, sent_at: float) -> Lease:
        """Return the lease of a worker whose row was inserted by a statement sent at `sent_at`."""
        return cls(seconds=seconds, sent_at=sent_at, unbroken_since=sent_at)

    def renewed(self, sent_at: float) -> None:
        """Note a renewal that succeeded and was sent at `sent_at`."""
        if sent_at - self.sent_at > self.seconds * STOP_AT:
            self.unbroken_since = sent_at
        self.sent_at = sent_at

    def must_stop(self, now: float) -> bool:
        """Return whether the last renewal is so old that a peer might soon give this worker's jobs away."""
        return now - self.sent_at > self.seconds * STOP_AT

    def is_over(self, now: float) -> bool:
        """Return whether the last renewal is older than the lease: a peer may be giving this worker's jobs away."""
        return now - self.sent_at > self.seconds


@dataclass(slots=True)
class PeerWatch:
    """What one observer has seen of its peers' beats, and since when by its own clock."""

    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    ripe_at: float = float("inf")
    """When the first of the peers could qualify, should its beat stay as it is."""

    def silent(
        self,
        peers: Iterable[tuple[int, int, float]],
        *,
        now: float,
        unbroken_since: float,
        asked_at: float | None = None,
    ) -> list[tuple[int, int]]:
        """Return (worker id, beat) of the peers that may be declared gone.

        `peers` are (worker id, beat, lease seconds) as just read. A peer qualifies when the same beat was seen for its
        whole lease, while the observer's own renewals succeeded without a gap since `unbroken_since`. The time that
        reading took, from `asked_at`, is not held against anybody: the store may have been away in it.
        """
        fresh: dict[int, tuple[int, float]] = {}
        gone: list[tuple[int, int]] = []
        self.ripe_at = float("inf")
        for worker_id, current, lease in peers:
            last_beat, since = self._seen.get(worker_id, (current, now))
            since = max(since if last_beat == current else now, unbroken_since)
            fresh[worker_id] = (current, since)
            if (now if asked_at is None else asked_at) - since >= lease:
                gone.append((worker_id, current))
            else:
                self.ripe_at = min(self.ripe_at, since + lease)
        self._seen = fresh
        return gone
