"""The parts of a worker that need neither a database nor a handler."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest

from dataqueue_django import get_queue
from dataqueue_django.domain.records import ClaimedJob
from dataqueue_django.exceptions import JobAborted
from dataqueue_django.handlers.registry import make_handler
from dataqueue_django.worker.begun import SLOTS, BegunTable
from dataqueue_django.worker.context import AsyncJobContext, JobContext
from dataqueue_django.worker.pace import MOST, Pace
from dataqueue_django.worker.signal import AbortReason, AbortSignal
from dataqueue_django.worker.slots import Run, Slots
from tests.variants import SQLITE

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def async_handler() -> None: ...


def run_of(number: int, *, is_async: bool = False, **fields: Any) -> Run:
    job = ClaimedJob(
        id=number, job_type="t", queue="q", payload=None, priority=0, attempts=1, max_attempts=3, claim_seq=1,
        run_at=NOW, created_at=NOW, timeout_ms=None, retry_delay_ms=None, retry_backoff="", retry_delay_max_ms=None,
        crash_count=0, tags=(), group_id=None, locked_at=NOW, isolate=False, scheduled_for=None, context=None,
    )  # fmt: skip
    handler = make_handler(async_handler) if is_async else make_handler(lambda: None, job_type="t")
    signal = AbortSignal()
    kind = AsyncJobContext if is_async else JobContext
    return Run(job, handler, signal, kind(get_queue(SQLITE), job, signal, lambda: None), **fields)


def take(slots: Slots, *, is_async: bool = False) -> int | None:
    run = slots.take(is_async=is_async, wait=False)
    return None if run is None else run.job.id


def test_slots_hand_out_jobs_in_order_up_to_their_number() -> None:
    slots = Slots(2)
    slots.hold([run_of(n) for n in range(4)])
    assert [take(slots), take(slots), take(slots)] == [0, 1, None]
    assert (slots.held(), slots.room()) == (2, 0)
    slots.free(slots.running()[0])
    assert take(slots) == 2


def test_both_kinds_of_handler_share_the_slots() -> None:
    slots = Slots(2)
    slots.hold([run_of(1, is_async=True), run_of(2), run_of(3, is_async=True)])
    assert [take(slots, is_async=True), take(slots), take(slots, is_async=True)] == [1, 2, None]


def test_a_waiting_thread_gets_a_job_when_one_comes_and_ends_when_closed() -> None:
    slots, got = Slots(1), []
    thread = Thread(target=lambda: got.extend([slots.take(is_async=False, wait=True)]))
    thread.start()
    slots.hold([run_of(7)])
    thread.join(10)
    assert got[0].job.id == 7
    late = Thread(target=lambda: got.append(slots.take(is_async=False, wait=True)))
    late.start()
    slots.close()
    late.join(10)
    assert got[1] is None


def test_only_jobs_that_have_not_started_can_be_withdrawn() -> None:
    slots = Slots(1)
    slots.hold([run_of(1), run_of(2, held_since=5.0), run_of(3, held_since=9.0)])
    assert take(slots) == 1
    assert [run.job.id for run in slots.withdraw(held_before=7.0)] == [2]
    assert [run.job.id for run in slots.withdraw()] == [3]
    assert slots.held() == 0


def test_the_first_to_decide_wins_and_tells_before_others_can_see() -> None:
    slots, run, told = Slots(1), run_of(1), []
    assert slots.decide(run, lambda: told.append("first")) is True
    assert slots.decide(run, lambda: told.append("second")) is False
    assert told == ["first"]


def test_jobs_are_claimed_ahead_only_while_they_are_short() -> None:
    pace = Pace()
    assert pace.limit(room=3, held=0, slots=3) == 3
    for _ in range(50):
        pace.ran("quick", 0.0005)
    assert pace.limit(room=3, held=0, slots=3) == MOST
    assert pace.limit(room=0, held=MOST, slots=3) == 0
    pace.ran("slow", 0.5)
    assert pace.limit(room=3, held=0, slots=3) == 3


def test_the_batch_size_bounds_a_claim() -> None:
    assert Pace(2).limit(room=10, held=0, slots=10) == 2


def test_the_parent_sees_what_its_child_had_begun() -> None:
    parent = BegunTable.create()
    child = BegunTable(os.dup(parent.fd))
    child.belongs_to(42)
    child.begin(7, 1)
    child.begin(8, 3)
    child.end(7, 1)
    assert parent.worker_id == 42
    assert [parent.had_begun(*execution) for execution in ((7, 1), (8, 3), (8, 1))] == [False, True, False]
    child.close()
    parent.close()


def test_a_table_that_was_too_small_counts_everything_as_begun() -> None:
    table = BegunTable.create()
    for number in range(SLOTS + 1):
        table.begin(number, 1)
    assert table.had_begun(999_999, 1)
    table.close()


def test_a_signal_keeps_its_first_reason() -> None:
    signal = AbortSignal()
    signal.raise_if_aborted()
    signal.abort(AbortReason.TIMEOUT)
    signal.abort(AbortReason.SHUTDOWN)
    assert (signal.aborted, signal.reason, signal.wait(0)) == (True, AbortReason.TIMEOUT, True)
    with pytest.raises(JobAborted, match="timeout"):
        signal.raise_if_aborted()


def test_a_signal_follows_the_lease_without_being_told() -> None:
    stale = [False]
    signal = AbortSignal(lambda: stale[0])
    assert not signal.aborted
    stale[0] = True
    assert signal.reason is AbortReason.LEASE_LOST
    stale[0] = False
    assert not signal.aborted
