"""Cancelling and editing every job that matches."""

from __future__ import annotations

from typing import Any

import pytest

from dataqueue_django import EventType, JobStatus
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.lifecycle import TABLE, Cell, Operation, State, state_of
from dataqueue_django.domain.records import NewJob
from dataqueue_django.domain.steering import edit
from dataqueue_django.exceptions import InvalidEdit, InvalidFilter, InvalidPayload
from dataqueue_django.queue import JobQueue, batching
from tests.queue.states import job_in


@pytest.mark.parametrize("state", [s for s in State if s is not State.MISSING])
def test_cancelling_all_in_each_state(queue: JobQueue, state: State) -> None:
    job_id, cell = job_in(queue, state), TABLE[Operation.CANCEL_ALL][state]
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    assert queue.cancel_all_upcoming_jobs({"ids": [job_id]}, actor="ann") == (cell is Cell.TO_CANCELLED)
    if cell is Cell.NOTHING:
        assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before
        return
    found = queue.get_job(job_id)
    assert found is not None
    assert found.status is JobStatus.CANCELLED
    assert found.last_cancelled_at is not None
    assert queue.get_job_events(job_id)[-1].event_type is EventType.CANCELLED
    assert queue.get_job_events(job_id)[-1].actor == "ann"


@pytest.mark.parametrize("state", [s for s in State if s is not State.MISSING])
def test_editing_all_in_each_state(queue: JobQueue, state: State) -> None:
    job_id, cell = job_in(queue, state), TABLE[Operation.EDIT_ALL][state]
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    assert queue.edit_all_pending_jobs({"ids": [job_id]}, priority=9) == (cell is Cell.SAME)
    if cell is Cell.NOTHING:
        assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before
        return
    found = queue.get_job(job_id)
    assert found is not None
    assert found.priority == 9
    assert state_of(found, queue.store.now()) is state
    assert queue.get_job_events(job_id)[-1].event_type is EventType.EDITED


def test_many_in_batches(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LOT", 7)
    queue.store.insert([NewJob(job_type="t", tags=("x",) if n % 2 else ("y",)) for n in range(40)])
    assert queue.edit_all_pending_jobs({"tags": ["x"]}, tags=["z"], priority=3) == 20
    assert queue.count_jobs({"tags": ["z"], "priority": 3}) == 20
    assert queue.cancel_all_upcoming_jobs({"tags": {"values": ["z"], "mode": "none"}}) == 20
    assert queue.count_jobs_by("status") == {"pending": 20, "cancelled": 20}
    assert queue.cancel_all_upcoming_jobs() == 20
    assert queue.cancel_all_upcoming_jobs() == 0


def test_jobs_added_meanwhile_are_not_among_them(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LOT", 2)
    queue.store.insert([NewJob(job_type="t") for _ in range(5)])
    commit = queue.store.commit

    def and_one_more(*args: Any, **options: Any) -> Any:
        queue.store.insert([NewJob(job_type="t")])
        return commit(*args, **options)

    monkeypatch.setattr(queue.store, "commit", and_one_more)
    assert queue.cancel_all_upcoming_jobs({"job_type": "t"}) == 5


def test_a_job_that_is_edited_meanwhile_is_judged_by_what_it_is(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (a.id for a in queue.store.insert([NewJob(job_type="t", tags=("x",)) for _ in range(2)]))
    commit = queue.store.commit

    def after_an_edit(items: Any, **options: Any) -> Any:
        commit([edit(first, {"tags": ("y",)})])
        return commit(items, **options)

    monkeypatch.setattr(queue.store, "commit", after_an_edit)
    assert queue.cancel_all_upcoming_jobs({"tags": ["x"]}) == 1
    monkeypatch.undo()
    assert [job.id for job in queue.get_jobs_by_status("cancelled")] == [second]


@pytest.mark.parametrize("given", [{}, JobFilter()])
def test_an_empty_filter_has_to_be_confirmed(queue: JobQueue, given: Any) -> None:
    job_in(queue, State.READY)
    with pytest.raises(InvalidFilter, match="filters is empty, which means every job"):
        queue.cancel_all_upcoming_jobs(given)
    with pytest.raises(InvalidFilter, match="filters is empty, which means every job"):
        queue.edit_all_pending_jobs(given, priority=3)
    assert queue.edit_all_pending_jobs(given, confirm_all=True, priority=3) == 1
    assert queue.cancel_all_upcoming_jobs(given, confirm_all=True) == 1


def test_jobs_that_have_started_cannot_be_asked_for(queue: JobQueue) -> None:
    with pytest.raises(InvalidFilter, match="asks for jobs that have started"):
        queue.cancel_all_upcoming_jobs({"status": "failed"})


def test_an_edit_without_updates_does_nothing(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    assert queue.edit_all_pending_jobs() == 0
    assert [event.event_type for event in queue.get_job_events(job_id)] == [EventType.ADDED]


def test_an_edit_by_a_wrong_word(queue: JobQueue) -> None:
    with pytest.raises(InvalidEdit, match="'prioritty' cannot be edited. Did you mean 'priority'"):
        queue.edit_all_pending_jobs(prioritty=3)


def test_a_payload_is_checked_against_each_handler_it_meets(queue: JobQueue) -> None:
    mine, unknown = job_in(queue, State.READY), job_in(queue, State.READY, job_type="states.nobody knows")
    assert queue.edit_all_pending_jobs(payload={"n": 5}) == 2
    with pytest.raises(InvalidPayload, match="payload.n is missing"):
        queue.edit_all_pending_jobs(payload={})
    assert [job.payload for job in queue.get_jobs({"ids": [mine, unknown]})] == [{"n": 5}, {"n": 5}]


def test_a_new_time_for_all(queue: JobQueue) -> None:
    delayed, paused = job_in(queue, State.DELAYED), job_in(queue, State.PAUSED)
    assert queue.edit_all_pending_jobs(run_at=None) == 2
    now = queue.store.now()
    assert [state_of(queue.get_job(id), now) for id in (delayed, paused)] == [State.READY, State.PAUSED]
