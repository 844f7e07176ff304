"""Handlers that raise the unusual: each is one failed attempt with an entry that can be kept, and the worker lives."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from dataqueue_django import RetryLater, Snooze
from dataqueue_django.domain.portable import is_plain_text
from dataqueue_django.domain.records import JobStatus, NewJob
from tests.faults.inprocess import Workshop
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL

pytestmark = REAL
ERROR_BYTES = 16 * 1024


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class SpeechIsExit(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)


class SpeechIsInterrupt(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class NotText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Masked(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("who asks?")


class BareBase(BaseException):
    pass


def circle() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def deep() -> Exception:
    try:
        deep()
    except RecursionError as error:
        return error
    raise AssertionError


UNUSUAL: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration,
    "MemoryError": MemoryError,
    "RecursionError": deep,
    "a BaseException": BareBase,
    "a group": lambda: BaseExceptionGroup("both", [SystemExit(1), ValueError("x")]),
    "a circle of causes": circle,
    "str() raises": Speechless,
    "str() raises SystemExit": SpeechIsExit,
    "str() raises KeyboardInterrupt": SpeechIsInterrupt,
    "str() is no text": NotText,
    "its class cannot be asked": Masked,
    "50 MB": lambda: ValueError("x" * 50_000_000),
    "50 MB in bytes of four": lambda: ValueError("\U0001f600" * 12_500_000),
    "NUL": lambda: ValueError("a\x00b"),
    "lone surrogates": lambda: ValueError("a\ud800b\udfff"),
    "not UTF-8 from a file name": lambda: ValueError(os.fsdecode(b"\xff\xfe")),
    "a delay that makes no sense": lambda: RetryLater("soon"),  # type: ignore[arg-type]
    "a snooze that makes no sense": lambda: Snooze(float("nan")),
}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_unusual_exception_is_one_failed_attempt(
    workshop: Workshop, kind: str, caplog: pytest.LogCaptureFixture, tally: Callable[[str], None]
) -> None:
    # The run's report would hold the huge messages, and xdist cannot send lone surrogates.
    caplog.set_level(logging.CRITICAL, "dataqueue_django.jobs")

    def plain(name: str) -> None:
        raise UNUSUAL[name]()

    async def on_the_loop(name: str) -> None:
        await asyncio.sleep(0)
        raise UNUSUAL[name]()

    workshop.handle("raise", plain if kind == "sync" else on_the_loop)
    workshop.handle("good", lambda: None)
    ids = {name: workshop.add("raise", {"name": name}, max_attempts=1) for name in UNUSUAL}
    with workshop.working(concurrency=2):
        workshop.until_ended(*ids.values())
        good = [workshop.add("good") for _ in range(4)]
        assert [job.status for job in workshop.until_ended(*good)] == [JobStatus.COMPLETED] * 4
    for name, id in ids.items():
        job = workshop.job(id)
        assert (job.status, job.attempts, job.crash_count) == (JobStatus.FAILED, 1, 0), name
        assert job.failure_reason == "handler_error", (name, job)
        [entry] = job.error_history
        assert entry["attempt"] == 1
        assert all(is_plain_text(value) for value in entry.values() if isinstance(value, str)), name
        assert sum(len(value.encode()) for value in entry.values() if isinstance(value, str)) <= ERROR_BYTES + 1024
        # One that was claimed ahead may have gone back while the huge ones were cut.
        events = [event.event_type for event in workshop.store.events(id)]
        assert [event for event in events if event not in ("processing", "released")] == ["added", "failed"]
    check_all(workshop.store)
    tally(f"{len(ids)} unusual exceptions, each one failed attempt")


def test_a_task_of_a_handler_that_exits_does_not_stop_the_event_loop(workshop: Workshop) -> None:
    """asyncio lets SystemExit and KeyboardInterrupt of any task end its loop."""

    async def spawning(error: str) -> None:
        async def rude() -> None:
            raise {"exit": SystemExit(1), "interrupt": KeyboardInterrupt()}[error]

        await asyncio.create_task(rude())

    async def good() -> str:
        await asyncio.sleep(0.01)
        return "well"

    workshop.handle("spawning", spawning)
    workshop.handle("good", good)
    with workshop.working(concurrency=2):
        rude = [workshop.add("spawning", {"error": e}, max_attempts=1) for e in ("exit", "interrupt") * 3]
        assert {job.status for job in workshop.until_ended(*rude)} == {JobStatus.FAILED}
        jobs = workshop.until_ended(*[workshop.add("good") for _ in range(5)])
        assert [job.output for job in jobs] == ["well"] * 5


@pytest.mark.parametrize("left", ["atomic", "closed inside atomic", "autocommit off", "broken transaction"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_transaction_left_open_is_rolled_back_and_the_thread_goes_on(
    workshop: Workshop, left: str, kind: str
) -> None:
    alias = workshop.store.database

    def leave_open() -> None:
        connection = connections[alias]
        if left == "autocommit off":
            connection.set_autocommit(False)
        else:
            transaction.atomic(using=alias).__enter__()
        workshop.store.insert([NewJob(job_type="good")])
        if left == "closed inside atomic":
            connection.close()
        elif left == "broken transaction":
            transaction.set_rollback(True, using=alias)

    def count() -> int:
        return workshop.store.count()[()]

    async def on_the_loop() -> None:
        await sync_to_async(leave_open)()

    async def counting_on_the_loop() -> int:
        return await sync_to_async(count)()

    workshop.handle("leave_open", leave_open if kind == "sync" else on_the_loop)
    workshop.handle("count", count if kind == "sync" else counting_on_the_loop)
    workshop.handle("good", lambda: None)
    with workshop.working(concurrency=1):
        for done in range(3):
            [job] = workshop.until_ended(workshop.add("leave_open"))
            assert job.status == JobStatus.COMPLETED, job
            [job] = workshop.until_ended(workshop.add("count"))
            assert (job.status, job.output) == (JobStatus.COMPLETED, 2 * done + 2), job
    check_all(workshop.store)
