"""Cancelling, retrying, editing and deleting a job: one test per cell of the lifecycle table, and what it leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import override_settings

from dataqueue_django import EventType, JobStatus, get_queue
from dataqueue_django.domain.lifecycle import TABLE, Cell, Operation, State, state_of
from dataqueue_django.domain.records import Claim, Worker
from dataqueue_django.domain.steering import ask_to_stop
from dataqueue_django.domain.transitions import Execution, complete, fail, release
from dataqueue_django.exceptions import (
    InvalidEdit,
    InvalidFilter,
    InvalidJob,
    InvalidPayload,
    JobNotFound,
    JobStateError,
)
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.catching_up import catch_up_with
from tests.queue.states import BROKEN, JOB_TYPE, job_in, run_of

Operate = Callable[..., bool]

OPERATIONS: dict[Operation, Callable[[JobQueue], Operate]] = {
    Operation.CANCEL: lambda queue: queue.cancel_job,
    Operation.CANCEL_RUNNING: lambda queue: lambda id, **options: queue.cancel_job(id, abort_running=True, **options),
    Operation.RETRY: lambda queue: queue.retry_job,
    Operation.EDIT: lambda queue: lambda id, **options: queue.edit_job(id, priority=7, **options),
    Operation.DELETE: lambda queue: queue.delete_job,
    Operation.DELETE_FORCED: lambda queue: lambda id, **options: queue.delete_job(id, force=True, **options),
}
CELLS = [(operation, state) for operation in OPERATIONS for state in State]
TARGET = {Cell.TO_CANCELLED: State.CANCELLED, Cell.TO_READY: State.READY, Cell.GONE: State.MISSING}


@pytest.mark.parametrize(("operation", "state"), CELLS, ids=[f"{o.name}-{s.name}" for o, s in CELLS])
def test_each_cell(queue: JobQueue, operation: Operation, state: State) -> None:
    cell, job_id = TABLE[operation][state], job_in(queue, state)
    before, events = queue.get_job(job_id), queue.get_job_events(job_id)
    does_it = cell not in (Cell.REFUSED, Cell.NOT_FOUND)

    assert OPERATIONS[operation](queue)(job_id) is does_it

    after = queue.get_job(job_id)
    assert state_of(after, queue.store.now()) is TARGET.get(cell, state)
    if not does_it:
        assert (after, queue.get_job_events(job_id)) == (before, events)
    elif after is not None:
        assert len(queue.get_job_events(job_id)) == len(events) + 1


@pytest.mark.parametrize(("operation", "state"), CELLS, ids=[f"{o.name}-{s.name}" for o, s in CELLS])
def test_each_cell_in_strict_mode(queue: JobQueue, operation: Operation, state: State) -> None:
    cell, job_id = TABLE[operation][state], job_in(queue, state)
    operate = OPERATIONS[operation](queue)
    if cell is Cell.NOT_FOUND:
        with pytest.raises(JobNotFound, match=f"there is no job {job_id}"):
            operate(job_id, strict=True)
    elif cell is Cell.REFUSED:
        with pytest.raises(JobStateError, match=rf"job {job_id} is {state.value.replace('+', '[+]')}; expected one"):
            operate(job_id, strict=True)
    else:
        assert operate(job_id, strict=True) is True


@pytest.mark.django_db
def test_strict_can_be_the_setting_of_an_alias(settings: Any) -> None:
    given = settings.DATAQUEUE
    with override_settings(DATAQUEUE={**given, "default": {**given["default"], "STRICT": True}}):
        queue = get_queue()
        with pytest.raises(JobNotFound):
            queue.cancel_job(2**40)
        assert queue.cancel_job(2**40, strict=False) is False


# -- cancel


def test_a_cancelled_job_says_when_and_by_whom(queue: JobQueue) -> None:
    job_id = job_in(queue, State.WAITING)
    assert queue.cancel_job(job_id, actor="ann")
    found = queue.get_job(job_id)
    assert found is not None
    assert found.last_cancelled_at == found.finished_at is not None
    assert (found.ready_at, found.wait_until, found.wait_token_id) == (None, None, None)
    event = queue.get_job_events(job_id)[-1]
    assert (event.event_type, event.actor, event.created_at) == (EventType.CANCELLED, "ann", found.finished_at)


def test_a_cancelled_job_is_not_claimed(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    queue.cancel_job(job_id)
    worker = queue.store.put(Worker(label="w"))
    assert queue.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w", ids=(job_id,))) == []


def test_a_cancellation_is_undone_with_the_transaction(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    with transaction.atomic(using=queue.alias):
        queue.cancel_job(job_id)
        transaction.set_rollback(True, using=queue.alias)
    found = queue.get_job(job_id)
    assert found is not None
    assert found.status is JobStatus.PENDING
    assert [event.event_type for event in queue.get_job_events(job_id)] == [EventType.ADDED]


# -- stop


def test_a_running_job_is_asked_to_stop(queue: JobQueue) -> None:
    job_id = job_in(queue, State.PROCESSING)
    assert queue.cancel_job(job_id, abort_running=True, actor="ann", reason="wrong file")
    event = queue.get_job_events(job_id)[-1]
    assert (event.event_type, event.actor, event.metadata) == (
        EventType.CANCEL_REQUESTED,
        "ann",
        {"reason": "wrong file"},
    )
    found = queue.get_job(job_id)
    assert found is not None
    assert found.status is JobStatus.PROCESSING


def test_the_reason_of_a_cancellation_is_kept(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    assert queue.cancel_job(job_id, actor="ann", reason="wrong file")
    event = queue.get_job_events(job_id)[-1]
    assert (event.event_type, event.metadata) == (EventType.CANCELLED, {"reason": "wrong file"})


@pytest.mark.parametrize("reason", ["x" * 1001, "a\0b", 5, None, "\ud800"])
def test_a_reason_that_cannot_be_kept(queue: JobQueue, reason: Any) -> None:
    job_id = job_in(queue, State.PROCESSING)
    with pytest.raises(InvalidJob, match=r"^reason is .*; expected a string of at most 1,000 characters[.]$"):
        queue.cancel_job(job_id, abort_running=True, reason=reason)
    assert [event.event_type for event in queue.get_job_events(job_id)][-1] is EventType.PROCESSING


def test_a_request_is_undone_with_the_transaction(queue: JobQueue) -> None:
    job_id = job_in(queue, State.PROCESSING)
    with transaction.atomic(using=queue.alias):
        assert queue.cancel_job(job_id, abort_running=True)
        transaction.set_rollback(True, using=queue.alias)
    assert queue.store.cancel_requests([job_id]) == []
    assert [event.event_type for event in queue.get_job_events(job_id)][-1] is EventType.PROCESSING


def test_a_job_that_starts_while_it_is_cancelled_is_asked_to_stop(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = job_in(queue, State.READY)
    commit = queue.store.commit
    late: list[Execution] = []

    def started_just_before(items: Any, **options: Any) -> Any:
        if not late:
            late.append(run_of(queue, job_id))
        return commit(items, **options)

    monkeypatch.setattr(queue.store, "commit", started_just_before)
    assert queue.cancel_job(job_id, abort_running=True, strict=True)
    assert [one.claim_seq for one in queue.store.cancel_requests([job_id])] == [late[0].claim_seq]


def test_a_job_that_changes_hands_all_the_time_is_left(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = job_in(queue, State.READY)
    commit = queue.store.commit
    tries: list[Any] = []

    def always_late(items: Any, **options: Any) -> Any:
        tries.append(items)
        if len(tries) % 2:
            run_of(queue, job_id)
        else:
            [job] = queue.store.get([job_id])
            commit([(release(Execution.of(job), why="stopping"),)])
        return commit(items, **options)

    monkeypatch.setattr(queue.store, "commit", always_late)
    with pytest.raises(JobStateError, match="was being changed by somebody else; try again"):
        queue.cancel_job(job_id, abort_running=True, strict=True)
    assert len(tries) == 3


@pytest.mark.parametrize("way", ["release", "fail", "complete", "claim again"])
def test_what_a_request_missed_is_seen_to(queue: JobQueue, way: str) -> None:
    job_id = job_in(queue, State.READY)
    run = run_of(queue, job_id)
    queue.store.commit([ask_to_stop(job_id, run.claim_seq, actor="ann", reason="wrong file")])
    change = {"fail": fail(run, BROKEN, retry_in=60), "complete": complete(run)}.get(way, release(run, why="stopping"))
    queue.store.commit([(change,)])
    if way == "claim again":
        run_of(queue, job_id)
    assert catch_up_with(queue.store) == 1
    [job], left = queue.store.get([job_id]), queue.store.cancel_requests([job_id])
    expected = {"complete": JobStatus.COMPLETED, "claim again": JobStatus.PROCESSING}.get(way, JobStatus.CANCELLED)
    assert job.status is expected
    assert [one.claim_seq for one in left] == ([job.claim_seq] if way == "claim again" else [])
    assert catch_up_with(queue.store) == 0
    if expected is JobStatus.CANCELLED:
        event = queue.get_job_events(job_id)[-1]
        assert (event.actor, event.metadata) == ("ann", {"reason": "wrong file"})


def test_async_code_asks_the_same(queue: JobQueue) -> None:
    job_id = job_in(queue, State.PROCESSING)
    assert async_to_sync(queue.acancel_job)(job_id, abort_running=True)  # type: ignore[attr-defined]
    assert [one.id for one in queue.store.cancel_requests([job_id])] == [job_id]


# -- retry


def test_a_retry_of_an_exhausted_job_grants_one_more_attempt(queue: JobQueue) -> None:
    """Elsewhere such a job waits for ever: a claim asks for attempts that are not there."""
    job_id = job_in(queue, State.FAILED, max_attempts=1)
    assert queue.retry_job(job_id, actor="ann")
    found = queue.get_job(job_id)
    assert found is not None
    assert (found.attempts, found.max_attempts, found.retried_count) == (1, 2, 1)
    assert found.finished_at is None
    assert found.last_retried_at is not None
    again = run_of(queue, job_id)
    assert (again.attempts, again.max_attempts) == (2, 2)
    queue.store.commit([(fail(again, BROKEN, retry_in=0),)])
    assert state_of(queue.get_job(job_id), queue.store.now()) is State.FAILED


def test_a_retry_keeps_attempts_that_are_left(queue: JobQueue) -> None:
    job_id = job_in(queue, State.FAILED, max_attempts=5)
    queue.retry_job(job_id)
    found = queue.get_job(job_id)
    assert found is not None
    assert (found.attempts, found.max_attempts) == (1, 5)


def test_what_runs_is_not_started_a_second_time(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    run = run_of(queue, job_id)
    assert queue.retry_job(job_id) is False
    [done] = queue.store.commit([(complete(run),)])
    assert done.applied


def test_a_retried_job_drops_what_its_old_execution_stores(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    old = run_of(queue, job_id)
    queue.store.commit([(fail(old, BROKEN, retry_in=None),)])
    queue.retry_job(job_id)
    [late] = queue.store.commit([(complete(old),)])
    assert not late.applied


def test_a_cancelled_job_can_be_retried(queue: JobQueue) -> None:
    job_id = job_in(queue, State.CANCELLED)
    assert queue.retry_job(job_id)
    assert [e.event_type.value for e in queue.get_job_events(job_id)] == ["added", "cancelled", "retried"]


# -- edit


def test_an_edit_changes_what_is_given_and_nothing_else(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    before = queue.get_job(job_id)
    later = datetime(2035, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    updates: dict[str, Any] = {
        "payload": {"n": 2},
        "priority": -3,
        "max_attempts": 9,
        "run_at": later,
        "timeout": timedelta(seconds=1.5),
        "tags": ["a", "b", "a"],
        "retry_delay": 2,
        "retry_backoff": "linear",
        "retry_delay_max": 60,
    }
    assert queue.edit_job(job_id, actor="ann", **updates)
    found = queue.get_job(job_id)
    assert before is not None
    assert found is not None
    changed = {name for name in before.__slots__ if getattr(before, name) != getattr(found, name)}
    assert changed == {
        *("payload", "priority", "max_attempts", "run_at", "ready_at", "timeout_ms", "tags", "updated_at"),
        *("retry_delay_ms", "retry_backoff", "retry_delay_max_ms"),
    }
    assert (found.payload, found.priority, found.max_attempts, found.run_at) == ({"n": 2}, -3, 9, later)
    assert (found.timeout_ms, found.tags, found.retry_delay_ms) == (1500, ("a", "b"), 2000)
    event = queue.get_job_events(job_id)[-1]
    assert (event.event_type, event.actor, event.metadata) == (
        EventType.EDITED,
        "ann",
        {
            "fields": sorted(
                {
                    "payload",
                    "priority",
                    "max_attempts",
                    "run_at",
                    "timeout_ms",
                    "tags",
                    "retry_delay_ms",
                    "retry_backoff",
                    "retry_delay_max_ms",
                }
            )
        },
    )


def test_none_clears(queue: JobQueue) -> None:
    job_id = job_in(queue, State.DELAYED)
    queue.edit_job(job_id, timeout=5, tags=["a"], retry_delay=3)
    assert queue.edit_job(job_id, timeout=None, tags=None, retry_delay=None, run_at=None)
    found = queue.get_job(job_id)
    assert found is not None
    assert (found.timeout_ms, found.tags, found.retry_delay_ms) == (None, (), None)
    assert found.run_at == found.ready_at == found.updated_at
    assert queue.get_jobs_by_tags(["a"]) == []


@pytest.mark.parametrize("state", [State.BLOCKED, State.PAUSED])
def test_a_new_time_does_not_wake_a_job_that_may_not_run(queue: JobQueue, state: State) -> None:
    job_id = job_in(queue, state)
    assert queue.edit_job(job_id, run_at=None)
    found = queue.get_job(job_id)
    assert found is not None
    assert found.ready_at is None
    assert state_of(found, queue.store.now()) is state


def test_an_edited_job_always_has_an_attempt_left(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    queue.store.commit([(release(run_of(queue, job_id), why="stopping"),)])
    assert queue.edit_job(job_id, max_attempts=1)
    found = queue.get_job(job_id)
    assert found is not None
    assert (found.attempts, found.max_attempts) == (1, 2)


@pytest.mark.parametrize("state", State)
def test_an_edit_without_updates_does_nothing(queue: JobQueue, state: State) -> None:
    job_id = job_in(queue, state)
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    assert queue.edit_job(job_id) is False
    assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before


@pytest.mark.parametrize(
    ("updates", "error", "words"),
    [
        ({"prioritty": 1}, InvalidEdit, "'prioritty' cannot be edited. Did you mean 'priority'?"),
        ({"job_type": "x"}, InvalidEdit, "'job_type' cannot be edited; add a new job instead."),
        ({"status": "failed"}, InvalidEdit, "'status' cannot be edited; add a new job instead."),
        ({"id": 3}, InvalidEdit, "'id' cannot be edited"),
        ({"priority": None}, InvalidJob, "priority is None; expected a whole number, since it cannot be cleared."),
        ({"priority": 2**31}, InvalidJob, "priority is 2147483648; expected a whole number from"),
        ({"priority": True}, InvalidJob, "priority is True"),
        ({"max_attempts": 0}, InvalidJob, "max_attempts is 0; expected a whole number from 1 to 1000."),
        ({"run_at": datetime(2030, 1, 1)}, InvalidJob, "expected an aware datetime"),
        ({"run_at": "tomorrow"}, InvalidJob, "expected an aware datetime"),
        ({"timeout": 0}, InvalidJob, "timeout is 0; expected seconds or a timedelta"),
        ({"tags": "abc"}, InvalidJob, "tags is 'abc'; expected a list of strings"),
        ({"retry_backoff": "quadratic"}, InvalidJob, "expected one of 'exponential', 'linear', 'fixed'"),
        ({"payload": {"m": 1}}, InvalidPayload, "payload.m is not a parameter of the handler."),
        ({"payload": {}}, InvalidPayload, "payload.n is missing"),
        ({"payload": {"n": float("nan")}}, InvalidPayload, "payload.n"),
        ({"payload": {"n": {1, 2}}}, InvalidPayload, "payload.n"),
    ],
)
def test_an_edit_that_no_job_could_have(
    queue: JobQueue, updates: dict[str, Any], error: type[Exception], words: str
) -> None:
    job_id = job_in(queue, State.READY)
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    with pytest.raises(error) as caught:
        queue.edit_job(job_id, **updates)
    assert words in str(caught.value)
    assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before


def test_an_unknown_word_is_a_type_error_as_in_python(queue: JobQueue) -> None:
    with pytest.raises(TypeError):
        queue.edit_job(1, colour="red")


def test_a_job_of_an_unknown_type_can_be_edited(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY, job_type="states.nobody knows")
    assert queue.edit_job(job_id, payload=[1, 2])
    found = queue.get_job(job_id)
    assert found is not None
    assert found.payload == [1, 2]


# -- delete


def test_a_deleted_job_frees_its_key(queue: JobQueue) -> None:
    first = queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k", tags=["t"])
    assert queue.delete_job(first)
    assert queue.get_job_events(first) == []
    assert queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k") != first


# -- what all of them share


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("given", ["7", 7.0, None, True, "abc"])
def test_an_id_that_is_none(queue: JobQueue, operation: Operation, given: Any) -> None:
    with pytest.raises(InvalidFilter, match="job_id is .*; expected a whole number"):
        OPERATIONS[operation](queue)(given)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("given", [0, -1, 2**63, -(2**70)])
def test_an_id_of_no_job(queue: JobQueue, operation: Operation, given: int) -> None:
    assert OPERATIONS[operation](queue)(given) is False


@pytest.mark.parametrize("actor", ["x" * 256, 7, None, "a\0b"])
def test_an_actor_that_cannot_be_kept(queue: JobQueue, actor: Any) -> None:
    job_id = job_in(queue, State.READY)
    with pytest.raises(InvalidJob, match="actor is"):
        queue.cancel_job(job_id, actor=actor)


def test_every_change_has_its_log_line(
    queue: JobQueue, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    job_id = job_in(queue, State.READY)
    captured = django_capture_on_commit_callbacks(using=queue.alias, execute=True)
    with caplog.at_level(logging.INFO, logger="dataqueue_django.jobs"), captured:
        queue.edit_job(job_id, priority=1)
        queue.cancel_job(job_id)
        queue.cancel_job(job_id)
        queue.retry_job(job_id)
    facts = [record.dataqueue for record in caplog.records]  # type: ignore[attr-defined]
    assert [fact["event"] for fact in facts] == ["edited", "cancelled", "retried"]
    assert {fact["job_type"] for fact in facts} == {JOB_TYPE}


@pytest.mark.django_db(transaction=True)
def test_the_async_twins() -> None:
    async def live() -> list[Any]:
        queue = get_queue()
        job_id = await queue.aadd_job(JOB_TYPE, {"n": 1})
        return [
            await queue.aedit_job(job_id, priority=4),
            await queue.acancel_job(job_id),
            await queue.aretry_job(job_id),
            (await queue.aget_job(job_id)).priority,
            await queue.adelete_job(job_id),
            await queue.aget_job(job_id),
        ]

    assert async_to_sync(live)() == [True, True, True, 4, True, None]
