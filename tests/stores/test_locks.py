"""Two sessions at once on PostgreSQL: what another one holds is left alone, and said to be busy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from dataqueue_django.domain.changes import Change, Committed, Verdict
from dataqueue_django.domain.records import Claim, EventType, JobStatus, Kind, NewJob, Token, Worker
from dataqueue_django.domain.steering import ask_to_stop
from dataqueue_django.domain.transitions import Execution, complete, fail, or_cancelled, park, release
from dataqueue_django.domain.waits import Wait, WaitKind
from dataqueue_django.queue.catching_up import catch_up_with
from dataqueue_django.queue.waking import close_due
from dataqueue_django.stores.base import Store
from dataqueue_django.testing.contract.base import execution_of
from dataqueue_django.testing.contract.finishing import BROKEN
from tests.stores.tables import emptied_store, real_transactions

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@real_transactions("postgres")
class TestLocks:
    store: Store
    claim: Claim

    @pytest.fixture(autouse=True)
    def _given_a_store(self) -> None:
        self.store = emptied_store("postgres")
        self.claim = Claim(limit=10, worker_id=self.store.put(Worker(label="w"), now=NOW).id, locked_by="w")

    @pytest.fixture
    def other(self) -> Iterator[psycopg.Connection[Any]]:
        """Another session, inside a transaction that is rolled back in the end."""
        parameters = connections["postgres"].get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}) as session:
            yield session
            session.rollback()

    @pytest.mark.parametrize("end", [complete, lambda run: fail(run, BROKEN, retry_in=5)], ids=["hot", "portable"])
    def test_an_outcome_for_a_locked_job_is_busy_and_nothing_is_lost(self, other: Any, end: Any) -> None:
        locked, free = self.running(2)
        lock(other, locked.job_id)
        results, _ = self.store.exchange([(end(locked),), (end(free),)], None, now=NOW)
        assert [answer.verdict for answer in results] == [Verdict.BUSY, Verdict.APPLIED]
        assert self.words(locked) == ["added", "processing"]
        other.rollback()
        assert self.store.exchange([(end(locked),)], None, now=NOW)[0][0].applied

    @pytest.mark.parametrize("end", [complete, lambda run: fail(run, BROKEN, retry_in=5)], ids=["hot", "portable"])
    def test_a_stale_outcome_for_a_locked_job_is_lost(self, other: Any, end: Any) -> None:
        [old] = self.running(1)
        self.store.commit([(release(old, why="stopping"),)], now=NOW)
        lock(other, old.job_id)
        [answer], _ = self.store.exchange([(end(old),)], None, now=NOW)
        assert answer.verdict is Verdict.LOST

    def test_a_claim_passes_over_locked_jobs(self, other: Any) -> None:
        first, second = (one.id for one in self.store.insert([NewJob(job_type="t")] * 2, now=NOW))
        lock(other, first)
        assert [job.id for job in self.store.claim(self.claim, now=NOW)] == [second]
        other.rollback()
        assert [job.id for job in self.store.claim(self.claim, now=NOW)] == [first]

    def test_staging_passes_over_locked_jobs(self, other: Any) -> None:
        later = NOW.replace(hour=1)
        first, second = (one.id for one in self.store.insert([NewJob(job_type="t", run_at=later)] * 2, now=NOW))
        lock(other, first)
        assert [job.id for job in self.store.claim(self.claim, now=later)] == [second]

    def test_a_reader_of_a_job_does_not_hinder_its_claim(self, other: Any) -> None:
        [one] = self.store.insert([NewJob(job_type="t")], now=NOW)
        other.execute("SELECT 1 FROM dataqueue_job WHERE id = %s FOR KEY SHARE", [one.id])
        assert [job.id for job in self.store.claim(self.claim, now=NOW)] == [one.id]

    def test_a_guard_is_judged_after_the_wait_for_the_lock(self, other: Any) -> None:
        """A commit that waits must see what the one before it left."""
        [run] = self.running(1)
        other.execute(
            "UPDATE dataqueue_job SET status = 'pending', claim_seq = claim_seq + 1, worker_id = NULL WHERE id = %s",
            [run.job_id],
        )
        connection = connections["postgres"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            waiting = cursor.fetchone()[0]
        with Committing(other, waiting):
            [answer] = self.store.commit([(complete(run),)], now=NOW)
        assert answer.verdict is Verdict.LOST
        assert self.words(run) == ["added", "processing"]

    def test_two_commits_in_opposite_order_do_not_deadlock(self, other: Any) -> None:
        """Locks are taken by ascending id, whatever the order of the items."""
        runs = self.running(2)
        lock(other, runs[0].job_id)
        [busy, done], _ = self.store.exchange([(edit(runs[1]),), (edit(runs[0]),)][::-1], None, now=NOW)
        assert (busy.verdict, done.verdict) == (Verdict.BUSY, Verdict.APPLIED)

    def test_asking_to_stop_does_not_wait_for_who_holds_the_job(self, other: Any) -> None:
        [run] = self.running(1)
        lock(other, run.job_id)
        with CaptureQueriesContext(connections["postgres"]) as seen:
            assert self.ask(run).applied
        assert not [query for query in seen.captured_queries if "FOR NO KEY UPDATE" in query["sql"]]

    def test_an_outcome_does_not_wait_for_who_holds_the_request_nor_go_by_it(self, other: Any) -> None:
        """Somebody has asked once more, in a transaction that is still open."""
        asked, free = self.running(2)
        self.ask(asked)
        other.execute("UPDATE dataqueue_cancelrequest SET actor = 'bob' WHERE id = %s", [asked.job_id])
        items = [or_cancelled((release(run, why="stopping"),)) for run in (asked, free)]
        results, _ = self.store.exchange(items, None, now=NOW)
        assert [(answer.verdict, answer.choice) for answer in results] == [(Verdict.BUSY, None), (Verdict.APPLIED, 1)]
        assert self.store.exchange([(complete(asked),)], None, now=NOW)[0][0].applied

    def test_a_request_that_is_not_committed_is_seen_to_afterwards(self, other: Any) -> None:
        """The worker cannot see it, and does not wait: the job is given back, and cancelled by who asked."""
        [run] = self.running(1)
        other.execute(
            "INSERT INTO dataqueue_cancelrequest (id, claim_seq, created_at, actor) VALUES (%s, %s, now(), 'ann')",
            [run.job_id, run.claim_seq],
        )
        [answer], _ = self.store.exchange([or_cancelled((release(run, why="stopping"),))], None, now=NOW)
        assert (answer.verdict, answer.choice) == (Verdict.APPLIED, 1)
        other.commit()
        assert catch_up_with(self.store, [run.job_id]) == 1
        event = self.store.events(run.job_id)[-1]
        assert (event.event_type, event.actor) == (EventType.CANCELLED, "ann")

    @pytest.mark.parametrize(
        ("item", "extra"),
        [(lambda run: (complete(run),), 0), (lambda run: or_cancelled((release(run, why="stopping"),)), 1)],
        ids=["completed", "given back"],
    )
    def test_what_outcomes_pay_for_requests(self, item: Any, extra: int) -> None:
        """A batch of outcomes reads the requests once, and not at all if all of them completed."""
        runs = self.running(20)
        with CaptureQueriesContext(connections["postgres"]) as seen:
            results, _ = self.store.exchange([item(run) for run in runs], None, now=NOW)
        assert all(answer.applied for answer in results)
        assert len([query for query in seen.captured_queries if "cancelrequest" in query["sql"]]) == extra

    def ask(self, run: Execution) -> Committed:
        """Ask that an execution stops."""
        return self.store.commit([ask_to_stop(run.job_id, run.claim_seq, actor="ann")], now=NOW)[0]

    def running(self, count: int) -> list[Execution]:
        """Return executions of new jobs."""
        self.store.insert([NewJob(job_type="t")] * count, now=NOW)
        return [execution_of(job) for job in self.store.claim(self.claim, now=NOW)]

    def words(self, run: Execution) -> list[str]:
        """Return the types of a job's events."""
        return [event.event_type.value for event in self.store.events(run.job_id)]


class Committing:
    """Commits a session as soon as another one is seen to wait for a lock."""

    def __init__(self, session: psycopg.Connection[Any], waiting: int) -> None:
        self.session, self.waiting = session, waiting

    def __enter__(self) -> None:
        self.thread = Thread(target=self.commit_when_waited_for)
        self.thread.start()

    def commit_when_waited_for(self) -> None:
        held = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
        while not self.session.execute(held, [self.waiting]).fetchone()[0]:  # type: ignore[index]
            pass
        self.session.commit()

    def __exit__(self, *_: object) -> None:
        self.thread.join()


def lock(session: psycopg.Connection[Any], job_id: int) -> None:
    """Hold a job's row in another session."""
    session.execute("SELECT 1 FROM dataqueue_job WHERE id = %s FOR UPDATE", [job_id])


def edit(run: Execution) -> Change:
    """Return a change that takes the portable path."""
    return Change(verb=complete(run).verb, id=run.job_id, set={"priority": 1}, event=EventType.EDITED)


@real_transactions("postgres")
class TestUpkeepOfTokens:
    """A worker's upkeep of tokens never waits for what somebody else holds."""

    other = TestLocks.other

    @pytest.mark.parametrize("table", ["dataqueue_token", "dataqueue_job"])
    def test_what_somebody_holds_is_left_for_the_next_time(self, other: Any, table: str) -> None:
        store = emptied_store("postgres")
        worker = store.put(Worker(label="w"))
        store.insert([NewJob(job_type="t")] * 2)
        jobs = store.claim(Claim(limit=2, worker_id=worker.id, locked_by="w"))
        for n, job in enumerate(jobs):
            store.put(Token(id=f"wp_{n}", timeout_at=NOW.replace(year=2020), due_at=NOW.replace(year=2020)))
            store.commit([park(Execution.of(job), Wait(kind=WaitKind.TOKEN, place=0, token_id=f"wp_{n}"))])
        held = "'wp_0'" if table == "dataqueue_token" else str(jobs[0].id)
        other.execute(f"SELECT 1 FROM {table} WHERE id = {held} FOR UPDATE")
        assert close_due(store)[1] == 1
        assert [job.status for job in store.get([job.id for job in jobs])] == [JobStatus.WAITING, JobStatus.PENDING]
        assert store.fetch(Kind.TOKEN, "wp_0").due_at is not None
        assert store.fetch(Kind.TOKEN, "wp_1").due_at is None
        other.rollback()
        assert close_due(store)[1] == 1
        assert store.get([jobs[0].id])[0].status is JobStatus.PENDING
