"""Reading jobs and their events."""

from __future__ import annotations

from ..domain.records import Job, JobEvent
from ..exceptions import InvalidFilter, shown
from .aio import with_async_twins
from .base import QueueBase


@with_async_twins
class Finding(QueueBase):
    """`get_job`, `get_job_events`."""

    def get_job(self, job_id: int) -> Job | None:
        """Return the job with this id, or None (DataQueue "getJob")."""
        found = self.store.get([_id(job_id)])
        return found[0] if found else None

    def get_job_events(self, job_id: int) -> list[JobEvent]:
        """Return what happened to a job, oldest first; an empty list for an unknown id (DataQueue "getJobEvents")."""
        return self.store.events(_id(job_id), limit=10_000)


def _id(given: object) -> int:
    """Return a job's id; raises InvalidFilter for what cannot be one. Ids beyond 64 bits are those of no job."""
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidFilter(f"job_id is {shown(given)}; expected a whole number.")
    return given if abs(given) < 2**63 else 0
