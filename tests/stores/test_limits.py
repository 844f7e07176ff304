"""What the tables of limits say, beside what the contract asks of every store."""

from __future__ import annotations

import pytest

from dataqueue_django.domain.controls import limit_id
from dataqueue_django.domain.records import Claim, EventType, Limit, NewJob, Worker
from dataqueue_django.models import RateBucket as BucketRow
from dataqueue_django.stores.orm.rows import bucket_of
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import SQLITE

ON_EACH = pytest.mark.parametrize(
    "alias", [pytest.param(alias, marks=real_transactions(alias)) for alias in (SQLITE, "postgres")]
)


@ON_EACH
def test_a_job_begins_at_the_moment_that_its_rate_counts(alias: str) -> None:
    """Else two that are far enough apart for the one are too close for the other."""
    store = emptied_store(alias)
    store.put(Limit(id=limit_id("default"), queue="default", rate=5, per_ms=1000))
    worker = store.put(Worker(label="w"))
    [added] = store.insert([NewJob(job_type="t")])
    [job] = store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"))
    [begun] = [event for event in store.events(added.id) if event.event_type is EventType.PROCESSING]
    bucket = bucket_of(BucketRow.objects.using(store.database).get(key=limit_id("default")))
    assert bucket.begun == ((begun.created_at, 1),)
    assert job.locked_at == begun.created_at
