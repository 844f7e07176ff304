"""Async handlers beside each other: no shared connection, bounded threads, nobody waits for another's stuck call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from threading import Event

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from dataqueue_django.domain.records import JobStatus
from dataqueue_django.worker.connections import ThreadConnections
from dataqueue_django.worker.loop import WorkerLoop
from tests.app.models import BusinessRow
from tests.faults.fleet import TRIALS
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, wait_until

pytestmark = REAL


class RollBack(Exception):
    pass


def test_a_rollback_in_one_handler_keeps_the_rows_of_another(workshop: Workshop, tally: Callable[[str], None]) -> None:
    """A holds a transaction across an await and rolls back; B writes and returns in between (T4)."""
    alias = workshop.store.database
    rows = BusinessRow._default_manager.using(alias)
    opened, written = Event(), Event()
    sqlite = connections[alias].vendor == "sqlite"

    async def rolls_back(trial: int) -> None:
        block = transaction.atomic(using=alias)
        await sync_to_async(block.__enter__)()
        # The one writer of SQLite would keep B out until A is done, so A only reads there until B has written.
        await sync_to_async(lambda: rows.count() if sqlite else rows.create(note=f"a{trial}"))()
        opened.set()
        while not written.is_set():
            await asyncio.sleep(0.001)
        error = RollBack()
        await sync_to_async(block.__exit__)(RollBack, error, None)

    async def writes(trial: int) -> None:
        while not opened.is_set():
            await asyncio.sleep(0.001)
        await rows.acreate(note=f"b{trial}")
        written.set()

    workshop.handle("rolls_back", rolls_back)
    workshop.handle("writes", writes)
    if sqlite:
        connections[alias].close()
        alias_settings = connections[alias].settings_dict["OPTIONS"]
        alias_settings["transaction_mode"] = "DEFERRED"
    try:
        with workshop.working(concurrency=4):
            for trial in range(TRIALS):
                opened.clear()
                written.clear()
                ids = [workshop.add(kind, {"trial": trial}) for kind in ("rolls_back", "writes")]
                jobs = workshop.until_ended(*ids)
                assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 2, jobs
    finally:
        if sqlite:
            del alias_settings["transaction_mode"]
    assert sorted(rows.values_list("note", flat=True)) == sorted(f"b{trial}" for trial in range(TRIALS))
    tally(f"{TRIALS} rollbacks beside a write, {TRIALS} rows kept")


def test_database_threads_are_bounded_and_end_with_the_worker(workshop: Workshop) -> None:
    alias = workshop.store.database
    most, together = 0, asyncio.Barrier(8)

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("dataqueue-orm")]

    before = len(threads())

    async def asks() -> None:
        nonlocal most
        await together.wait()
        for _ in range(3):
            await BusinessRow._default_manager.using(alias).acount()
            most = max(most, len(threads()) - before)
            await asyncio.sleep(0)

    workshop.handle("asks", asks)
    ids = [workshop.add("asks") for _ in range(80)]
    with workshop.working(concurrency=8):
        jobs = workshop.until_ended(*ids)
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert 1 <= most <= 8
    for thread in threads():
        thread.join(PATIENCE)
    assert not threads()


def test_a_stuck_database_call_holds_its_own_slot_and_nobody_else(workshop: Workshop) -> None:
    """Its handler is cut off at the deadline; the next handler must not be given the thread that is stuck."""
    stuck = Event()

    async def gets_stuck() -> None:
        await sync_to_async(lambda: (stuck.set(), workshop.let_go.wait(PATIENCE)))()

    async def asks() -> int:
        return await BusinessRow._default_manager.using(workshop.store.database).acount()

    workshop.handle("gets_stuck", gets_stuck)
    workshop.handle("asks", asks)
    with workshop.working(concurrency=2) as running:
        slow = workshop.add("gets_stuck", timeout=0.1, max_attempts=1)
        [job] = workshop.until_ended(slow)
        assert (job.status, job.failure_reason) == (JobStatus.FAILED, "timeout")
        jobs = workshop.until_ended(*[workshop.add("asks") for _ in range(10)])
        assert {job.status for job in jobs} == {JobStatus.COMPLETED}
        assert running.processor.busy
        workshop.let_go.set()
    assert stuck.is_set()
    assert workshop.job(slow) == job


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_slot_that_is_freed_late_is_filled_at_once(
    workshop: Workshop, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome may be stored before the thread has tidied up; nothing else wakes the worker then."""
    asleep, tidied, hour = Event(), Event(), 3600.0
    next_letter = WorkerLoop._next_letter

    def noticing(self: WorkerLoop, seconds: float) -> object:
        if seconds > hour / 4:
            asleep.set()
        letter = next_letter(self, seconds)
        asleep.clear()
        return letter

    def asks_in_thread() -> None:
        time.sleep(0.03)  # jobs as long as this are not claimed ahead

    async def asks_on_the_loop() -> None:
        await sync_to_async(asks_in_thread)()

    monkeypatch.setattr(WorkerLoop, "_next_letter", noticing)
    monkeypatch.setattr(ThreadConnections, "after", lambda self: tidied.wait(PATIENCE))
    monkeypatch.setattr("dataqueue_django.worker.loop.LONGEST_SLEEP", hour)
    workshop.handle("asks", asks_in_thread if kind == "sync" else asks_on_the_loop)
    first, second = workshop.add("asks"), workshop.add("asks")
    with workshop.working(concurrency=1, lease=hour, reap_every=hour, poll_interval=hour, heartbeat=hour / 2):
        workshop.until_ended(first)
        wait_until(asleep.is_set)
        assert workshop.job(second).status == JobStatus.PENDING
        tidied.set()
        workshop.until_ended(second)
