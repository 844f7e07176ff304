"""The store on PostgreSQL beside Django's own connection pool."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.worker.connections import ThreadConnections
from tests.harness.workers import PATIENCE, wait_until
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import POSTGRES


@real_transactions(POSTGRES)
class TestPool:
    @pytest.fixture(autouse=True)
    def _given_a_pool_of_one(self) -> Iterator[None]:
        connection, given = connections[POSTGRES], connections.settings[POSTGRES]
        pool = {"pool": {"min_size": 1, "max_size": 1, "timeout": PATIENCE}}
        self._use({**given, "OPTIONS": {**given["OPTIONS"], **pool}})
        try:
            yield
        finally:
            self._use(given)
            connection.close()

    @staticmethod
    def _use(settings: Any) -> None:
        connection: Any = connections[POSTGRES]
        connection.close()
        connection.close_pool()
        connection.settings_dict = connections.settings[POSTGRES] = settings

    def test_a_handlers_connection_goes_back_after_its_job(self) -> None:
        tidy = ThreadConnections()
        tidy.before()
        emptied_store(POSTGRES)
        pool: Any = connections[POSTGRES].pool  # type: ignore[attr-defined]
        assert pool.get_stats()["pool_available"] == 0
        tidy.after()
        wait_until(lambda: pool.get_stats()["pool_available"] == 1)  # a thread of the pool takes it back

    def test_a_workers_connection_takes_none_from_the_pool(self) -> None:
        store = emptied_store(POSTGRES)
        [added] = store.insert([NewJob(job_type="t")])  # this thread keeps the one connection

        pool: Any = connections[POSTGRES].pool  # type: ignore[attr-defined]
        assert pool.get_stats()["pool_available"] == 0

        def with_its_own() -> list[int]:
            with store.private_session():
                worker = store.put(Worker(label="w"))
                return [job.id for job in store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"))]

        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(with_its_own).result() == [added.id]
