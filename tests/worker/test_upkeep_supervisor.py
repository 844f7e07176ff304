"""Looking after a queue without running its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, transaction

from dataqueue_django import get_queue
from dataqueue_django.domain.duties import new_duty, take
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import Claim, JobStatus, Kind, NewJob, TokenStatus, Worker
from dataqueue_django.domain.tokens import new_token
from dataqueue_django.exceptions import ConfigurationError, JobStateError
from dataqueue_django.queue import JobQueue
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker.upkeep_supervisor import UpkeepReport
from tests.harness.duties import ended, left, make_due
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL
DUTIES = {
    "reclaim",
    "expire_tokens",
    "settle_requests",
    "clean_jobs",
    "clean_events",
    "clean_logs",
    "clean_ticks",
    "forget_workers",
    "forget_limits",
}


@pytest.fixture
def queue(store: PortableStore, alias: str) -> JobQueue:
    return get_queue(alias)


def much_to_do(store: PortableStore) -> None:
    """Leave a dead worker's job, an overdue token, and jobs that have ended long ago."""
    dead = store.put(Worker(label="dead"))
    store.insert([NewJob(job_type="send")])
    assert len(store.claim(Claim(limit=1, worker_id=dead.id, locked_by="dead"))) == 1
    store.commit([(expire(dead.id),)])
    store.put(new_token(uuid4(), timeout=0.001))
    ended(store, timedelta(days=31), count=3)
    wait_until(store.due_tokens)


def is_done(store: PortableStore) -> bool:
    pending = store.count(JobFilter(statuses=(JobStatus.PENDING,)))[()]
    tokens = {token.status for token in store.find(Kind.TOKEN)}
    return (len(left(store)), pending, tokens) == (1, 1, {TokenStatus.TIMED_OUT})


def test_one_round_does_it_all_and_says_what_it_did(queue: JobQueue, store: PortableStore) -> None:
    much_to_do(store)
    supervisor = queue.create_supervisor(supervisor_id="cron")
    assert supervisor.start() == UpkeepReport(reclaimed_jobs=1, expired_tokens=1, cleaned_up_jobs=3)
    assert is_done(store)
    rows = store.find(Kind.DUTY)
    assert {row.id for row in rows} >= DUTIES
    assert {(row.done_by, row.error) for row in rows} == {("cron", "")}
    assert supervisor.start() == UpkeepReport()


def test_a_round_does_what_is_not_due_but_not_what_somebody_else_is_doing(
    queue: JobQueue, store: PortableStore
) -> None:
    supervisor = queue.create_supervisor()
    supervisor.start()
    ended(store, timedelta(days=31), count=2)
    make_due(store, "clean_logs")
    seen = store.fetch(Kind.DUTY, "clean_logs")
    [taken] = store.commit([take(seen, 3600, "another", store.now())])
    assert taken.applied
    assert supervisor.start() == UpkeepReport(cleaned_up_jobs=2, skipped=("clean_logs",))
    assert store.fetch(Kind.DUTY, "clean_logs").done_by == "another"


def test_schedules_that_are_due_add_their_jobs(
    queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "enqueue_due_cron_jobs", lambda: 2, raising=False)
    assert queue.create_supervisor().start() == UpkeepReport(enqueued_cron_jobs=2)
    assert store.fetch(Kind.DUTY, "cron").report == {"enqueued_cron_jobs": 2}


@pytest.mark.parametrize(
    ("options", "report"),
    [
        ({"reclaim_stuck_jobs": False}, UpkeepReport(expired_tokens=1, cleaned_up_jobs=3)),
        ({"expire_timed_out_tokens": False}, UpkeepReport(reclaimed_jobs=1, cleaned_up_jobs=3)),
        ({"cleanup_jobs_days_to_keep": 0}, UpkeepReport(reclaimed_jobs=1, expired_tokens=1)),
        ({"cleanup_jobs_days_to_keep": 32}, UpkeepReport(reclaimed_jobs=1, expired_tokens=1)),
        (
            {"cleanup_jobs_days_to_keep": 32, "cleanup_events_days_to_keep": 30},
            UpkeepReport(reclaimed_jobs=1, expired_tokens=1, cleaned_up_events=3),
        ),
        (
            {"cleanup_jobs_days_to_keep": 32, "cleanup_events_days_to_keep": 0, "cleanup_batch_size": 1},
            UpkeepReport(reclaimed_jobs=1, expired_tokens=1),
        ),
    ],
)
def test_options_say_what_is_done(
    queue: JobQueue, store: PortableStore, options: dict[str, Any], report: UpkeepReport
) -> None:
    much_to_do(store)
    if options.get("cleanup_events_days_to_keep") is None:
        options = {**options, "cleanup_events_days_to_keep": 365}
    assert queue.create_supervisor(**options).start() == report


def test_lots_are_as_small_as_asked(queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = type(store).delete_ended

    def noted(self: PortableStore, *given: Any, **named: Any) -> int:
        sizes.append(original(self, *given, **named))
        return sizes[-1]

    monkeypatch.setattr(type(store), "delete_ended", noted)
    ended(store, timedelta(days=31), count=7)
    assert queue.create_supervisor(cleanup_batch_size=3).start().cleaned_up_jobs == 7
    assert max(sizes) == 3


def test_a_duty_that_fails_stops_no_other(
    queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    much_to_do(store)
    monkeypatch.setattr(type(store), "due_tokens", refusing(ValueError("no tokens today")))
    told: list[Exception] = []

    def on_error(error: Exception) -> None:
        told.append(error)
        raise RuntimeError("nor this")

    report = queue.create_supervisor(on_error=on_error).start()
    assert (report.reclaimed_jobs, report.expired_tokens, report.cleaned_up_jobs) == (1, 0, 3)
    assert {name: str(error) for name, error in report.errors.items()} == {"expire_tokens": "no tokens today"}
    assert told == [report.errors["expire_tokens"]]
    assert store.fetch(Kind.DUTY, "expire_tokens").error == "ValueError: no tokens today"


def refusing(error: Exception) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


def test_an_unreachable_store_is_an_error_of_every_duty(
    queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store), "find", refusing(OperationalError("connection refused")))
    report = queue.create_supervisor().start()
    assert set(report.errors) >= DUTIES


def test_in_the_background_until_it_is_stopped(queue: JobQueue, store: PortableStore) -> None:
    much_to_do(store)
    supervisor = queue.create_supervisor(interval=0.05)
    assert not supervisor.is_running()
    supervisor.start_in_background()
    try:
        with pytest.raises(JobStateError, match="running already"):
            supervisor.start_in_background()
        wait_until(lambda: is_done(store))
        ended(store, timedelta(days=31), count=2)
        make_due(store)
        wait_until(lambda: len(left(store)) == 1)
        assert supervisor.is_running()
    finally:
        assert supervisor.stop_and_drain()
    assert not supervisor.is_running()
    supervisor.start_in_background()
    assert supervisor.is_running()
    supervisor.stop()
    assert supervisor.stop_and_drain(timedelta(seconds=60))


def test_what_is_not_due_is_left_alone_in_the_background(queue: JobQueue, store: PortableStore) -> None:
    queue.create_supervisor(supervisor_id="first").start()
    store.put(new_duty("tick"))
    second = queue.create_supervisor(supervisor_id="second", interval=0.01)
    second.start_in_background()
    make_due(store, "clean_logs")
    wait_until(lambda: store.fetch(Kind.DUTY, "clean_logs").done_by == "second")
    assert second.stop_and_drain()
    assert store.fetch(Kind.DUTY, "forget_workers").done_by == "first"


def test_a_store_that_goes_away_is_tried_again(
    queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    much_to_do(store)
    failed = Event()
    supervisor = queue.create_supervisor(interval=0.05, on_error=lambda _: failed.set())
    with monkeypatch.context() as away:
        away.setattr(type(store), "commit", refusing(OperationalError("connection refused")))
        supervisor.start_in_background()
        assert failed.wait(60)
    try:
        wait_until(lambda: is_done(store))
    finally:
        assert supervisor.stop_and_drain()


def test_stopping_waits_for_the_duty_under_way(
    queue: JobQueue, store: PortableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_it, go_on = Event(), Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        at_it.set()
        assert go_on.wait(60)
        return []

    monkeypatch.setattr(type(store), "due_tokens", hang)
    supervisor = queue.create_supervisor()
    supervisor.start_in_background()
    assert at_it.wait(60)
    assert not supervisor.stop_and_drain(0.01)
    assert supervisor.is_running()
    go_on.set()
    assert supervisor.stop_and_drain(60)
    assert store.fetch(Kind.DUTY, "clean_logs") is None


def test_it_is_refused_inside_a_transaction(queue: JobQueue, store: PortableStore) -> None:
    with transaction.atomic(using=store.database), pytest.raises(JobStateError, match="outside of atomic"):
        queue.create_supervisor().start()


def test_verbose_tells_what_was_done(queue: JobQueue, store: PortableStore, caplog: pytest.LogCaptureFixture) -> None:
    ended(store, timedelta(days=31))
    with caplog.at_level("INFO", "dataqueue_django.worker"):
        queue.create_supervisor(verbose=True).start()
        queue.create_supervisor().start()
    assert [line for line in caplog.messages if "upkeep did" in line] == ["upkeep did {'cleaned_up_jobs': 1}"]


def test_the_twins(queue: JobQueue, store: PortableStore) -> None:
    async def work() -> UpkeepReport:
        supervisor = await queue.acreate_supervisor(interval=60)
        with pytest.raises(SynchronousOnlyOperation, match="astart"):
            supervisor.start()
        report = await supervisor.astart()
        supervisor.start_in_background()
        assert await supervisor.astop_and_drain(60)
        return report

    much_to_do(store)
    assert asyncio.run(work()) == UpkeepReport(reclaimed_jobs=1, expired_tokens=1, cleaned_up_jobs=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interval_ms": 60_000}, "create_supervisor() got the unknown option 'interval_ms'. Did you mean 'interval'?"),
        ({"interval": 0}, "interval is 0; expected 0.001 to 86400 seconds."),
        ({"stuck_jobs_timeout_minutes": 0}, "stuck_jobs_timeout_minutes is 0; expected a number from 0.001 to 525600."),
        ({"cleanup_jobs_days_to_keep": -1}, "cleanup_jobs_days_to_keep is -1; expected a number from 0 to 36500."),
        ({"cleanup_events_days_to_keep": True}, "cleanup_events_days_to_keep is True; expected a number"),
        ({"cleanup_batch_size": 1001}, "cleanup_batch_size is 1001; expected a whole number from 1 to 1000."),
        ({"reclaim_stuck_jobs": "no"}, "reclaim_stuck_jobs is 'no'; expected True or False."),
        ({"supervisor_id": ""}, "supervisor_id is ''; expected 1 to 200 printable characters."),
        ({"on_error": 1}, "on_error is 1; expected a function of one argument."),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        get_queue().create_supervisor(**options)
    assert words in str(caught.value)
