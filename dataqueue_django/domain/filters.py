"""Which jobs a query means; `matches` is the reference that every store's query is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .records import Job, JobStatus


class Order(StrEnum):
    """The orders a query can have; both are total, so pages by the last id seen never skip or repeat."""

    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Conditions that must all hold; an empty tuple means any. `held` asks for jobs that a worker has."""

    ids: tuple[int, ...] = ()
    statuses: tuple[JobStatus, ...] = ()
    queues: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    held: bool = False
    worker_ids: tuple[int, ...] = ()
    idempotency_keys: tuple[str, ...] = ()

    def matches(self, job: Job) -> bool:
        """Return whether `job` meets every condition."""
        return (
            (not self.ids or job.id in self.ids)
            and (not self.statuses or job.status in self.statuses)
            and (not self.queues or job.queue in self.queues)
            and (not self.job_types or job.job_type in self.job_types)
            and (not self.held or job.worker_id is not None)
            and (not self.worker_ids or job.worker_id in self.worker_ids)
            and (not self.idempotency_keys or job.idempotency_key in self.idempotency_keys)
        )


EVERYTHING = JobFilter()

COUNTABLE: dict[str, Callable[[Job], Any]] = {
    "queue": lambda job: job.queue,
    "status": lambda job: job.status.value,
    "job_type": lambda job: job.job_type,
    "worker_id": lambda job: job.worker_id,
}
"""The fields a count can be grouped by."""
