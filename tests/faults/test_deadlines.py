"""Handlers that run past their deadline (Python cannot stop a thread)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import Event

import pytest

from dataqueue_django import JobContext
from dataqueue_django.domain.records import EventType, JobStatus
from dataqueue_django.worker.begun import BegunTable
from dataqueue_django.worker.mail import ExitCode
from tests.faults.fleet import TRIALS
from tests.faults.inprocess import Workshop
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, wait_until

pytestmark = REAL


def test_a_thread_past_its_deadline_changes_nothing_and_keeps_its_slot(
    workshop: Workshop, tally: Callable[[str], None]
) -> None:
    go, back = Event(), Event()

    def overruns(ctx: JobContext, how: str) -> str:
        ctx.set_progress(1, "before")
        assert go.wait(PATIENCE)
        assert ctx.signal.aborted
        ctx.set_progress(99, "too late")
        ctx.set_output({"too": "late"})
        back.set()
        if how == "raises":
            raise ValueError("too late")
        return "too late"

    workshop.handle("overruns", overruns, takes_context=True)
    workshop.handle("next", lambda: None)
    for trial in range(TRIALS // 2):  # on each database
        go.clear()
        back.clear()
        how = ("returns", "raises")[trial % 2]
        with workshop.working(concurrency=1, heartbeat=0.05):
            id = workshop.add("overruns", {"how": how}, timeout=0.05, retry_delay=3600, retry_backoff="fixed")
            job = workshop.until(id, lambda job: job.status == JobStatus.FAILED)
            assert (job.failure_reason, job.attempts, job.will_retry) == ("timeout", 1, True)
            events = [event.event_type for event in workshop.store.events(id)]
            assert events == [EventType.ADDED, EventType.PROCESSING, EventType.FAILED]
            before = workshop.trace(id)
            following = workshop.add("next")
            beats = workshop.live_workers()[0].beat
            wait_until(lambda: workshop.live_workers()[0].beat >= beats + 2)  # noqa: B023
            assert workshop.job(following).status == JobStatus.PENDING
            go.set()
            workshop.until_ended(following)
            assert back.is_set()
        assert workshop.trace(id) == before
    check_all(workshop.store)
    tally(f"{TRIALS // 2} overruns, 0 late writes accepted")


def test_an_async_handler_is_cancelled_at_its_deadline(workshop: Workshop) -> None:
    cancelled = []

    async def overruns(n: int) -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise

    async def good() -> None:
        pass

    workshop.handle("overruns", overruns)
    workshop.handle("good", good)
    ids = [workshop.add("overruns", {"n": n}, timeout=0.05, max_attempts=1) for n in range(TRIALS)]
    with workshop.working(concurrency=5):
        jobs = workshop.until_ended(*ids)
        workshop.until_ended(workshop.add("good"))
    assert {(job.status, job.failure_reason) for job in jobs} == {(JobStatus.FAILED, "timeout")}
    assert sorted(cancelled) == list(range(TRIALS))


def stick(workshop: Workshop, timeout: float = 0.05) -> list[int]:
    """Add two jobs that will not return before the end of the test."""
    workshop.handle("sticks", lambda: workshop.let_go.wait(PATIENCE))
    return [workshop.add("sticks", timeout=timeout, retry_delay=3600) for _ in range(2)]


def test_a_supervised_worker_whose_slots_are_all_stuck_ends(workshop: Workshop) -> None:
    ids = stick(workshop)
    begun = BegunTable.create()
    running = workshop.start(concurrency=2, begun=begun, wedged_after=0.3)
    assert running.wait() == ExitCode.WEDGED
    assert {job.failure_reason for job in workshop.store.get(ids)} == {"timeout"}
    assert not workshop.live_workers()
    begun.close()


def test_a_worker_with_one_slot_left_does_not_end(workshop: Workshop) -> None:
    begun = BegunTable.create()
    [first, _] = stick(workshop)
    workshop.handle("good", lambda: None)
    with workshop.working(concurrency=3, begun=begun, wedged_after=0.2):
        workshop.until(first, lambda job: job.status == JobStatus.FAILED)
        beats = workshop.live_workers()[0].beat
        wait_until(lambda: workshop.live_workers()[0].beat >= beats + 3)
        workshop.until_ended(workshop.add("good"))
        workshop.let_go.set()
    begun.close()


def test_an_unsupervised_worker_whose_slots_are_all_stuck_says_so_and_waits(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    stick(workshop)
    workshop.handle("good", lambda: None)
    with caplog.at_level(logging.ERROR, "dataqueue_django.worker"), workshop.working(concurrency=2, wedged_after=0.2):
        wait_until(lambda: "this worker does nothing until one returns" in caplog.text)
        good = workshop.add("good")
        workshop.let_go.set()
        assert workshop.until_ended(good)[0].status == JobStatus.COMPLETED
