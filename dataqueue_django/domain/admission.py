"""Which jobs of those that are due a worker gets: in turn by group, in order, and no more than limits have room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple

from .controls import key_of, limits_over, rate_of
from .rates import Bucket, room, spend
from .records import Limit, Permits

FULL = 0.25
"""Seconds after which a worker looks again at a limit that as many jobs run under as may."""


class Candidate(NamedTuple):
    """A job that is due, with what its place depends on; `ready_at` as the store compares it."""

    id: int
    queue: str
    job_type: str
    group_id: str | None
    priority: int
    position: int
    ready_at: Any

    @property
    def place(self) -> tuple[int, int, Any, int]:
        """What the claim order goes by."""
        return -self.priority, self.position, self.ready_at, self.id


class Use(NamedTuple):
    """How a limit stands: how many run under it, which permits its rate has, and until when somebody closed that."""

    limit: Limit
    key: str
    running: int
    permits: Permits | None
    closed_until: datetime | None = None


Running = Mapping[tuple[str, str, str | None], int]
"""(queue, job type, group) → how many jobs run."""


class Rooms:
    """What limits leave room for, less what was admitted since."""

    def __init__(
        self, limits: Sequence[Limit], running: Running, buckets: Mapping[str, Bucket], now: datetime,
        excluded: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._general = [limit for limit in limits if limit.group_id is None]
        self._named = _by_group(limits)
        self._counts: Counter[str] | None = None
        self._running = running
        self._buckets = buckets
        self._now = now
        self._excluded = frozenset(excluded)
        self._over: dict[tuple[str, str, str | None], tuple[tuple[Limit, str], ...]] = {}
        self._left: dict[str, int] = {}

    def limits_of(self, queue: str, job_type: str, group_id: str | None) -> tuple[tuple[Limit, str], ...]:
        """Return the limits over jobs of a queue, type and group, each with the key of its use."""
        lane = queue, job_type, group_id
        if lane not in self._over:
            over = limits_over((*self._general, *self._named.get(group_id, ())), *lane)
            self._over[lane] = tuple((limit, key_of(limit, group_id)) for limit in over)
        return self._over[lane]

    def has_room(self, queue: str, job_type: str, group_id: str | None = None) -> bool:
        """Return whether another job could begin; without a group, of any."""
        if group_id in self._excluded:
            return False
        return all(self._room(limit, key) > 0 for limit, key in self.limits_of(queue, job_type, group_id))

    def admit(self, candidate: Candidate) -> bool:
        """Let a job begin if there is room for it."""
        if not self.has_room(candidate.queue, candidate.job_type, candidate.group_id):
            return False
        for _, key in self.limits_of(candidate.queue, candidate.job_type, candidate.group_id):
            self._left[key] -= 1
        return True

    def use_of(self, limit: Limit, key: str) -> Use:
        """Return how a limit stands."""
        rate = rate_of(limit)
        running = self._under(key)
        if rate is None:
            return Use(limit, key, running, None)
        bucket = self._buckets.get(key) or Bucket(None, self._now)
        closed = bucket.closed_until if bucket.closed_until and bucket.closed_until > self._now else None
        return Use(limit, key, running, room(rate, bucket, self._now), closed)

    def next_room_in(self, queue: str, job_type: str, group_id: str | None = None) -> float:
        """Return in how many seconds it is worth looking again for a job that there is no room for."""
        waits = [0.0]
        for limit, key in self.limits_of(queue, job_type, group_id):
            use = self.use_of(limit, key)
            if use.permits is not None and not use.permits.granted:
                waits.append(use.permits.retry_after)
            if limit.concurrency is not None and use.running >= limit.concurrency:
                waits.append(FULL)
        return max(waits)

    def _room(self, limit: Limit, key: str) -> int:
        if key not in self._left:
            use = self.use_of(limit, key)
            slots = limit.concurrency - use.running if limit.concurrency is not None else None
            permits = use.permits.granted if use.permits is not None else None
            self._left[key] = min((n for n in (slots, permits) if n is not None), default=2**31)
        return self._left[key]

    def _under(self, key: str) -> int:
        """How many jobs run under the limit of a key; counted once for all."""
        if self._counts is None:
            self._counts = Counter()
            for lane, number in self._running.items():
                self._counts.update({mine: number for _, mine in self.limits_of(*lane)})
        return self._counts[key]


def _by_group(limits: Iterable[Limit]) -> dict[str | None, list[Limit]]:
    """The limits that are for one group alone, by group: there may be one for each customer."""
    found: dict[str | None, list[Limit]] = {}
    for limit in limits:
        if limit.group_id is not None:
            found.setdefault(limit.group_id, []).append(limit)
    return found


def spent(rooms: Rooms, begun: Iterable[Candidate], buckets: Mapping[str, Bucket], now: datetime) -> dict[str, Bucket]:
    """Return the new states of the rates that jobs began under."""
    counts: Counter[str] = Counter()
    rates = {}
    for one in begun:
        for limit, key in rooms.limits_of(one.queue, one.job_type, one.group_id):
            rate = rate_of(limit)
            if rate is not None:
                rates[key] = rate
                counts[key] += 1
    return {key: spend(rates[key], buckets.get(key) or Bucket(None, now), n, now) for key, n in counts.items()}


def admitted(candidates: Iterable[Candidate], rooms: Rooms, limit: int) -> list[Candidate]:
    """Return the first `limit` candidates that there is room for."""
    found: list[Candidate] = []
    for candidate in candidates:
        if len(found) == limit:
            break
        if rooms.admit(candidate):
            found.append(candidate)
    return found


def merged(rows: Iterable[Sequence[Candidate]]) -> Iterator[Candidate]:
    """Yield the jobs of several rows, always the best of those that stand first in one."""
    heads = [(row[0].place, n, 0, row) for n, row in enumerate(rows) if row]
    heapify(heads)
    while heads:
        _, n, at, row = heads[0]
        yield row[at]
        if at + 1 < len(row):
            heapreplace(heads, (row[at + 1].place, n, at + 1, row))
        else:
            heappop(heads)


def in_turn(groups: Iterable[Sequence[Candidate]]) -> list[Candidate]:
    """Return the jobs of groups one at a time: the first of each, then the second of each, and so on."""
    rows = [list(group) for group in groups if group]
    longest = max((len(row) for row in rows), default=0)
    return [row[n] for n in range(longest) for row in rows if n < len(row)]


def from_cursor(names: Iterable[str], last: str | None) -> list[str]:
    """Return the names of groups in the order of their turns, after the one whose turn was last."""
    ordered = sorted(names)
    after = [name for name in ordered if last is not None and name > last]
    return [*after, *(name for name in ordered if last is None or name <= last)]
