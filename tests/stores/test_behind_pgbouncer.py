"""What the store leaves on PostgreSQL's connections, which PgBouncer hands from client to client."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections

from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.domain.transitions import complete
from dataqueue_django.notify import notifier_for
from dataqueue_django.testing.contract.base import execution_of
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import POSTGRES, VARIABLE, VARIANT

LEFT_BEHIND = """
    SELECT 'prepared: ' || statement FROM pg_prepared_statements
    UNION ALL SELECT 'listening: ' || channel FROM pg_listening_channels() AS channel
    UNION ALL SELECT 'lock: ' || locktype FROM pg_locks WHERE locktype = 'advisory'
    UNION ALL SELECT 'set: ' || name FROM pg_settings WHERE source = 'session' AND name NOT IN
        ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings',
         'search_path', 'transaction_isolation', 'transaction_read_only', 'transaction_deferrable')
"""
"""What is left, apart from the settings that PgBouncer itself keeps per client."""


@pytest.mark.skipif(VARIANT != "pgbouncer", reason=f"there is no PgBouncer; {VARIABLE}=pgbouncer starts one")
@real_transactions(POSTGRES)
class TestBehindPgBouncer:
    def test_nothing_is_left_on_the_servers_connections(self) -> None:
        store = emptied_store(POSTGRES)
        with store.private_session():
            store.insert([NewJob(job_type="t", idempotency_key="k")] * 2)
            worker = store.put(Worker(label="w"))
            jobs = store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"))
            store.exchange([(complete(execution_of(job)),) for job in jobs], None)
            notifier_for(POSTGRES).publish()
            notifier_for(POSTGRES).listener().wait(0.01)
        parameters = connections[POSTGRES].get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{name: parameters[name] for name in names}, autocommit=True) as client:
            # The connection that was given back last is the first to be handed out.
            assert client.execute(LEFT_BEHIND).fetchall() == []

    def test_with_prepared_statements_on_a_worker_is_told_at_once(self, settings: Any) -> None:
        given = settings.DATAQUEUE[POSTGRES]
        settings.DATAQUEUE = {POSTGRES: {**given, "WORKER": {**given["WORKER"], "PREPARED_STATEMENTS": True}}}
        store = emptied_store(POSTGRES)
        with store.private_session(), pytest.raises(OperationalError, match="unsupported startup parameter"):
            store.count()
