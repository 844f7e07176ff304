"""JobFilter → the conditions of a query."""

from __future__ import annotations

from typing import Any

from ...domain.filters import JobFilter


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
    if where.worker_id is not None:
        found["worker_id"] = where.worker_id
    if where.idempotency_keys:
        found["idempotency_key__in"] = where.idempotency_keys
    return found
