"""The store on PostgreSQL in a project whose transactions are REPEATABLE READ.

There a statement that waited for another session's row fails with "could not serialize access", where READ COMMITTED
would look at the row again. What the store begins itself has to be spared that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections, transaction

from dataqueue_django import Completion, get_queue
from dataqueue_django.domain.changes import Verdict
from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.domain.steering import cancel
from dataqueue_django.domain.transitions import complete
from dataqueue_django.testing.contract.base import execution_of
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import POSTGRES, VARIANT, repeatable_read

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEYED = NewJob(job_type="t", idempotency_key="k")
TAKE_THE_KEY = """
    INSERT INTO dataqueue_job (job_type, queue, run_at, ready_at, stage, created_at, updated_at, idempotency_key)
    VALUES ('t', 'default', now(), now(), 'claimable', now(), now(), 'k') RETURNING id
"""


@pytest.mark.skipif(VARIANT == "pgbouncer", reason="PgBouncer refuses the start-up parameter that sets the level")
@real_transactions(POSTGRES)
class TestRepeatableRead:
    @pytest.fixture(autouse=True)
    def _given_a_store(self) -> Iterator[None]:
        connection, given = connections[POSTGRES], connections.settings[POSTGRES]
        options = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
        connection.close()
        self._use({**given, "OPTIONS": {**options, **repeatable_read()}})
        try:
            self.store = emptied_store(POSTGRES)
            yield
        finally:
            connection.close()
            self._use(given)

    @staticmethod
    def _use(settings: Any) -> None:
        connections[POSTGRES].settings_dict = connections.settings[POSTGRES] = settings

    @pytest.fixture
    def other(self) -> Iterator[psycopg.Connection[Any]]:
        """Another session, inside a transaction."""
        parameters = connections[POSTGRES].get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}) as session:
            yield session
            session.rollback()

    def level(self) -> str:
        """Return the isolation level of the next statement of this thread's connection."""
        with self.store.connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            return str(cursor.fetchone()[0])

    def test_the_project_is_set_up_as_told(self) -> None:
        assert self.level() == "repeatable read"
        with transaction.atomic(using=POSTGRES):
            assert self.level() == "repeatable read"

    def test_a_workers_own_connection_is_read_committed(self) -> None:
        with self.store.private_session():
            assert self.level() == "read committed"
            with transaction.atomic(using=POSTGRES):
                assert self.level() == "read committed"
        assert self.level() == "repeatable read"

    def test_a_change_that_waited_is_judged_by_what_the_one_before_left(self, other: Any) -> None:
        worker = self.store.put(Worker(label="w"), now=NOW)
        self.store.insert([NewJob(job_type="t")], now=NOW)
        run = execution_of(self.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"), now=NOW)[0])
        other.execute("UPDATE dataqueue_job SET claim_seq = claim_seq + 1, status = 'pending', worker_id = NULL")
        with CommitWhenWaitedFor(other, self.backend()):
            [answer] = self.store.commit([(complete(run),)], now=NOW)
        assert answer.verdict is Verdict.LOST
        assert self.level() == "repeatable read"

    def test_a_token_that_somebody_else_completes_meanwhile_is_no_error(self, other: Any) -> None:
        queue = get_queue(POSTGRES)
        token = queue.create_token()
        other.execute("UPDATE dataqueue_token SET status = 'completed', completed_at = now()")
        with CommitWhenWaitedFor(other, self.backend()):
            assert queue.complete_token(token, 1) is Completion.ALREADY_COMPLETED
        assert self.level() == "repeatable read"

    def test_what_a_projects_code_does_in_a_transaction_keeps_the_projects_level(self) -> None:
        with self.store.transaction(with_users_code=True):
            assert self.level() == "repeatable read"
        with self.store.transaction():
            assert self.level() == "read committed"

    def test_a_deletion_that_waited_succeeds(self, other: Any) -> None:
        [added] = self.store.insert([NewJob(job_type="t")], now=NOW)
        other.execute("UPDATE dataqueue_job SET priority = 1")
        with CommitWhenWaitedFor(other, self.backend()):
            assert self.store.delete([added.id]) == 1

    def test_events_that_somebody_else_deletes_meanwhile_are_no_error(self, other: Any) -> None:
        [added] = self.store.insert([NewJob(job_type="t")], now=NOW)
        other.execute("DELETE FROM dataqueue_job WHERE id = %s", [added.id])
        other.commit()
        other.execute("DELETE FROM dataqueue_jobevent")
        with CommitWhenWaitedFor(other, self.backend()):
            assert self.store.delete_events(before=NOW + timedelta(days=1)) == 0

    def test_a_key_that_is_being_taken_names_its_job(self, other: Any) -> None:
        [taken] = other.execute(TAKE_THE_KEY).fetchone()
        with CommitWhenWaitedFor(other, self.backend()):
            [answer] = self.store.insert([KEYED])
        assert (answer.id, answer.existed) == (taken, True)

    def test_in_a_callers_transaction_a_key_taken_meanwhile_is_an_error_to_repeat(self, other: Any) -> None:
        """The database shows the caller nothing that came later, so the job that stands there cannot be named."""
        with pytest.raises(OperationalError, match="could not serialize") as caught, transaction.atomic(using=POSTGRES):
            assert self.store.count() == {(): 0}  # from here on the transaction sees nothing new
            [taken] = other.execute(TAKE_THE_KEY).fetchone()
            other.commit()
            self.store.insert([KEYED])
        assert isinstance(caught.value.__cause__, psycopg.errors.SerializationFailure)
        with transaction.atomic(using=POSTGRES):
            assert self.store.insert([KEYED])[0].id == taken

    def test_in_a_callers_transaction_a_job_changed_meanwhile_is_an_error_to_repeat(self, other: Any) -> None:
        [added] = self.store.insert([NewJob(job_type="t")], now=NOW)
        cancelling = [cancel(added.id)]
        with pytest.raises(OperationalError, match="could not serialize"), transaction.atomic(using=POSTGRES):
            assert self.store.count() == {(): 1}
            other.execute("UPDATE dataqueue_job SET priority = 1")
            other.commit()
            self.store.commit(cancelling, now=NOW)
        with transaction.atomic(using=POSTGRES):
            assert self.store.commit(cancelling, now=NOW)[0].applied

    def backend(self) -> int:
        """Return the server process behind this thread's connection."""
        with self.store.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])


class CommitWhenWaitedFor:
    """Commits a session as soon as the server process `waiting` waits for a lock, or at the end of the block."""

    def __init__(self, session: psycopg.Connection[Any], waiting: int) -> None:
        self._session, self._waiting = session, waiting
        self._over = False
        self._thread = Thread(target=self._commit)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()

    def _commit(self) -> None:
        held = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
        while not self._over and not self._session.execute(held, [self._waiting]).fetchone()[0]:  # type: ignore[index]
            pass
        with suppress(psycopg.Error):
            self._session.commit()
