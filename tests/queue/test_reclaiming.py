"""Taking jobs back on request: from the gone at once, from the silent once watched, from the living by force."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from dataqueue_django import EventType, FailureReason, JobStatus, get_queue
from dataqueue_django.domain.changes import After, Change, Verb
from dataqueue_django.domain.lifecycle import TABLE, Cell, Operation, State, state_of
from dataqueue_django.domain.liveness import beat, expire
from dataqueue_django.domain.records import Claim, Kind, NewJob, Worker
from dataqueue_django.domain.transitions import Execution, complete
from dataqueue_django.exceptions import InvalidFilter
from dataqueue_django.queue import JobQueue
from tests.queue.states import job_in
from tests.stores.tables import empty

LEASE_MS = 100

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])


@pytest.fixture
def queue(any_alias: str) -> Iterator[JobQueue]:
    empty(any_alias)
    yield get_queue(any_alias)
    empty(any_alias)


def held(queue: JobQueue, *, attempts: int = 3, timeout_ms: int | None = None) -> tuple[Worker, Execution]:
    """Return a worker with a lease of a tenth of a second, and the execution of the job it has."""
    worker = queue.store.put(Worker(label="w", lease_ms=LEASE_MS))
    job_id = queue.store.insert([NewJob(job_type="t", max_attempts=attempts, timeout_ms=timeout_ms)])[0].id
    [job] = queue.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w", ids=(job_id,)))
    return worker, Execution.of(job)


def long_ago(queue: JobQueue, worker: Worker, run: Execution, minutes: float = 20) -> None:
    """Let worker and job look as if all had happened that long ago by the store's clock."""
    past = After(-60 * minutes)
    queue.store.commit(
        [
            (Change(verb=Verb.OTHER, kind=Kind.WORKER, id=worker.id, set={"last_beat_at": past}),),
            (Change(verb=Verb.OTHER, id=run.job_id, set={"locked_at": past}),),
        ]
    )


def state(queue: JobQueue, run: Execution) -> State:
    return state_of(queue.get_job(run.job_id), queue.store.now())


def test_the_jobs_of_the_gone_come_back_at_once(queue: JobQueue) -> None:
    worker, run = held(queue)
    queue.store.commit([(expire(worker.id),)])
    assert queue.reclaim_stuck_jobs(10**5) == 1
    found = queue.get_job(run.job_id)
    assert found is not None
    assert (found.status, found.crash_count, found.attempts) == (JobStatus.PENDING, 1, 1)
    assert queue.get_job_events(run.job_id)[-1].event_type is EventType.RECLAIMED
    assert queue.reclaim_stuck_jobs() == 0


def test_a_job_on_its_last_attempt_fails_instead_of_waiting_for_ever(queue: JobQueue) -> None:
    worker, run = held(queue, attempts=1)
    queue.store.commit([(expire(worker.id),)])
    assert queue.reclaim_stuck_jobs() == 1
    found = queue.get_job(run.job_id)
    assert found is not None
    assert state(queue, run) is State.FAILED
    assert found.failure_reason == FailureReason.WORKER_LOST
    assert queue.get_job_events(run.job_id)[-1].event_type is EventType.FAILED
    assert queue.retry_job(run.job_id)


@pytest.mark.parametrize("given", [s for s in State if s not in (State.MISSING, State.PROCESSING)])
def test_every_other_state_is_left_alone(queue: JobQueue, given: State) -> None:
    job_id = job_in(queue, given)
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    assert TABLE[Operation.RECLAIM][given] is Cell.NOTHING
    assert queue.reclaim_stuck_jobs(0.001, force=True) == 0
    assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before


def test_a_silent_worker_is_watched_and_then_taken_for_dead(queue: JobQueue) -> None:
    worker, run = held(queue)
    long_ago(queue, worker, run)
    assert queue.reclaim_stuck_jobs(10, observe=False) == 0
    assert queue.reclaim_stuck_jobs(30) == 0
    assert queue.reclaim_stuck_jobs(10) == 1
    assert state(queue, run) is State.READY
    [late] = queue.store.commit([(complete(run),)])
    assert not late.applied


def test_a_worker_that_beats_while_it_is_watched_keeps_its_job(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody is silent in an outage; the first beat after it tells the living from the dead."""
    worker, run = held(queue)
    long_ago(queue, worker, run)
    find, looks = queue.store.find, []

    def and_beat(*args: Any, **options: Any) -> Any:
        looks.append(1)
        if len(looks) == 4:  # the first look is what it is compared with
            queue.store.commit([(beat(worker.id),)])
        return find(*args, **options)

    monkeypatch.setattr(queue.store, "find", and_beat)
    assert queue.reclaim_stuck_jobs(10) == 0
    assert state(queue, run) is State.PROCESSING


def test_inside_a_transaction_nobody_is_watched(queue: JobQueue) -> None:
    worker, run = held(queue)
    long_ago(queue, worker, run)
    with transaction.atomic(using=queue.alias):
        assert queue.reclaim_stuck_jobs(10) == 0
    assert state(queue, run) is State.PROCESSING


def test_with_autocommit_off_nobody_is_watched(queue: JobQueue) -> None:
    """The first read opens a transaction there, and what it sees may be all that this thread will ever see."""
    worker, run = held(queue)
    long_ago(queue, worker, run)
    transaction.set_autocommit(False, using=queue.alias)
    try:
        assert queue.reclaim_stuck_jobs(10) == 0
        transaction.rollback(using=queue.alias)
    finally:
        transaction.set_autocommit(True, using=queue.alias)
    assert state(queue, run) is State.PROCESSING


def test_with_autocommit_off_the_jobs_of_the_gone_come_back(queue: JobQueue) -> None:
    worker, run = held(queue)
    queue.store.commit([(expire(worker.id),)])
    transaction.set_autocommit(False, using=queue.alias)
    try:
        assert queue.reclaim_stuck_jobs(10) == 1
        transaction.commit(using=queue.alias)
    finally:
        transaction.set_autocommit(True, using=queue.alias)
    assert state(queue, run) is not State.PROCESSING


def test_a_live_workers_job_is_never_taken_unless_forced(queue: JobQueue) -> None:
    worker, run = held(queue)
    long_ago(queue, worker, run)
    queue.store.commit([(beat(worker.id),)])
    assert queue.reclaim_stuck_jobs(10) == 0
    assert queue.reclaim_stuck_jobs(30, force=True) == 0
    assert queue.reclaim_stuck_jobs(10, force=True) == 1
    found = queue.get_job(run.job_id)
    assert found is not None
    assert (found.status, found.crash_count, found.attempts) == (JobStatus.PENDING, 0, 1)
    assert "by request" in found.error_history[-1]["message"]


def test_force_waits_for_a_jobs_own_timeout(queue: JobQueue) -> None:
    worker, run = held(queue, timeout_ms=30 * 60 * 1000)
    long_ago(queue, worker, run)
    queue.store.commit([(beat(worker.id),)])
    assert queue.reclaim_stuck_jobs(10, force=True) == 0
    long_ago(queue, worker, run, minutes=40)
    queue.store.commit([(beat(worker.id),)])
    assert queue.reclaim_stuck_jobs(10, force=True) == 1


def test_force_on_the_last_attempt_fails_the_job(queue: JobQueue) -> None:
    worker, run = held(queue, attempts=1)
    long_ago(queue, worker, run)
    queue.store.commit([(beat(worker.id),)])
    assert queue.reclaim_stuck_jobs(10, force=True) == 1
    assert state(queue, run) is State.FAILED


def test_several_who_reclaim_at_once_take_each_job_once(queue: JobQueue) -> None:
    worker = queue.store.put(Worker(label="w"))
    ids = [answer.id for answer in queue.store.insert([NewJob(job_type="t") for _ in range(120)])]
    queue.store.claim(Claim(limit=120, worker_id=worker.id, locked_by="w"))
    queue.store.commit([(expire(worker.id),)])
    taken: list[int] = []

    def reclaim() -> None:
        try:
            taken.append(get_queue(queue.alias).reclaim_stuck_jobs())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=reclaim) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 3
    taken.append(queue.reclaim_stuck_jobs())
    assert sum(taken) == 120
    assert all(len(queue.get_job_events(id)) == 3 for id in ids)


@pytest.mark.parametrize("minutes", [0, -1, "10", None, True, float("nan"), timedelta(minutes=1)])
def test_minutes_that_are_none(queue: JobQueue, minutes: Any) -> None:
    with pytest.raises(InvalidFilter, match="max_processing_minutes is .*; expected a number above 0"):
        queue.reclaim_stuck_jobs(minutes)
