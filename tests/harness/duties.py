"""Letting duties come due without waiting for it, and giving them something to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dataqueue_django.domain.changes import After, Change, Verb
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.records import JobStatus, Kind, NewJob
from dataqueue_django.domain.retention import BATCH
from dataqueue_django.models import Job as JobRow
from dataqueue_django.models import JobEvent as EventRow
from dataqueue_django.stores import Store
from dataqueue_django.stores.orm.portable import PortableStore


def make_due(store: Store, *names: str) -> None:
    """Let some duties be due now, or all there are."""
    wanted = names or [duty.id for duty in store.find(Kind.DUTY)]
    store.commit([(Change(kind=Kind.DUTY, verb=Verb.OTHER, id=name, set={"due_at": After()}),) for name in wanted])


def ended(
    store: PortableStore,
    age: timedelta,
    count: int = 1,
    *,
    status: JobStatus = JobStatus.COMPLETED,
    job_type: str = "send",
    **options: Any,
) -> list[int]:
    """Add jobs that have ended so long ago, with events as old; return their ids."""
    ids: list[int] = []
    at = store.now() - age
    for start in range(0, count, BATCH):
        lot = [one.id for one in store.insert([NewJob(job_type=job_type, **options)] * min(BATCH, count - start))]
        rows = JobRow.objects.using(store.database).filter(id__in=lot)
        rows.update(status=status.value, stage=None, ready_at=None, finished_at=at, claim_seq=2)
        EventRow.objects.using(store.database).filter(job_id__in=lot).update(created_at=at)
        ids += lot
    return ids


def left(store: Store) -> set[int]:
    """Return the ids of the jobs there are."""
    return {id for (id,) in store.values(JobFilter(), ("id",), limit=100_000)}
