"""Deleting what is old."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataqueue_django import job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.lifecycle import TABLE, Cell, Operation, State
from dataqueue_django.domain.records import JobLog
from dataqueue_django.domain.retention import DAY
from dataqueue_django.exceptions import ConfigurationError, InvalidFilter
from dataqueue_django.handlers.registry import Registry, make_handler
from dataqueue_django.queue import JobQueue
from tests.queue.states import job_in

EVERY_END = ("completed", "failed", "cancelled")


def every_way(queue: JobQueue) -> tuple[Any, ...]:
    return (
        queue.cleanup_old_jobs,
        queue.cleanup_old_job_events,
        queue.cleanup_old_job_logs,
        queue.cleanup_old_cron_ticks,
    )


@pytest.fixture
def in_forty_days(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store's clock say that forty days have gone by."""
    now = queue.store.now
    monkeypatch.setattr(queue.store, "now", lambda: now() + timedelta(days=40))


@pytest.mark.usefixtures("in_forty_days")
@pytest.mark.parametrize("state", [s for s in State if s is not State.MISSING])
def test_each_state(queue: JobQueue, state: State) -> None:
    job_id, cell = job_in(queue, state), TABLE[Operation.CLEANUP][state]
    assert queue.cleanup_old_jobs(50, statuses=EVERY_END) == 0
    assert queue.cleanup_old_jobs() == (cell is Cell.GONE)
    assert queue.cleanup_old_jobs(statuses=EVERY_END) == (cell is Cell.GONE_IF_CONFIGURED)
    gone = cell in (Cell.GONE, Cell.GONE_IF_CONFIGURED)
    assert (queue.get_job(job_id) is None) == gone
    assert (queue.get_job_events(job_id) == []) == gone


@pytest.mark.usefixtures("in_forty_days")
def test_in_batches(queue: JobQueue) -> None:
    for _ in range(7):
        job_in(queue, State.COMPLETED)
    seen: list[int] = []
    assert queue.cleanup_old_jobs(batch_size=3, on_batch=seen.append) == 7
    assert seen == [3, 3, 1]


@pytest.mark.usefixtures("in_forty_days")
def test_a_batch_out_of_which_a_job_was_retried_is_not_the_last(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    retried, *others = [job_in(queue, State.FAILED) for _ in range(7)]
    delete = queue.store.delete_ended

    def meanwhile(*given: Any, limit: int, **rest: Any) -> int:
        return delete(*given, limit=limit - queue.retry_job(retried), **rest)

    monkeypatch.setattr(queue.store, "delete_ended", meanwhile)
    assert queue.cleanup_old_jobs(statuses=["failed"], batch_size=3) == 6
    assert [queue.get_job(job_id) for job_id in others] == [None] * 6


@pytest.mark.usefixtures("in_forty_days")
@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED, State.RETRYING, State.PROCESSING])
def test_events_go_only_where_the_job_has_ended(queue: JobQueue, state: State) -> None:
    job_id = job_in(queue, state)
    events, seen = queue.get_job_events(job_id), []
    over = state not in (State.RETRYING, State.PROCESSING)
    assert queue.cleanup_old_job_events(50) == 0
    assert queue.cleanup_old_job_events(batch_size=2, on_batch=seen.append) == (len(events) if over else 0)
    assert sum(seen) == (len(events) if over else 0)
    assert queue.get_job_events(job_id) == ([] if over else events)
    assert queue.get_job(job_id) is not None


@pytest.mark.usefixtures("in_forty_days")
def test_lines_of_log_go_only_where_the_job_has_ended(queue: JobQueue) -> None:
    ids = [job_in(queue, state) for state in (State.COMPLETED, State.RETRYING)]
    for job_id in ids:
        line = JobLog(job_id=job_id, created_at=datetime.now(UTC), level="info", message="x")
        queue.store.commit([(Change(verb=Verb.RECORD, id=job_id, put=(line,)),)])
    assert queue.cleanup_old_job_logs(50) == 0
    assert queue.cleanup_old_job_logs() == 1
    assert [len(queue.get_job_logs(job_id)) for job_id in ids] == [0, 1]


@pytest.mark.usefixtures("in_forty_days")
@pytest.mark.parametrize(("kept", "days", "gone"), [(45, 30, 0), (5, 50, 1), (math.inf, 0.1, 0), (39, 41, 1)])
@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED])
def test_a_time_of_its_own_outranks_the_days(
    queue: JobQueue, handling: Any, kept: float, days: float, gone: int, state: State
) -> None:
    job_id = job_in(queue, state)
    handling(queue.get_job(job_id).job_type, keep_for=kept * DAY)  # type: ignore[union-attr]
    assert queue.cleanup_old_jobs(days, statuses=["completed", "cancelled"]) == gone


@pytest.mark.usefixtures("in_forty_days")
def test_failed_jobs_have_a_time_of_their_own(queue: JobQueue, handling: Any) -> None:
    job_id = job_in(queue, State.FAILED)
    handling(queue.get_job(job_id).job_type, keep_for=0)  # type: ignore[union-attr]
    assert queue.cleanup_old_jobs(50, statuses=["failed"]) == 0
    handling(queue.get_job(job_id).job_type, keep_failed_for=timedelta(days=39))  # type: ignore[union-attr]
    assert queue.cleanup_old_jobs(50, statuses=["completed"]) == 0
    assert queue.cleanup_old_jobs(50, statuses=["failed"]) == 1


@pytest.mark.parametrize("given", [-1, "30", True, float("nan"), 36_501 * DAY, timedelta(days=-1)])
@pytest.mark.parametrize("option", ["keep_for", "keep_failed_for"])
def test_times_that_are_none(option: str, given: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"@job got {option}=.*; expected seconds or a timedelta, or math.inf"):
        job("tidy", **{option: given})(lambda: None)


@pytest.fixture
def handling(monkeypatch: pytest.MonkeyPatch, queue: JobQueue) -> Any:
    """Register a handler of a job type, for the time of a test."""
    monkeypatch.setattr(queue, "handlers", Registry())

    def handle(job_type: str, **policy: Any) -> None:
        queue.handlers.remove(job_type)
        queue.handlers.register(make_handler(lambda: None, job_type=job_type, **policy))

    return handle


def test_everything_has_to_be_confirmed(queue: JobQueue) -> None:
    job_in(queue, State.COMPLETED)
    for clean_up in every_way(queue):
        with pytest.raises(InvalidFilter, match="days_to_keep is 0, which deletes all that has ended"):
            clean_up(0)
    assert queue.cleanup_old_jobs(0, confirm_all=True) == 1


@pytest.mark.parametrize("days", [-1, "30", None, True, float("nan"), float("inf"), 10**9])
def test_days_that_are_none(queue: JobQueue, days: Any) -> None:
    for clean_up in every_way(queue):
        with pytest.raises(InvalidFilter, match="days_to_keep is .*; expected a number from 0 up to 36500"):
            clean_up(days)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"statuses": ["pending"]}, "expected some of cancelled, completed, failed, since other jobs go on"),
        ({"statuses": []}, "expected some of cancelled, completed, failed"),
        ({"statuses": ["complete"]}, "Did you mean 'completed'?"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number from 1 to 1000."),
        ({"batch_size": 1001}, "batch_size is 1001"),
    ],
)
def test_other_bad_input(queue: JobQueue, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        queue.cleanup_old_jobs(**options)
    assert words in str(caught.value)
