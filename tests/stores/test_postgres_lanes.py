"""What a PostgreSQL store remembers of lanes between two claims never hides a job."""

from __future__ import annotations

import pytest

from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.stores.orm.postgres import PostgresStore
from tests.harness.fixtures import REAL
from tests.stores.tables import emptied_store

pytestmark = REAL


@pytest.mark.parametrize("session", ["django's", "own"])
def test_a_job_added_right_after_an_empty_claim_is_found(session: str) -> None:
    store = emptied_store("postgres")
    assert isinstance(store, PostgresStore)
    with store.private_session() if session == "own" else store.transaction():
        worker = store.put(Worker(label="here"))
        claim = Claim(limit=3, worker_id=worker.id, locked_by="here", crashed=False)
        assert store.claim(claim) == []
        added = store.insert([NewJob(job_type="send")])[0].id
        assert [job.id for job in store.claim(claim)] == [added]
