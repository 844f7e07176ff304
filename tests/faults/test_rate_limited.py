"""Handlers that were told that nothing more is allowed for now: their jobs come back, and the rates over them close."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from dataqueue_django import EventType, Job, JobStatus, RateLimited, Snooze, get_queue
from dataqueue_django.domain.records import JobEvent
from dataqueue_django.queue import JobQueue
from dataqueue_django.testing import run_job
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import REAL

pytestmark = REAL

HOUR = 3600.0


def limited() -> None:
    raise RateLimited(HOUR)


async def limited_on_the_loop() -> None:
    await asyncio.sleep(0)
    raise RateLimited(timedelta(hours=1))


def snoozed(queue: JobQueue, job_id: int) -> tuple[Job, JobEvent]:
    """Return a job and its event; it must have been snoozed for an hour, without an attempt."""
    [job], [event] = queue.store.get([job_id]), queue.store.events(job_id)[-1:]
    assert (job.status, job.resuming, job.error_history, event.event_type) == (
        JobStatus.PENDING,
        True,
        (),
        EventType.SNOOZED,
    )
    assert job.ready_at is not None
    assert abs((job.ready_at - event.created_at).total_seconds() - HOUR) < 1
    return job, event


def closed_for(queue: JobQueue, job_type: str, group_id: str | None = None) -> list[float]:
    """Return for how long the rates over jobs are closed yet, in seconds; 0 for those that are open."""
    now = queue.store.now()
    uses = queue.get_limit_usage("default", job_type, group_id)
    return [(use.closed_until - now).total_seconds() if use.closed_until else 0.0 for use in uses if use.permits]


@pytest.mark.parametrize("function", [limited, limited_on_the_loop])
def test_the_job_comes_back_and_the_narrowest_rate_over_it_is_closed(workshop: Workshop, function: Any) -> None:
    queue = workshop.queue
    queue.set_limit(queue="default", rate=1000, per=1)
    queue.set_limit(queue="default", per_group=True, rate=1000, per=1, burst=10)
    queue.set_limit(job_type="call", concurrency=3)
    queue.set_limit(queue="other", rate=1000, per=1)
    workshop.handle("call", function)
    job_id = workshop.add("call", group_id="acme")
    running = workshop.start(burst=True)
    assert running.wait() == 0
    _, event = snoozed(queue, job_id)
    assert event.metadata == {"delayMs": 3_600_000, "rateLimited": True}
    assert [HOUR - 60 < left <= HOUR for left in closed_for(queue, "call", "acme")] == [False, True]
    assert closed_for(queue, "call", "another") == [0.0, 0.0]
    assert queue.get_limit_usage("other", "call")[0].closed_until is None


def test_nothing_begins_under_a_closed_rate(workshop: Workshop) -> None:
    queue = workshop.queue
    queue.set_limit(job_type="call", rate=1000, per=1)
    workshop.handle("call", limited)
    ids = [workshop.add("call") for _ in range(5)]
    running = workshop.start(burst=True, concurrency=1)
    assert running.wait() == 0
    begun = [id for id in ids if any(event.event_type == "snoozed" for event in workshop.store.events(id))]
    assert begun == ids[: len(begun)]
    assert 1 <= len(begun) < 5
    found = queue.explain_job(ids[-1])
    assert found is not None
    assert found.reason == "rate_closed"


def test_without_a_rate_it_is_a_snooze(workshop: Workshop) -> None:
    workshop.handle("call", limited)
    workshop.queue.set_limit(concurrency=3)
    job_id = workshop.add("call")
    assert workshop.start(burst=True).wait() == 0
    snoozed(workshop.queue, job_id)
    assert [use.closed_until for use in workshop.queue.get_limit_usage("default", "call")] == [None]


def test_a_snooze_closes_nothing(workshop: Workshop) -> None:
    def snoozes() -> None:
        raise Snooze(HOUR)

    workshop.handle("call", snoozes)
    workshop.queue.set_limit(rate=1000, per=1)
    job_id = workshop.add("call")
    assert workshop.start(burst=True).wait() == 0
    _, event = snoozed(workshop.queue, job_id)
    assert event.metadata == {"delayMs": 3_600_000}
    assert closed_for(workshop.queue, "call") == [0.0]


def test_the_outcome_is_stored_though_the_rate_cannot_be_closed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("no rates today")

    monkeypatch.setattr(workshop.store, "close_rate", fails)
    workshop.queue.set_limit(rate=1000, per=1)
    workshop.handle("call", limited)
    job_id = workshop.add("call")
    with caplog.at_level(logging.WARNING):
        assert workshop.start(burst=True).wait() == 0
    snoozed(workshop.queue, job_id)
    assert "the rates over jobs that were rate limited (1) were not closed" in caplog.text


def test_a_connection_that_is_lost_meanwhile_is_waited_for(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    close, calls = workshop.store.close_rate, []

    def once_lost(*given: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("lost")
        close(*given, **named)

    monkeypatch.setattr(workshop.store, "close_rate", once_lost)
    monkeypatch.setattr(workshop.store, "is_lost_connection", lambda error: isinstance(error, ConnectionError))
    workshop.queue.set_limit(rate=1000, per=1)
    workshop.handle("call", limited)
    job_id = workshop.add("call")
    with workshop.working():
        workshop.until(job_id, lambda job: job.resuming)
    snoozed(workshop.queue, job_id)
    assert len(calls) == 2
    assert closed_for(workshop.queue, "call")[0] > HOUR - 60


def test_a_handler_in_a_process_of_its_own_closes_rates(alias: str) -> None:
    queue = get_queue(alias)
    queue.set_limit(queue="default", rate=1000, per=1)
    job_id = queue.add_job("harness.isolated", {"acts": [f"rate_limited:{HOUR:g}"]})
    WorkerLoop(queue, ProcessorOptions(burst=True)).run()
    _, event = snoozed(queue, job_id)
    assert event.metadata == {"delayMs": 3_600_000, "rateLimited": True}
    assert closed_for(queue, "harness.isolated")[0] > HOUR - 60


def test_run_job_closes_rates_as_a_worker_does(alias: str) -> None:
    queue = get_queue(alias)
    queue.set_limit(queue="default", rate=1000, per=1)
    job_id = queue.add_job("harness.isolated", {"acts": [f"rate_limited:{HOUR:g}"]})
    run_job(job_id, alias=alias)
    snoozed(queue, job_id)
    assert closed_for(queue, "harness.isolated")[0] > HOUR - 60
