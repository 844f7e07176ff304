"""Jobs that are asked to stop while they run: handlers that hear, that do not, and that are faster."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from dataqueue_django.conf import settings_for
from dataqueue_django.domain.records import Claim, EventType, Job, JobStatus, Worker
from dataqueue_django.exceptions import GiveUp, RetryLater, Snooze
from dataqueue_django.handlers.registry import Registry, make_handler
from dataqueue_django.notify.base import SilentNotifier
from dataqueue_django.queue import JobQueue
from dataqueue_django.stores.memory import MemoryStore
from dataqueue_django.worker import cancelling
from dataqueue_django.worker.begun import BegunTable
from dataqueue_django.worker.mail import ExitCode
from dataqueue_django.worker.running import Runner
from dataqueue_django.worker.slots import Slots
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL

QUICK = 0.1


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "LOOK_DEAF", QUICK)


def stop(workshop: Workshop, job_id: int) -> None:
    """Ask a job to stop."""
    assert workshop.queue.cancel_job(job_id, abort_running=True, actor="ann", reason="wrong file", strict=True)


def is_cancelled(workshop: Workshop, job: Job) -> None:
    """Assert that a job was cancelled by who asked, after one execution."""
    event = workshop.store.events(job.id)[-1]
    assert (job.status, event.event_type) == (JobStatus.CANCELLED, EventType.CANCELLED), workshop.trace(job.id)
    assert event.actor == "ann"
    assert event.metadata["reason"] == "wrong file"
    assert workshop.store.cancel_requests([job.id]) == []
    assert job.attempts == 1


HEARS: dict[str, Callable[[Any], Any]] = {
    "raises": lambda ctx: ctx.signal.wait(30) and ctx.raise_if_aborted(),
    "fails": lambda ctx: ctx.signal.wait(30) and 1 / 0,
    "snoozes": lambda ctx: ctx.signal.wait(30) and _raise(Snooze(60)),
    "asks for a retry": lambda ctx: ctx.signal.wait(30) and _raise(RetryLater(60)),
    "waits": lambda ctx: ctx.signal.wait(30) and ctx.wait_for(60),
}


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("way", HEARS)
def test_a_handler_that_hears_has_its_job_cancelled(workshop: Workshop, way: str) -> None:
    began, reasons = Event(), []

    def handler(ctx: Any) -> None:
        began.set()
        try:
            HEARS[way](ctx)
        finally:
            reasons.append(ctx.signal.reason)

    workshop.handle("hears", handler, takes_context=True)
    job_id = workshop.add("hears")
    with workshop.working():
        assert began.wait(30)
        stop(workshop, job_id)
        is_cancelled(workshop, workshop.until_ended(job_id)[0])
    assert reasons == ["cancelled"]


@pytest.mark.parametrize(("error", "status"), [(None, JobStatus.COMPLETED), (GiveUp("no"), JobStatus.FAILED)])
def test_a_handler_that_comes_to_its_end_wins(workshop: Workshop, error: Exception | None, status: JobStatus) -> None:
    began = Event()

    def handler(ctx: Any) -> str:
        began.set()
        ctx.signal.wait(30)
        if error is not None:
            raise error
        return "done"

    workshop.handle("ends", handler, takes_context=True)
    job_id = workshop.add("ends")
    with workshop.working():
        assert began.wait(30)
        stop(workshop, job_id)
        [job] = workshop.until_ended(job_id)
        assert (job.status, job.output) == (status, "done" if error is None else None)
        wait_until(lambda: not workshop.store.cancel_requests([job_id]))  # upkeep removes what has no job to stop


def test_an_async_handler_is_cancelled(workshop: Workshop) -> None:
    began, seen = Event(), []

    async def handler() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append(threading.current_thread().name)
            raise

    workshop.handle("sleeps", handler)
    job_id = workshop.add("sleeps")
    with workshop.working():
        assert began.wait(30)
        stop(workshop, job_id)
        is_cancelled(workshop, workshop.until_ended(job_id)[0])
    assert seen == ["dataqueue-async"]


def test_a_thread_that_does_not_hear_is_left_behind(workshop: Workshop) -> None:
    began = Event()

    def deaf() -> str:
        began.set()
        workshop.let_go.wait(60)
        return "too late"

    workshop.handle("deaf", deaf)
    workshop.handle("quick", lambda: None)
    job_id = workshop.add("deaf")
    with workshop.working(concurrency=2, cancel_grace=0.5):
        assert began.wait(30)
        asked_at = time.monotonic()
        stop(workshop, job_id)
        is_cancelled(workshop, workshop.until_ended(job_id)[0])
        assert time.monotonic() - asked_at >= 0.5
        workshop.until_ended(workshop.add("quick"))  # in the other slot
        workshop.let_go.set()
    assert workshop.job(job_id).status is JobStatus.CANCELLED


def test_an_async_handler_that_swallows_the_cancellation_wins_or_is_left_behind(workshop: Workshop) -> None:
    began = Event()

    async def swallows() -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "tidied up"
        return "slept"

    async def goes_on() -> None:
        began.set()
        while not workshop.let_go.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue

    workshop.handle("swallows", swallows)
    workshop.handle("goes_on", goes_on)
    with workshop.working(cancel_grace=0.3) as running:
        for name, status in (("swallows", JobStatus.COMPLETED), ("goes_on", JobStatus.CANCELLED)):
            began.clear()
            job_id = workshop.add(name)
            assert began.wait(30)
            stop(workshop, job_id)
            assert workshop.until_ended(job_id)[0].status is status
        workshop.let_go.set()
        wait_until(lambda: not running.processor.busy)


def test_a_supervised_worker_whose_slots_are_all_held_by_the_deaf_ends(workshop: Workshop) -> None:
    workshop.handle("deaf", lambda: workshop.let_go.wait(60))
    ids, begun = [workshop.add("deaf") for _ in range(2)], BegunTable.create()
    running = workshop.start(concurrency=2, begun=begun, wedged_after=0.3, cancel_grace=0)
    for id in ids:
        workshop.until(id, lambda job: job.status is JobStatus.PROCESSING)
        stop(workshop, id)
    assert running.wait() == ExitCode.WEDGED
    assert {job.status for job in workshop.store.get(ids)} == {JobStatus.CANCELLED}
    begun.close()


def test_a_job_that_waits_for_a_slot_does_not_begin_once_it_was_asked_to_stop() -> None:
    store, ran = MemoryStore(), []
    registry = Registry()
    registry.register(make_handler(lambda: ran.append(1), job_type="t"))
    queue = JobQueue(store, settings_for("default"), registry, SilentNotifier())
    queue.add_job("t")
    worker = store.put(Worker(label="w"))
    [job] = store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"))
    letters: list[Any] = []
    runner = Runner(
        queue,
        Slots(1),
        None,
        isolated=None,  # type: ignore[arg-type]
        isolates=lambda _: False,
        must_stop=lambda: False,
        post=letters.append,
    )
    run = runner.new_run(job)
    queue.cancel_job(job.id, abort_running=True)
    watch = cancelling.Cancelling(store, {run}, queue.settings.worker, lambda: False)
    wait_until(lambda: watch.look() or run.signal.aborted)
    runner.run_in_thread(run)
    [letter] = letters
    assert store.commit([letter.item])[0].choice == 0
    assert (ran, store.get([job.id])[0].status) == ([], JobStatus.CANCELLED)


def test_a_worker_that_gives_its_jobs_back_cancels_those_that_were_asked(workshop: Workshop) -> None:
    began = Event()

    def deaf() -> None:
        began.set()
        workshop.let_go.wait(60)

    workshop.handle("deaf", deaf)
    job_id = workshop.add("deaf")
    running = workshop.start()
    assert began.wait(30)
    stop(workshop, job_id)
    running.processor.give_back()
    running.wait()
    workshop.let_go.set()
    is_cancelled(workshop, workshop.job(job_id))


def test_looking_costs_one_statement_while_something_runs_and_none_otherwise(workshop: Workshop) -> None:
    began = Event()

    def slow() -> None:
        began.set()
        workshop.let_go.wait(60)

    workshop.handle("slow", slow)
    workshop.handle("quick", lambda: None)
    asked: list[int] = []
    real = workshop.store.cancel_requests

    def counted(jobs: Any) -> Any:
        with CaptureQueriesContext(workshop.store.connection) as seen:
            answer = real(jobs)
        asked.append(len(seen))
        return answer

    workshop.store.cancel_requests = counted  # type: ignore[method-assign]
    with workshop.working():
        workshop.until_ended(*[workshop.add("quick") for _ in range(5)])
        time.sleep(3 * QUICK)
        before = len(asked)
        time.sleep(3 * QUICK)
        assert len(asked) == before, "nothing runs"
        workshop.add("slow")
        assert began.wait(30)
        wait_until(lambda: len(asked) >= before + 3)
        workshop.let_go.set()
    assert set(asked[before:]) == {1}
