"""Pausing queues, job types, everything and single jobs; and which queues there are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from dataqueue_django.domain.lifecycle import TABLE, Cell, Operation, State, is_paused, state_of
from dataqueue_django.domain.records import Claim, ClaimedJob, Pause, Worker
from dataqueue_django.exceptions import InvalidControl, JobNotFound, JobStateError
from dataqueue_django.queue import JobQueue
from dataqueue_django.signals import job_paused, job_unpaused
from tests.queue.states import JOB_TYPE, job_in, run_of

OTHER_TYPE = "states.other"


def claimed(queue: JobQueue, *ids: int) -> list[int]:
    """Return the ids of the jobs that a worker gets now."""
    worker = queue.store.put(Worker(label="w", job_types=(JOB_TYPE, OTHER_TYPE)))
    jobs: list[ClaimedJob] = queue.store.claim(Claim(limit=10, worker_id=worker.id, locked_by="w", ids=ids))
    return [job.id for job in jobs]


def wakes(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an item whenever workers are woken."""
    heard: list[int] = []
    monkeypatch.setattr(queue.notifier, "publish", lambda: heard.append(1))
    return heard


SCOPES: list[tuple[str, Callable[[JobQueue], Pause], Callable[[JobQueue], bool]]] = [
    ("queue", lambda queue: queue.pause_queue("default"), lambda queue: queue.resume_queue("default")),
    ("type", lambda queue: queue.pause_job_type(JOB_TYPE), lambda queue: queue.resume_job_type(JOB_TYPE)),
    (
        "type in queue",
        lambda queue: queue.pause_job_type(JOB_TYPE, queue="default"),
        lambda queue: queue.resume_job_type(JOB_TYPE, queue="default"),
    ),
    ("everything", lambda queue: queue.pause_all(), lambda queue: queue.resume_all()),
]
scopes = pytest.mark.parametrize(("pause", "resume"), [one[1:] for one in SCOPES], ids=[one[0] for one in SCOPES])


@scopes
def test_no_worker_takes_what_is_paused_until_it_is_resumed(
    queue: JobQueue, pause: Callable[[JobQueue], Pause], resume: Callable[[JobQueue], bool]
) -> None:
    job_id = job_in(queue, State.READY)
    made = pause(queue)
    assert queue.get_pauses() == [made]
    assert claimed(queue) == []
    assert resume(queue) is True
    assert queue.get_pauses() == []
    assert claimed(queue) == [job_id]
    assert resume(queue) is False


@scopes
def test_resuming_wakes_workers_and_what_is_not_paused_does_not(
    queue: JobQueue,
    pause: Callable[[JobQueue], Pause],
    resume: Callable[[JobQueue], bool],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    heard = wakes(queue, monkeypatch)
    with django_capture_on_commit_callbacks(using=queue.alias, execute=True):
        assert resume(queue) is False
        pause(queue)
    assert heard == []
    with django_capture_on_commit_callbacks(using=queue.alias, execute=True):
        assert resume(queue) is True
    assert heard == [1]


def test_a_pause_holds_for_its_scope_alone(queue: JobQueue) -> None:
    mine = queue.add_job(JOB_TYPE, {"n": 1}, queue="mail")
    other_queue = queue.add_job(JOB_TYPE, {"n": 1})
    other_type = queue.add_job(OTHER_TYPE, queue="mail", allow_unknown=True)
    queue.pause_job_type(JOB_TYPE, queue="mail")
    assert sorted(claimed(queue)) == [other_queue, other_type]
    assert queue.is_queue_paused("mail") is False
    assert queue.resume_job_type(JOB_TYPE) is False
    assert queue.resume_queue("mail") is False
    assert queue.resume_job_type(JOB_TYPE, queue="mail") is True
    assert claimed(queue) == [mine]


def test_a_queue_is_paused_by_itself_or_with_everything(queue: JobQueue) -> None:
    assert queue.is_queue_paused("mail") is False
    queue.pause_queue("mail")
    assert (queue.is_queue_paused("mail"), queue.is_queue_paused("default")) == (True, False)
    queue.pause_all()
    assert queue.is_queue_paused("default") is True
    queue.resume_all()
    assert (queue.is_queue_paused("mail"), queue.is_queue_paused("default")) == (True, False)


def test_a_pause_says_who_why_and_until_when_and_the_last_one_counts(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    until = queue.store.now() + timedelta(hours=1)
    with caplog.at_level(logging.INFO, "dataqueue_django.queue"):
        queue.pause_queue("mail", reason="too early", actor="ann")
        last = queue.pause_queue("mail", reason="down", actor="bob", until=until)
        queue.resume_queue("mail", actor="cleo")
    assert (last.queue, last.job_type, last.reason, last.actor, last.until) == ("mail", "", "down", "bob", until)
    told = [record.getMessage() for record in caplog.records if record.name == "dataqueue_django.queue"]
    assert told == [
        "the queue 'mail' was paused by ann: too early",
        f"the queue 'mail' was paused by bob until {until.isoformat()}: down",
        "the queue 'mail' was resumed by cleo",
    ]


def test_the_last_pause_of_a_scope_replaces_the_one_before(queue: JobQueue) -> None:
    queue.pause_queue("mail", reason="one")
    two = queue.pause_queue("mail", reason="two")
    assert queue.get_pauses() == [two]


def test_a_pause_that_has_ended_is_none(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    now = queue.store.now()
    queue.store.put(Pause(id="default/", queue="default", until=now - timedelta(seconds=1)))
    assert queue.get_pauses() == []
    assert queue.is_queue_paused("default") is False
    assert queue.resume_queue("default") is False
    assert claimed(queue) == [job_id]


def test_pausing_joins_the_transaction_of_the_caller(queue: JobQueue) -> None:
    with pytest.raises(RuntimeError), transaction.atomic(using=queue.alias):
        queue.pause_queue("mail")
        queue.set_limit(queue="mail", concurrency=1)
        raise RuntimeError
    assert (queue.get_pauses(), queue.get_limits()) == ([], [])


def test_pausing_has_async_twins(queue: JobQueue) -> None:
    async_to_sync(queue.apause_queue)("mail")
    assert async_to_sync(queue.ais_queue_paused)("mail") is True
    assert async_to_sync(queue.aresume_queue)("mail") is True


NAIVE = datetime(2030, 1, 1)
WRONG: dict[str, tuple[Callable[[JobQueue], object], str]] = {
    "no queue": (lambda queue: queue.pause_queue(None), "queue is None; expected a name of 1 to 128 characters."),  # type: ignore[arg-type]
    "empty": (lambda queue: queue.pause_queue(""), "queue is ''; expected a name of 1 to 128"),
    "all": (lambda queue: queue.pause_queue("__all__"), "queue is '__all__'; expected printable"),
    "no type": (lambda queue: queue.pause_job_type(None), "job_type is None; expected a name"),  # type: ignore[arg-type]
    "queue of type": (lambda queue: queue.pause_job_type("a", queue=3), "queue is 3; expected a name"),  # type: ignore[arg-type]
    "resumed": (lambda queue: queue.resume_queue(" a"), "queue is ' a'; expected printable characters"),
    "asked": (lambda queue: queue.is_queue_paused(7), "queue is 7; expected a name"),  # type: ignore[arg-type]
    "naive": (lambda queue: queue.pause_queue("a", until=NAIVE), "expected an aware datetime"),
    "over": (
        lambda queue: queue.pause_all(until=datetime(2001, 1, 1, tzinfo=UTC)),
        "expected a time that is still to come",
    ),
    "far": (lambda queue: queue.pause_all(until=datetime(2990, 1, 1, tzinfo=UTC)), "within the next ten years"),
    "actor": (lambda queue: queue.pause_all(actor="x" * 256), "actor is 'xxx.*expected a string of at most 255"),
    "reason": (lambda queue: queue.pause_all(reason=5), "reason is 5; expected a string"),  # type: ignore[arg-type]
    "who resumes": (lambda queue: queue.resume_all(actor=None), "actor is None; expected a string"),  # type: ignore[arg-type]
    "job until": (
        lambda queue: queue.pause_job(1, until=datetime(2001, 1, 1, tzinfo=UTC)),
        "until is .*; expected a time that is still to come",
    ),
    "job reason": (lambda queue: queue.pause_job(1, reason="\x00"), "reason is .*expected a string"),
    "job actor": (lambda queue: queue.resume_job(1, actor=1), "actor is 1; expected a string"),  # type: ignore[arg-type]
    "declared": (lambda queue: queue.declare_queue("a b\n"), "queue is 'a b.*expected printable"),
    "described": (lambda queue: queue.declare_queue("a", description=1), "description is 1; expected a string"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("act", "message"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_sentence_and_changes_nothing(
    queue: JobQueue, act: Callable[[JobQueue], object], message: str
) -> None:
    with pytest.raises(InvalidControl, match=message):
        act(queue)
    assert (queue.get_pauses(), queue.get_queues()) == ([], [])


# -- one job

OPERATIONS: dict[Operation, Callable[[JobQueue], Callable[..., bool]]] = {
    Operation.PAUSE: lambda queue: queue.pause_job,
    Operation.RESUME: lambda queue: queue.resume_job,
}
CELLS = [(operation, state) for operation in OPERATIONS for state in State]
TARGET = {Cell.TO_PAUSED: State.PAUSED, Cell.UNPAUSED: State.READY}


@pytest.mark.parametrize(("operation", "state"), CELLS, ids=[f"{o.name}-{s.name}" for o, s in CELLS])
def test_each_cell(queue: JobQueue, operation: Operation, state: State) -> None:
    cell, job_id = TABLE[operation][state], job_in(queue, state)
    before, events = queue.get_job(job_id), queue.get_job_events(job_id)
    expected = cell not in (Cell.REFUSED, Cell.NOT_FOUND)
    assert OPERATIONS[operation](queue)(job_id) is expected
    after = queue.get_job(job_id)
    assert state_of(after, queue.store.now()) is TARGET.get(cell, state)
    if cell in (Cell.REFUSED, Cell.NOT_FOUND, Cell.NOTHING) or (cell is Cell.SAME and operation is Operation.RESUME):
        assert (after, queue.get_job_events(job_id)) == (before, events)
    else:
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


@pytest.mark.parametrize("state", [State.READY, State.DELAYED, State.BLOCKED, State.WAITING, State.RETRYING])
def test_pausing_and_resuming_leaves_a_job_as_it_was(queue: JobQueue, state: State) -> None:
    job_id = job_in(queue, state)
    before = queue.get_job(job_id)
    assert queue.pause_job(job_id, reason="why", actor="ann") is True
    paused, events = queue.get_job(job_id), queue.get_job_events(job_id)
    assert is_paused(paused, queue.store.now())
    assert (paused.paused_by, paused.pause_reason, paused.paused_until) == ("ann", "why", None)
    assert (events[-1].event_type, events[-1].actor, events[-1].metadata) == ("paused", "ann", {"reason": "why"})
    assert claimed(queue, job_id) == []

    assert queue.pause_job(job_id, reason="another", actor="bob") is True
    assert (queue.get_job(job_id), queue.get_job_events(job_id)) == (paused, events)

    assert queue.resume_job(job_id, actor="cleo") is True
    after = queue.get_job(job_id)
    assert (state_of(after, queue.store.now()), after.ready_at) == (state, before.ready_at)
    assert after.paused_at is None
    assert queue.get_job_events(job_id)[-1].actor == "cleo"
    assert queue.resume_job(job_id) is True
    assert queue.get_job(job_id) == after


def test_a_pause_of_a_job_may_end_by_itself(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    until = queue.store.now() + timedelta(hours=1)
    assert queue.pause_job(job_id, until=until) is True
    found = queue.get_job(job_id)
    assert (found.paused_until, found.ready_at) == (until, until)
    assert claimed(queue, job_id) == []
    worker = queue.store.put(Worker(label="w", job_types=(JOB_TYPE,)))
    later = Claim(limit=1, worker_id=worker.id, locked_by="w")
    [job] = queue.store.claim(later, now=until + timedelta(seconds=1))
    assert job.id == job_id


def test_a_running_job_is_told_of_in_strict_mode(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    run_of(queue, job_id)
    with pytest.raises(
        JobStateError, match=rf"pause_job did nothing: job {job_id} is processing; expected one that is"
    ):
        queue.pause_job(job_id, strict=True)


def test_pausing_a_job_is_announced_and_resuming_wakes_workers(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    heard, told = wakes(queue, monkeypatch), []

    def receive(*, job_id: int, event_type: str, **_: Any) -> None:
        told.append((job_id, event_type))

    job_paused.connect(receive)
    job_unpaused.connect(receive)
    try:
        job_id = job_in(queue, State.READY)
        with django_capture_on_commit_callbacks(using=queue.alias, execute=True):
            queue.pause_job(job_id)
            queue.pause_job(job_id)
            assert heard == []
            queue.resume_job(job_id)
            queue.resume_job(job_id)
    finally:
        job_paused.disconnect(receive)
        job_unpaused.disconnect(receive)
    assert told == [(job_id, "paused"), (job_id, "unpaused")]
    assert heard == [1]


# -- queues


def test_the_queues_that_are_known(queue: JobQueue) -> None:
    assert queue.get_queues() == []
    declared = queue.declare_queue("reports", description="Slow ones.")
    assert (declared.id, declared.description, declared.created_at is not None) == ("reports", "Slow ones.", True)
    for _ in range(3):
        queue.add_job(JOB_TYPE, {"n": 1}, queue="mail")
    run_of(queue, queue.add_job(JOB_TYPE, {"n": 1}, queue="mail"))
    pause = queue.pause_queue("sms", reason="down")
    limit = queue.set_limit(queue="print", concurrency=1)
    queue.set_limit(job_type=JOB_TYPE, concurrency=9)
    queue.pause_job_type(JOB_TYPE)

    found = {info.name: info for info in queue.get_queues()}
    assert list(found) == ["mail", "print", "reports", "sms"]
    assert (found["mail"].ready, found["mail"].running, found["mail"].declared) == (3, 1, False)
    assert found["print"].limits == (limit,)
    assert (found["reports"].description, found["reports"].declared) == ("Slow ones.", True)
    assert (found["sms"].pause, found["mail"].pause) == (pause, None)


def test_declaring_a_queue_again_changes_its_description(queue: JobQueue) -> None:
    queue.declare_queue("reports", description="Slow.")
    queue.declare_queue("reports")
    [info] = queue.get_queues()
    assert (info.name, info.description, info.declared) == ("reports", "", True)


def test_what_pauses_everything_pauses_each_queue(queue: JobQueue) -> None:
    queue.declare_queue("reports")
    pause = queue.pause_all()
    assert [info.pause for info in queue.get_queues()] == [pause]
