"""What happened on a day: jobs as the queue counts them, and what the other apps have stored."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Model, QuerySet, Sum

from dataqueue_django import JobStatus, get_queue
from example_project.album.models import Photo
from example_project.fieldbook.models import Chunk, Import
from example_project.refunds.models import LedgerEntry, Refund, RefundState

from .days import Day

STATUSES = [str(status) for status in JobStatus]


@dataclass(frozen=True, slots=True)
class JobLine:
    """The jobs of one type: how many there are in each of `STATUSES`, and in all."""

    job_type: str
    counts: list[int]
    total: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one day."""

    jobs: list[JobLine]
    all_jobs: int
    imports: int
    rows_accepted: int
    rows_rejected: int
    refunds: int
    refunds_closed: dict[str, int]
    refunded: Decimal
    photos: int
    photo_bytes: int

    def in_short(self) -> dict[str, int]:
        """Return what the digest's job has as its output, and the page shows."""
        return {"jobs": self.all_jobs, "imports": self.imports, "refunds": self.refunds, "photos": self.photos}


def numbers_of(day: Day) -> Numbers:
    """Count a day. Its jobs are those that were to run on it, wherever they stand by now."""
    jobs = _jobs(day)
    imports, chunks = _on(day, Import, "created_at"), _on(day, Chunk, "done_at")
    rows = chunks.aggregate(accepted=Sum("accepted", default=0), rejected=Sum("rejected", default=0))
    closed = _on(day, Refund, "closed_at").order_by().values_list("state").annotate(Count("id"))
    paid = _on(day, LedgerEntry, "booked_at").aggregate(total=Sum("amount", default=Decimal(0)))
    photos = _on(day, Photo, "created_at")
    return Numbers(
        jobs=jobs,
        all_jobs=sum(line.total for line in jobs),
        imports=imports.count(),
        rows_accepted=rows["accepted"],
        rows_rejected=rows["rejected"],
        refunds=_on(day, Refund, "created_at").count(),
        refunds_closed={str(RefundState(state).label): number for state, number in sorted(closed)},
        refunded=paid["total"],
        photos=photos.count(),
        photo_bytes=photos.aggregate(total=Sum("bytes", default=0))["total"],
    )


def _jobs(day: Day) -> list[JobLine]:
    counts = get_queue().count_jobs_by("job_type", "status", filters={"run_at": {"gte": day.since, "lt": day.until}})
    types = sorted({job_type for job_type, _ in counts})
    rows = {job_type: [counts.get((job_type, status), 0) for status in STATUSES] for job_type in types}
    return [JobLine(job_type, row, sum(row)) for job_type, row in rows.items()]


def _on(day: Day, model: type[Model], field: str) -> QuerySet[Any]:
    return model._default_manager.filter(**{f"{field}__gte": day.since, f"{field}__lt": day.until})
