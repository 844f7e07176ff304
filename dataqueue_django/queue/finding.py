"""Reading jobs, their events, and who works on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..domain.asking import filter_from, job_id_from, page_after, page_limit, page_offset, status_from, tags_from
from ..domain.explaining import NO_CONTROLS, Explanation, explain, is_due, questions
from ..domain.filters import COUNTABLE, JobFilter, TagMatch
from ..domain.records import CancelRequest, Job, JobEvent, Kind, Worker
from ..exceptions import InvalidFilter, did_you_mean, shown
from .aio import with_async_twins
from .base import QueueBase

Filters = JobFilter | Mapping[str, Any] | None
"""Which jobs are meant: None is all of them; see `domain.asking.filter_from` for the names."""

PAGE = 100
MOST_EVENTS = 10_000
COUNTED = ("status", "queue", "job_type")


@with_async_twins
class Finding(QueueBase):
    """Jobs, counts of them, their events, and `get_workers`, `get_cancel_requests`, `explain_job`."""

    def get_job(self, job_id: int) -> Job | None:
        """Return the job with this id, or None (DataQueue "getJob")."""
        found = self.store.get([job_id_from(job_id)])
        return found[0] if found else None

    def get_jobs(
        self, filters: Filters = None, *, limit: int = PAGE, offset: int = 0, after: int | None = None
    ) -> list[Job]:
        """Return up to `limit` jobs that match, newest first (DataQueue "getJobs").

        `after` is the id of the last job of the page before: it costs the same on every page. `offset` skips that many
        jobs and costs more the further it goes. Raises InvalidFilter for a name, value or page that makes no sense.
        """
        return self.store.query(
            filter_from(filters),
            limit=page_limit(limit),
            offset=page_offset(offset, after),
            after=page_after(after),
        )

    def get_jobs_by_status(
        self, status: str, *, limit: int = PAGE, offset: int = 0, after: int | None = None
    ) -> list[Job]:
        """Return jobs in one status, newest first, as `get_jobs` does (DataQueue "getJobsByStatus")."""
        where = JobFilter(statuses=(status_from(status),))
        return self.get_jobs(where, limit=limit, offset=offset, after=after)

    def get_all_jobs(self, *, limit: int = PAGE, offset: int = 0, after: int | None = None) -> list[Job]:
        """Return jobs of any kind, newest first, as `get_jobs` does (DataQueue "getAllJobs")."""
        return self.get_jobs(limit=limit, offset=offset, after=after)

    def get_jobs_by_tags(
        self,
        tags: Iterable[str] | TagMatch,
        mode: str = "all",
        *,
        limit: int = PAGE,
        offset: int = 0,
        after: int | None = None,
    ) -> list[Job]:
        """Return jobs by their tags, newest first, as `get_jobs` does (DataQueue "getJobsByTags").

        `mode` is "all", "any", "none" (which finds jobs without tags, too) or "exact" (in any order).
        """
        return self.get_jobs(JobFilter(tags=tags_from(tags, mode)), limit=limit, offset=offset, after=after)

    def count_jobs(self, filters: Filters = None) -> int:
        """Return how many jobs match."""
        return self.store.count(filter_from(filters))[()]

    def count_jobs_by(self, *fields: str, filters: Filters = None) -> dict[Any, int]:
        """Return how many jobs match, per value of "status", "queue" or "job_type"; values without jobs are absent.

        With several fields the keys are tuples of their values. Raises InvalidFilter for another field, or none.
        """
        if not fields:
            raise InvalidFilter(f"count_jobs_by() got no field; expected some of {', '.join(COUNTED)}.")
        for field in fields:
            if field not in COUNTED or field not in COUNTABLE:
                raise InvalidFilter(f"Jobs cannot be counted by {shown(field)}.{did_you_mean(field, COUNTED)}")
            if fields.count(field) > 1:
                raise InvalidFilter(f"{field!r} is given twice; expected each field once.")
        counts = self.store.count(filter_from(filters), by=fields)
        return {key[0]: n for key, n in counts.items()} if len(fields) == 1 else dict(counts)

    def get_job_events(self, job_id: int) -> list[JobEvent]:
        """Return what happened to a job, oldest first; an empty list for an unknown id (DataQueue "getJobEvents")."""
        return self.store.events(job_id_from(job_id), limit=MOST_EVENTS)

    def get_workers(self) -> list[Worker]:
        """Return the workers of this queue by ascending id, those that are gone as long as their rows are kept."""
        return self.store.find(Kind.WORKER)

    def get_cancel_requests(self, job_ids: Iterable[int]) -> list[CancelRequest]:
        """Return the requests to stop that stand for any of these running jobs, by ascending id of the job."""
        return self.store.cancel_requests([job_id_from(job_id) for job_id in job_ids])

    def explain_job(self, job_id: int) -> Explanation | None:
        """Say why a job is where it is, above all why it does not run; None for an unknown id.

        For a job that is due it names what keeps workers from it: a pause of its queue, its type or everything, a limit
        that is reached, a rate that is used up, or that no worker is there or free. Reads the job, the workers and how
        busy they are, and the pauses and limits; changes nothing.
        """
        job = self.get_job(job_id)
        if job is None:
            return None
        workers, busy = self.get_workers(), {}
        if ids := questions(job, workers):
            counts = self.store.count(JobFilter(worker_ids=ids), by=("worker_id",))
            busy = {worker_id: n for (worker_id,), n in counts.items()}
        requests = self.get_cancel_requests([job.id]) if job.worker_id is not None else []
        request = requests[0] if requests else None
        known = self.handlers.get(job.job_type) is not None
        now = self.store.now()
        controls = self.store.controls() if is_due(job, now) else NO_CONTROLS
        uses = self.store.usage(job.queue, job.job_type, job.group_id) if controls.limits else []
        return explain(job, workers, busy, now=now, known=known, request=request, controls=controls, uses=uses)
