"""JobFilter and Claim → the conditions of a query."""

from __future__ import annotations

from typing import Any

from ...domain.filters import JobFilter
from ...domain.records import Claim
from .rows import CLAIMABLE


def conditions(where: JobFilter) -> dict[str, Any]:
    """Return the keyword arguments of `QuerySet.filter` that mean `where`."""
    found: dict[str, Any] = {}
    if where.ids:
        found["id__in"] = where.ids
    if where.statuses:
        found["status__in"] = [status.value for status in where.statuses]
    if where.queues:
        found["queue__in"] = where.queues
    if where.job_types:
        found["job_type__in"] = where.job_types
    if where.held:
        found["worker_id__isnull"] = False
    if where.worker_ids:
        found["worker_id__in"] = where.worker_ids
    if where.idempotency_keys:
        found["idempotency_key__in"] = where.idempotency_keys
    return found


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
