"""Which jobs a query means; `matches` is the reference that every store's query is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from .records import Job, JobStatus


class Order(StrEnum):
    """The orders a query can have; both are total, so pages by the last id seen never skip or repeat."""

    NEWEST = "newest"
    OLDEST = "oldest"


class TagMode(StrEnum):
    """How a job's tags are compared with those asked for (DataQueue "TagQueryMode").

    ALL: it has every one. ANY: it has at least one. NONE: it has none of them, or no tags at all. EXACT: it has these
    and no others, in any order.
    """

    ALL = "all"
    ANY = "any"
    NONE = "none"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class TagMatch:
    """Tags to look for. `values` holds no tag twice; it may be empty only with EXACT: jobs without tags."""

    values: tuple[str, ...]
    mode: TagMode = TagMode.ALL

    def matches(self, tags: tuple[str, ...]) -> bool:
        """Return whether a job with these tags is meant."""
        wanted, had = set(self.values), set(tags)
        if self.mode is TagMode.ALL:
            return wanted <= had
        if self.mode is TagMode.ANY:
            return bool(wanted & had)
        if self.mode is TagMode.NONE:
            return not wanted & had
        return wanted == had


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeRange:
    """Bounds of a time, all of which must hold; None does not bound."""

    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None
    eq: datetime | None = None

    def matches(self, time: datetime) -> bool:
        """Return whether `time` is within every bound."""
        return (
            (self.gt is None or time > self.gt)
            and (self.gte is None or time >= self.gte)
            and (self.lt is None or time < self.lt)
            and (self.lte is None or time <= self.lte)
            and (self.eq is None or time == self.eq)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Conditions that must all hold; an empty tuple or None means any. `held` asks for jobs that a worker has."""

    ids: tuple[int, ...] = ()
    statuses: tuple[JobStatus, ...] = ()
    queues: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    priorities: tuple[int, ...] = ()
    run_at: TimeRange | None = None
    tags: TagMatch | None = None
    held: bool = False
    worker_ids: tuple[int, ...] = ()
    idempotency_keys: tuple[str, ...] = ()
    wait_token_ids: tuple[str, ...] = ()

    def matches(self, job: Job) -> bool:
        """Return whether `job` meets every condition."""
        return (
            (not self.ids or job.id in self.ids)
            and (not self.statuses or job.status in self.statuses)
            and (not self.queues or job.queue in self.queues)
            and (not self.job_types or job.job_type in self.job_types)
            and (not self.priorities or job.priority in self.priorities)
            and (self.run_at is None or self.run_at.matches(job.run_at))
            and (self.tags is None or self.tags.matches(job.tags))
            and (not self.held or job.worker_id is not None)
            and (not self.worker_ids or job.worker_id in self.worker_ids)
            and (not self.idempotency_keys or job.idempotency_key in self.idempotency_keys)
            and (not self.wait_token_ids or job.wait_token_id in self.wait_token_ids)
        )

    def editable(self) -> tuple[str, ...]:
        """Return the fields of a job that this filter looks at and that an edit could change meanwhile."""
        looked_at = {"priority": self.priorities, "run_at": self.run_at, "tags": self.tags}
        return tuple(name for name, given in looked_at.items() if given)


EVERYTHING = JobFilter()

COUNTABLE: dict[str, Callable[[Job], Any]] = {
    "queue": lambda job: job.queue,
    "status": lambda job: job.status.value,
    "job_type": lambda job: job.job_type,
    "worker_id": lambda job: job.worker_id,
}
"""The fields a count can be grouped by."""
