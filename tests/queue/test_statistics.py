"""`get_stats` and `get_gauges`: what they read, at what cost, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test.utils import CaptureQueriesContext

from dataqueue_django.domain.folding import COUNTING, FOLDING, Folded
from dataqueue_django.domain.records import Duty, Kind, NewJob, QueueStat, Resolution
from dataqueue_django.domain.statistics import bucket_of
from dataqueue_django.exceptions import DataQueueError, InvalidFilter
from dataqueue_django.queue import JobQueue

pytestmark = pytest.mark.django_db(databases="__all__")
MINUTE = Resolution.MINUTE


def fill(queue: JobQueue) -> None:
    """Write rows of some weeks, as if they were folded up to now."""
    now = queue.store.now()
    rows = [
        QueueStat(
            resolution=resolution,
            bucket=bucket_of(now - n * length, resolution),
            queue=name,
            job_type="send",
            completed=1,
        )
        for resolution, length in (
            (MINUTE, timedelta(minutes=1)),
            (Resolution.HOUR, timedelta(hours=1)),
            (Resolution.DAY, timedelta(days=1)),
        )
        for n in range(30)
        for name in ("mail", "files")
    ]
    queue.store.write_stats(rows)
    queue.store.put(Duty(id=FOLDING, due_at=now, state=Folded(seen=now).state()))


@pytest.mark.parametrize("window", [60, timedelta(hours=1), timedelta(days=2), timedelta(days=400)])
def test_reading_takes_a_few_statements_whatever_the_window(any_alias: str, queue: JobQueue, window: Any) -> None:
    queue.store.insert([NewJob(job_type="send", queue=name) for name in ("mail", "files") for _ in range(20)])
    fill(queue)
    with CaptureQueriesContext(connections[any_alias]) as sent:
        stats = queue.get_stats(window)
    assert len(sent) <= 7
    assert stats.completed > 0
    with CaptureQueriesContext(connections[any_alias]) as sent:
        assert queue.get_stats(window, queue="mail", job_type="send").completed == stats.completed / 2
    assert len(sent) <= 7
    with CaptureQueriesContext(connections[any_alias]) as sent:
        queue.get_gauges(window)
    assert len(sent) <= 2


def test_the_window_begins_with_a_bucket(queue: JobQueue) -> None:
    for window, length in ((timedelta(hours=1), 60), (timedelta(days=2), 3600), (timedelta(days=30), 86_400)):
        stats = queue.get_stats(window)
        assert stats.since.timestamp() % length == 0
        assert timedelta() <= stats.until - stats.since - window < timedelta(seconds=length)


def test_seconds_and_timedeltas_are_the_same(queue: JobQueue) -> None:
    fill(queue)
    by_seconds, by_delta = queue.get_stats(600.0), queue.get_stats(timedelta(minutes=10))
    assert abs(by_seconds.completed - by_delta.completed) <= 2  # a minute may begin between them
    assert {point.length for point in by_seconds.series} == {timedelta(minutes=1)}


def test_an_empty_queue(queue: JobQueue) -> None:
    stats = queue.get_stats()
    assert (stats.completed, stats.throughput, stats.failure_rate, stats.wait, stats.run) == (0, 0.0, None, None, None)
    assert (stats.series, stats.oldest_ready_age, stats.as_of, stats.silent_for) == ((), None, None, None)


def test_what_is_ready_now_is_seen_at_once(queue: JobQueue) -> None:
    long_ago = queue.store.now() - timedelta(hours=2)
    queue.store.insert([NewJob(job_type="send", queue="mail", run_at=long_ago), NewJob(job_type="send")])
    age = queue.get_stats().oldest_ready_age
    assert age is not None
    assert age >= 7200
    assert queue.get_stats(queue="mail").oldest_ready_age is not None
    assert queue.get_stats(queue="mail", job_type="read").oldest_ready_age is None


def test_silence_can_be_told_from_idleness(queue: JobQueue) -> None:
    """As long as somebody looks for events statistics are up to date, though nothing is written."""
    now = queue.store.now()
    old = QueueStat(resolution=MINUTE, bucket=bucket_of(now, MINUTE), queue="q", job_type="t")
    queue.store.write_stats([old], now=now - timedelta(minutes=7))
    silent_for = queue.get_stats().silent_for
    assert silent_for is not None
    assert silent_for >= 420
    queue.store.put(Duty(id=COUNTING, due_at=now, finished_at=now))
    assert queue.get_stats().as_of == now


def test_the_twins(queue: JobQueue, any_alias: str) -> None:
    fill(queue)
    if connections[any_alias].vendor == "sqlite":
        assert async_to_sync(queue.aget_stats)(3600).completed > 0
        assert async_to_sync(queue.aget_gauges)() == []


class Second(int):
    """A number all the same."""


WRONG_WINDOWS = [
    *("1h", "", b"60", None, [], {}, b"1", True, 59, 0, -60, float("nan"), float("inf"), -float("inf")),
    *(10**400, 10**9, timedelta(seconds=59), timedelta(days=-1), timedelta.max, timedelta.min, 3600j, Decimal(3600)),
]
WRONG_NAMES = ["x" * 256, "a\0b", "\ud800", 7, b"mail", ["mail"], b"1", True, 1.5]


@pytest.mark.parametrize("window", WRONG_WINDOWS, ids=repr)
def test_windows_that_make_no_sense(queue: JobQueue, window: Any) -> None:
    for read in (queue.get_stats, queue.get_gauges):
        with pytest.raises(InvalidFilter, match="^window is .*; expected a timedelta or seconds, from 60 s to 3650"):
            read(window)


@pytest.mark.parametrize("name", WRONG_NAMES, ids=lambda name: repr(name)[:20])
def test_names_that_are_none(queue: JobQueue, name: Any) -> None:
    with pytest.raises(DataQueueError, match="^queue holds"):
        queue.get_stats(queue=name)
    with pytest.raises(DataQueueError, match="^job_type holds"):
        queue.get_stats(job_type=name)
    with pytest.raises(DataQueueError, match="^queue holds"):
        queue.get_gauges(queue=name)


def test_names_that_nobody_uses_count_nothing(queue: JobQueue) -> None:
    fill(queue)
    for name in ("nowhere", "", "MAIL", "mail ", "%", "mail' OR '1'='1", "🐘"):
        assert queue.get_stats(queue=name).completed == 0
        assert queue.get_gauges(queue=name) == []


@pytest.mark.parametrize("window", [60, 60.0, Second(3600), timedelta(days=3650), 3650 * 86_400])
def test_windows_that_make_sense(queue: JobQueue, window: Any) -> None:
    assert queue.get_stats(window).completed == 0


def test_what_stands_in_the_tables_by_other_hands(queue: JobQueue) -> None:
    """A longer histogram than there are bounds, or none where something ran: told as well as it can be."""
    minute = bucket_of(queue.store.now(), MINUTE)
    odd = {"resolution": MINUTE, "bucket": minute, "queue": "odd", "job_type": "t"}
    queue.store.write_stats(
        [
            QueueStat(**odd, writer=1, completed=1, ran=1, run_ms_sum=5, run_hist=(0,) * 40 + (1,)),
            QueueStat(**odd, writer=2, waited=1, wait_ms_sum=5),
        ]
    )
    stats = queue.get_stats(queue="odd")
    assert stats.run is not None
    assert stats.run.p99 == pytest.approx(10_628.820)
    assert stats.wait is None
    assert queue.store.fetch(Kind.DUTY, FOLDING) is None
