"""JobFilter and Claim → the condition of a query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from django.db.models import Exists, OuterRef, Q

from ...domain.filters import JobFilter, TagMatch, TagMode, TimeRange
from ...domain.records import Claim
from ...models import JobTag as TagRow
from .rows import CLAIMABLE


def conditions(where: JobFilter) -> Q:
    """Return the condition of a query that means `where`."""
    found = Q(**_equalities(where), **_times(where.run_at))
    if where.held:
        found &= Q(worker_id__isnull=False)
    return found if where.tags is None else found & _tags(where.tags)


def _equalities(where: JobFilter) -> dict[str, Any]:
    columns: dict[str, Collection[Any]] = {
        "id": where.ids,
        "status": [status.value for status in where.statuses],
        "queue": where.queues,
        "job_type": where.job_types,
        "priority": where.priorities,
        "worker_id": where.worker_ids,
        "idempotency_key": where.idempotency_keys,
        "wait_token_id": where.wait_token_ids,
    }
    return {f"{name}__in": values for name, values in columns.items() if values}


def _times(bounds: TimeRange | None) -> dict[str, Any]:
    if bounds is None:
        return {}
    given = {f.name: getattr(bounds, f.name) for f in fields(TimeRange)}
    return {"run_at" if word == "eq" else f"run_at__{word}": time for word, time in given.items() if time is not None}


def _tags(wanted: TagMatch) -> Q:
    """A job's tags against those wanted. A job without tags has no rows, so that none of these meets a NULL.

    Tags that must be there are looked up first, tags that must not be are looked for at each job.
    """
    mine = TagRow.objects.filter(job_id=OuterRef("id"))
    if wanted.mode is TagMode.NONE:
        return ~Q(Exists(mine.filter(tag__in=wanted.values)))
    if wanted.mode is TagMode.ANY:
        return Q(id__in=TagRow.objects.filter(tag__in=wanted.values).values("job_id"))
    every = Q(*[Q(id__in=TagRow.objects.filter(tag=tag).values("job_id")) for tag in wanted.values])
    return every if wanted.mode is TagMode.ALL else every & ~Q(Exists(mine.exclude(tag__in=wanted.values)))


def in_both_indexes(jobs: Any) -> tuple[Any, Any]:
    """Return the jobs that can be claimed now, without a group and of one: each has its index."""
    found = jobs.filter(stage=CLAIMABLE)
    return found.filter(group_id__isnull=True), found.filter(group_id__isnull=False)


def claimable(jobs: Any, claim: Claim) -> Any:
    """Narrow a query to the jobs that `claim` may get now."""
    found = jobs.filter(stage=CLAIMABLE)
    if claim.ids:
        found = found.filter(id__in=claim.ids)
    if claim.queues:
        found = found.filter(queue__in=claim.queues)
    if claim.exclude_queues:
        found = found.exclude(queue__in=claim.exclude_queues)
    if claim.job_types:
        found = found.filter(job_type__in=claim.job_types)
    if claim.exclude_job_types:
        found = found.exclude(job_type__in=claim.exclude_job_types)
    if claim.crashed is None:
        return found
    return found.filter(crash_count__gt=0) if claim.crashed else found.filter(crash_count=0)
