"""What a round of upkeep costs, and that it finds what dead workers left."""

from __future__ import annotations

from uuid import uuid4

from django.db import connections
from django.test.utils import CaptureQueriesContext

from dataqueue_django import get_queue
from dataqueue_django.conf import settings_for
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import Claim, JobStatus, Kind, NewJob, TokenStatus, Worker
from dataqueue_django.domain.steering import ask_to_stop
from dataqueue_django.domain.tokens import new_token
from dataqueue_django.domain.transitions import Execution, complete, park, release
from dataqueue_django.domain.waits import Wait, WaitKind
from dataqueue_django.stores import stores
from dataqueue_django.worker.upkeep import Upkeep
from tests.harness.duties import make_due
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL


def test_workers_that_left_nothing_cost_no_statement_each(any_alias: str) -> None:
    store = stores[any_alias]
    upkeep = Upkeep(store, settings_for(any_alias))
    upkeep.round(me=0, unbroken_since=0.0)

    def statements() -> int:
        make_due(store)
        with CaptureQueriesContext(connections[any_alias]) as captured:
            assert upkeep.round(me=0, unbroken_since=0.0) == 0
        return len(captured)

    def gone(count: int) -> None:
        for _ in range(count):
            worker = store.put(Worker(label="gone"))
            store.commit([(expire(worker.id),)])

    gone(1)
    few = statements()
    gone(40)
    assert statements() == few


def test_the_jobs_of_every_expired_worker_are_taken_back(any_alias: str) -> None:
    store = stores[any_alias]
    added = []
    for n in range(3):
        worker = store.put(Worker(label="dead"))
        added.append(store.insert([NewJob(job_type=f"send {n}")])[0].id)
        claim = Claim(limit=1, worker_id=worker.id, locked_by="dead", ids=(added[-1],))
        assert len(store.claim(claim)) == 1
        store.commit([(expire(worker.id),)])
    alive = store.put(Worker(label="alive"))
    kept = store.insert([NewJob(job_type="send")])[0].id
    assert len(store.claim(Claim(limit=1, worker_id=alive.id, locked_by="alive", ids=(kept,)))) == 1

    assert Upkeep(store, settings_for(any_alias)).round(me=0, unbroken_since=0.0) == 3

    assert {job.status for job in store.get(added)} == {JobStatus.PENDING}
    assert store.get([kept])[0].status is JobStatus.PROCESSING


def test_overdue_tokens_are_closed_and_wake_who_waits_in_the_same_few_statements(any_alias: str) -> None:
    store = stores[any_alias]
    upkeep = Upkeep(store, settings_for(any_alias))
    worker = store.put(Worker(label="alive"))
    upkeep.round(me=worker.id, unbroken_since=0.0)

    def waiting(count: int) -> list[int]:
        ids = []
        for _ in range(count):
            token = store.put(new_token(uuid4(), timeout=0.001))
            [added] = store.insert([NewJob(job_type="wait")])
            [job] = store.claim(Claim(limit=1, worker_id=worker.id, locked_by="alive", ids=(added.id,)))
            [parked] = store.commit([park(Execution.of(job), Wait(kind=WaitKind.TOKEN, place=0, token_id=token.id))])
            assert parked.choice == 0
            ids.append(added.id)
        wait_until(lambda: len(store.due_tokens()) == count)
        return ids

    def statements(expected: int) -> int:
        make_due(store, "expire_tokens")
        with CaptureQueriesContext(connections[any_alias]) as captured:
            assert upkeep.round(me=worker.id, unbroken_since=0.0) == expected
        return len(captured)

    first, few = waiting(1), statements(1)
    more = waiting(20)
    assert statements(20) == few
    assert {job.status for job in store.get(first + more)} == {JobStatus.PENDING}
    assert store.due_tokens() == []
    assert {token.status for token in store.find(Kind.TOKEN)} == {TokenStatus.TIMED_OUT}


def test_the_jobs_of_a_dead_worker_that_were_asked_to_stop_are_cancelled(any_alias: str) -> None:
    store = stores[any_alias]
    asked, other = (one.id for one in store.insert([NewJob(job_type="send")] * 2))
    dead = store.put(Worker(label="dead"))
    taken = store.claim(Claim(limit=2, worker_id=dead.id, locked_by="dead", ids=(asked, other)))
    assert get_queue(any_alias).cancel_job(asked, abort_running=True, actor="ann", reason="wrong file")
    store.commit([(expire(dead.id),)])

    Upkeep(store, settings_for(any_alias)).round(me=0, unbroken_since=0.0)

    assert [job.status for job in store.get([asked, other])] == [JobStatus.CANCELLED, JobStatus.PENDING]
    event = store.events(asked)[-1]
    assert (event.claim_seq, event.actor, event.metadata["reason"]) == (taken[0].claim_seq, "ann", "wrong file")
    assert store.cancel_requests([asked]) == []


def test_a_round_sees_to_requests_that_came_too_late(any_alias: str) -> None:
    store = stores[any_alias]
    ids = [one.id for one in store.insert([NewJob(job_type="send")] * 2)]
    worker = store.put(Worker(label="w"))
    runs = [
        Execution.of(job) for job in store.claim(Claim(limit=2, worker_id=worker.id, locked_by="w", ids=tuple(ids)))
    ]
    store.commit([ask_to_stop(run.job_id, run.claim_seq) for run in runs])
    store.commit([(release(runs[0], why="x"),), (complete(runs[1]),)])

    Upkeep(store, settings_for(any_alias)).round(me=0, unbroken_since=0.0)

    assert [job.status for job in store.get(ids)] == [JobStatus.CANCELLED, JobStatus.COMPLETED]
    assert store.find(Kind.CANCEL) == []
