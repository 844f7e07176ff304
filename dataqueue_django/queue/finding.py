"""Reading jobs and their events."""

from __future__ import annotations

from ..domain.records import Job, JobEvent
from .aio import with_async_twins
from .base import QueueBase


@with_async_twins
class Finding(QueueBase):
    """`get_job`, `get_job_events`."""

    def get_job(self, job_id: int) -> Job | None:
        """Return the job with this id, or None (seed 001 "getJob")."""
        found = self.store.get([job_id])
        return found[0] if found else None

    def get_job_events(self, job_id: int) -> list[JobEvent]:
        """Return what happened to a job, oldest first; an empty list for an unknown id (seed 001 "getJobEvents")."""
        return self.store.events(job_id, limit=10_000)
