"""`queue.create_processor()`: batches, background work and its end, inside the test's own process."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connections, transaction

from dataqueue_django import JobContext, JobStatus, get_queue, job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.records import Job, Kind
from dataqueue_django.exceptions import ConfigurationError, JobStateError
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.processor import Processor
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until
from tests.variants import POOLED, declared

pytestmark = REAL


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Handlers that are to be stuck wait for it; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()
    wait_until(lambda: not threads())


@pytest.fixture
def processors(queue: JobQueue) -> Iterator[Callable[..., Processor]]:
    """Makes processors that look often, and stops them."""
    made: list[Processor] = []

    def make(**options: Any) -> Processor:
        made.append(queue.create_processor(poll_interval=0.02, **options))
        return made[-1]

    yield make
    for processor in made:
        processor.stop_and_drain(0)


def threads() -> list[str]:
    """The names of the threads that this package has running."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dataqueue")]


def sessions(queue: JobQueue) -> int:
    """How many connections the server has beside this one; SQLite has no server to ask."""
    connection = connections[queue.alias]
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def stored(queue: JobQueue, job_id: int) -> Job:
    return queue.store.get([job_id])[0]


def statuses(queue: JobQueue, ids: list[int]) -> list[str]:
    return [found.status.value for found in queue.store.get(ids)]


# -- one batch


def test_a_batch_is_claimed_once_and_run_to_its_end(queue: JobQueue) -> None:
    @job("processing.chain")
    def chain() -> None:
        queue.add_job("processing.chain", {})

    ids = queue.add_jobs({"job_type": "processing.chain", "payload": {}} for _ in range(12))
    processor = queue.create_processor()
    assert processor.start() == 10
    assert statuses(queue, ids) == ["completed"] * 10 + ["pending"] * 2
    assert processor.start() == 10, "a processor can be started again"
    assert not processor.is_running()


def test_a_batch_outlasts_the_time_after_which_held_jobs_are_given_back(queue: JobQueue, settings: Any) -> None:
    settings.DATAQUEUE = declared(queue.alias, HOLD=0.05)

    @job("processing.slow")
    def slow() -> None:
        time.sleep(0.1)

    queue = get_queue(queue.alias)
    ids = queue.add_jobs({"job_type": "processing.slow", "payload": {}} for _ in range(4))
    assert queue.create_processor(concurrency=1, batch_size=4).start() == 4
    assert {(found.status, found.claim_seq) for found in queue.store.get(ids)} == {(JobStatus.COMPLETED, 2)}


def test_nothing_ready_is_a_batch_of_none(queue: JobQueue) -> None:
    assert queue.create_processor().start() == 0


def test_a_batch_runs_in_as_many_slots_as_asked_for(queue: JobQueue) -> None:
    together = threading.Barrier(3, timeout=20)

    @job("processing.meet")
    def meet() -> None:
        together.wait()

    ids = queue.add_jobs({"job_type": "processing.meet", "payload": {}} for _ in range(6))
    assert queue.create_processor(concurrency=3).start() == 6
    assert statuses(queue, ids) == ["completed"] * 6


def test_failures_are_part_of_a_batch_and_not_raised(queue: JobQueue) -> None:
    seen: list[Exception] = []

    @job("processing.fails", max_attempts=1)
    def fails() -> None:
        raise ValueError("no")

    job_id = queue.add_job("processing.fails", {})
    assert queue.create_processor(on_error=seen.append).start() == 1
    assert (stored(queue, job_id).status, seen) == (JobStatus.FAILED, [])


def test_a_job_that_must_run_alone_is_a_batch_by_itself(queue: JobQueue) -> None:
    @job("processing.plain")
    def plain() -> None: ...

    suspect = queue.add_job("processing.plain", {}, priority=10)
    queue.store.commit([(Change(verb=Verb.OTHER, id=suspect, set={"crash_count": 1}),)])
    queue.add_job("processing.plain", {})
    processor = queue.create_processor()
    assert [processor.start(), processor.start(), processor.start()] == [1, 1, 0]
    assert stored(queue, suspect).status is JobStatus.COMPLETED


def test_only_the_chosen_queues_and_types_are_taken(queue: JobQueue) -> None:
    @job("processing.a")
    def a() -> None: ...

    @job("processing.b")
    def b() -> None: ...

    ids = queue.add_jobs(
        {"job_type": f"processing.{kind}", "payload": {}, "queue": name} for kind in "ab" for name in ("mail", "slow")
    )
    assert queue.create_processor(queues="mail", job_types=["processing.a"]).start() == 1
    assert statuses(queue, ids) == ["completed", "pending", "pending", "pending"]
    assert queue.create_processor(exclude_queues=["mail"]).start() == 2


def test_groups_may_be_left_out_or_kept_to_a_few_jobs_at_once(queue: JobQueue) -> None:
    running: list[str] = []
    most: list[int] = []

    @job("processing.grouped")
    def grouped(group: str) -> None:
        running.append(group)
        most.append(max(running.count(one) for one in ("a", "b")))
        time.sleep(0.05)
        running.remove(group)

    for group in ("a", "b", "c"):
        for _ in range(3):
            queue.add_job("processing.grouped", {"group": group}, group_id=group)
    processor = queue.create_processor(concurrency=6, exclude_groups="c", group_concurrency=1, poll_interval=0.02)
    processor.start_in_background()
    wait_until(lambda: len(most) == 6)
    assert processor.stop_and_drain()
    assert max(most) == 1
    assert queue.get_group_counts("c").waiting == 3


def test_a_batch_leaves_nothing_behind(queue: JobQueue) -> None:
    """No row, no thread, no connection; the process' signals, its logging and the caller's session are untouched."""

    @job("processing.asks")
    def asks() -> int:
        return queue.store.count()[()]

    @job("processing.asks_async")
    async def asks_async() -> Any:
        return (await queue.aget_job(1)) is None

    queue.add_jobs({"job_type": name, "payload": {}} for name in ("processing.asks", "processing.asks_async") * 3)
    connections[queue.alias].ensure_connection()
    mine = connections[queue.alias].connection
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    logged = [(name, list(logging.getLogger(name).handlers)) for name in ("", "dataqueue_django")]
    before = sessions(queue)
    assert queue.create_processor().start() == 6
    wait_until(lambda: not threads())
    wait_until(lambda: sessions(queue) <= before + POOLED)
    assert queue.store.find(Kind.WORKER) == []
    assert connections[queue.alias].connection is mine
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert logged == [(name, list(logging.getLogger(name).handlers)) for name in ("", "dataqueue_django")]


def test_a_batch_has_a_worker_row_and_a_heartbeat_while_it_runs(queue: JobQueue, settings: Any) -> None:
    settings.DATAQUEUE = declared(queue.alias, HEARTBEAT=0.05, LEASE=30)
    queue = get_queue(queue.alias)
    beats: list[tuple[str, int]] = []

    @job("processing.looks")
    def looks() -> None:
        def beating() -> bool:
            beats.extend((worker.label, worker.beat) for worker in queue.store.find(Kind.WORKER))
            return len({beat for _, beat in beats}) > 2

        wait_until(beating)

    queue.add_job("processing.looks", {})
    assert queue.create_processor(worker_id="cron é").start() == 1
    assert {label for label, _ in beats} == {"cron é"}


def test_a_batch_is_refused_inside_a_transaction(queue: JobQueue) -> None:
    @job("processing.any")
    def anything() -> None: ...

    job_id = queue.add_job("processing.any", {})
    with transaction.atomic(using=queue.alias), pytest.raises(JobStateError, match="outside of atomic"):
        queue.create_processor().start()
    assert stored(queue, job_id).attempts == 0


def test_a_store_that_cannot_be_used_is_an_error_of_the_batch(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Exception] = []

    def unreachable(*_: Any, **__: Any) -> Any:
        raise OperationalError("the server is gone")

    monkeypatch.setattr(queue.store, "exchange", unreachable)
    processor = queue.create_processor(on_error=seen.append)
    with pytest.raises(OperationalError, match="the server is gone"):
        processor.start()
    assert [str(error) for error in seen] == ["the server is gone"]
    assert not processor.is_running()
    assert queue.store.find(Kind.WORKER) == []


def test_a_claim_whose_answer_was_lost_is_given_back(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    @job("processing.any")
    def anything() -> None: ...

    job_id = queue.add_job("processing.any", {})
    exchange = queue.store.exchange

    def lost(*given: Any, **rest: Any) -> Any:
        exchange(*given, **rest)
        raise OperationalError("the answer never came")

    monkeypatch.setattr(queue.store, "exchange", lost)
    with pytest.raises(OperationalError, match="the answer never came"):
        queue.create_processor().start()
    found = stored(queue, job_id)
    assert (found.status, found.resuming, found.crash_count) == (JobStatus.PENDING, True, 0)


def test_an_interrupted_batch_is_given_back(queue: JobQueue, let_go: threading.Event) -> None:
    """Ctrl+C in a script."""

    @job("processing.stuck")
    def stuck() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        let_go.wait(30)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        job_id = queue.add_job("processing.stuck", {})
        with pytest.raises(KeyboardInterrupt):
            queue.create_processor().start()
    finally:
        signal.signal(signal.SIGUSR1, before)
    found = stored(queue, job_id)
    assert (found.status, found.resuming) == (JobStatus.PENDING, True)


# -- in the background


def test_background_work_goes_on_until_it_is_drained(queue: JobQueue, processors: Callable[..., Processor]) -> None:
    @job("processing.any")
    def anything() -> None: ...

    processor = processors()
    assert not processor.is_running()
    for _ in range(2):
        processor.start_in_background()
        assert processor.is_running()
        job_id = queue.add_job("processing.any", {})
        wait_until(lambda id=job_id: stored(queue, id).status is JobStatus.COMPLETED)
        assert processor.stop_and_drain() is True
        assert not processor.is_running()
        assert threads() == []
    assert processor.stop_and_drain() is True, "draining what does not run is no error"


def test_starting_twice_is_an_error(processors: Callable[..., Processor]) -> None:
    processor = processors()
    processor.start_in_background()
    for start in (processor.start_in_background, processor.start):
        with pytest.raises(JobStateError, match="running already"):
            start()


def test_two_processors_with_one_name_have_leases_of_their_own(
    queue: JobQueue, processors: Callable[..., Processor]
) -> None:
    for _ in range(2):
        processors(worker_id="same").start_in_background()
    rows = wait_until(lambda: len(found := queue.store.find(Kind.WORKER, label="same")) == 2 and found)
    assert len({row.id for row in rows}) == 2


def test_stopping_does_not_wait(queue: JobQueue, processors: Callable[..., Processor], let_go: threading.Event) -> None:
    begun = threading.Event()

    @job("processing.long")
    def long() -> str:
        begun.set()
        let_go.wait(30)
        return "done"

    processor = processors(concurrency=1)
    first = queue.add_job("processing.long", {})
    processor.start_in_background()
    assert begun.wait(20)
    processor.stop()
    wait_until(lambda: queue.store.find(Kind.WORKER)[0].stopping_at is not None)
    second = queue.add_job("processing.long", {})
    assert processor.is_running()
    with pytest.raises(JobStateError, match="running already"):
        processor.start_in_background()
    let_go.set()
    assert processor.stop_and_drain() is True
    assert [stored(queue, id).status for id in (first, second)] == [JobStatus.COMPLETED, JobStatus.PENDING]


@pytest.mark.parametrize("timeout", [0.2, timedelta(milliseconds=200), 0])
def test_what_outlasts_the_drain_is_given_back_uncharged(
    queue: JobQueue, processors: Callable[..., Processor], let_go: threading.Event, timeout: Any
) -> None:
    begun, aborted = threading.Event(), threading.Event()

    @job("processing.deaf", takes_context=True)
    def deaf(ctx: JobContext) -> str:
        begun.set()
        if ctx.signal.wait(20):
            aborted.set()
        let_go.wait(30)
        return "too late"

    processor = processors()
    job_id = queue.add_job("processing.deaf", {})
    processor.start_in_background()
    assert begun.wait(20)
    assert processor.stop_and_drain(timeout) is False
    assert not processor.is_running()
    found = stored(queue, job_id)
    assert (found.status, found.resuming, found.crash_count) == (JobStatus.PENDING, True, 0)
    assert aborted.wait(20)
    let_go.set()
    wait_until(lambda: not threads())
    assert stored(queue, job_id).output is None


def test_a_longer_drain_than_the_alias_has_is_waited_for(
    queue: JobQueue, settings: Any, let_go: threading.Event
) -> None:
    settings.DATAQUEUE = declared(queue.alias, DRAIN=0)
    queue = get_queue(queue.alias)

    begun = threading.Event()

    @job("processing.long")
    def long() -> None:
        begun.set()
        let_go.wait(30)

    job_id = queue.add_job("processing.long", {})
    processor = queue.create_processor(poll_interval=0.02)
    processor.start_in_background()
    assert begun.wait(20)  # one that is claimed and has not begun is given back
    threading.Timer(0.3, let_go.set).start()
    assert processor.stop_and_drain(60) is True
    assert stored(queue, job_id).status is JobStatus.COMPLETED


def test_an_outage_is_reported_and_outlived(
    queue: JobQueue, processors: Callable[..., Processor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow or broken `on_error` hurts nobody."""
    seen: list[str] = []
    exchange, broken = queue.store.exchange, threading.Event()
    broken.set()

    def flaky(*given: Any, **rest: Any) -> Any:
        if broken.is_set():
            raise OperationalError("the server is gone")
        return exchange(*given, **rest)

    def on_error(error: Exception) -> None:
        seen.append(str(error))
        raise RuntimeError("the monitor is gone as well")

    @job("processing.any")
    def anything() -> None: ...

    monkeypatch.setattr(queue.store, "exchange", flaky)
    processor = processors(on_error=on_error)
    processor.start_in_background()
    job_id = queue.add_job("processing.any", {})
    wait_until(lambda: len(seen) > 1)
    broken.clear()
    wait_until(lambda: stored(queue, job_id).status is JobStatus.COMPLETED)
    assert set(seen) == {"the server is gone"}


# -- in async code


def test_a_batch_in_async_code(queue: JobQueue) -> None:
    @job("processing.async")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "done"

    job_id = queue.add_job("processing.async", {})

    async def work() -> tuple[int, int]:
        ticks = 0
        task = asyncio.create_task(queue.create_processor().astart())
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.001)
        return await task, ticks

    claimed, ticks = asyncio.run(work())
    assert (claimed, stored(queue, job_id).output) == (1, "done")
    assert ticks > 1, "the event loop was blocked"


def test_a_cancelled_batch_is_given_back(queue: JobQueue, let_go: threading.Event) -> None:
    begun = threading.Event()

    @job("processing.stuck")
    def stuck() -> None:
        begun.set()
        let_go.wait(30)

    job_id = queue.add_job("processing.stuck", {})
    processor = queue.create_processor()

    async def work() -> None:
        task = asyncio.create_task(processor.astart())
        while not begun.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    wait_until(lambda: not processor.is_running())
    found = stored(queue, job_id)
    assert (found.status, found.resuming) == (JobStatus.PENDING, True)


def test_the_blocking_methods_name_their_twins(queue: JobQueue) -> None:
    processor = queue.create_processor()

    async def work() -> None:
        with pytest.raises(SynchronousOnlyOperation, match="astart"):
            processor.start()
        with pytest.raises(SynchronousOnlyOperation, match="astop_and_drain"):
            processor.stop_and_drain()
        processor.start_in_background()
        assert await processor.astop_and_drain(20) is True

    asyncio.run(work())


def test_a_batch_is_refused_inside_a_transaction_of_async_code(queue: JobQueue) -> None:
    with transaction.atomic(using=queue.alias), pytest.raises(JobStateError, match="outside of atomic"):
        async_to_sync(queue.create_processor().astart)()


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurency": 3}, r"unknown option 'concurency'\. Did you mean 'concurrency'\?"),
        ({"verbose": True}, r"unknown option 'verbose'\. Known: worker_id, "),
        ({"group_concurrency": 0}, "group_concurrency is 0; expected a whole number from 1 to"),
        ({"exclude_groups": 1}, "exclude_groups is 1; expected a list of ids of groups"),
        ({"exclude_groups": [""]}, "exclude_groups is ''; expected a string of 1 to 255 characters"),
        ({"exclude_groups": [None]}, "exclude_groups holds None; expected ids of groups"),
        ({"concurrency": 0}, "concurrency is 0; expected a whole number from 1 to 10000"),
        ({"concurrency": -1}, "concurrency is -1; expected"),
        ({"concurrency": True}, "concurrency is True; expected"),
        ({"concurrency": "3"}, "concurrency is '3'; expected"),
        ({"concurrency": 1.5}, r"concurrency is 1\.5; expected"),
        ({"concurrency": 100_000}, "concurrency is 100000; expected"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number from 1 to 1000"),
        ({"batch_size": 1001}, "batch_size is 1001; expected"),
        ({"poll_interval": 0}, r"poll_interval is 0; expected 0\.001 to 3600 seconds"),
        ({"poll_interval": float("nan")}, "poll_interval is nan; expected"),
        ({"poll_interval": "5"}, "poll_interval is '5'; expected"),
        ({"isolate": "yes"}, "isolate is 'yes'; expected True or False"),
        ({"queues": 3}, "queues is 3; expected a list of names"),
        ({"queues": [""]}, "queues is ''; expected a name of 1 to 128 characters"),
        ({"queues": ["a"], "exclude_queues": ["a", "b"]}, "exclude_queues leaves none of the queues"),
        ({"worker_id": "a\nb"}, "worker_id is 'a.*; expected 1 to 200 printable characters"),
        ({"worker_id": 7}, "worker_id is 7; expected"),
        ({"on_error": "log"}, "on_error is 'log'; expected a function"),
    ],
)
@pytest.mark.django_db(databases=[])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        get_queue().create_processor(**options)


def test_an_unknown_job_type_is_refused_at_the_start(queue: JobQueue) -> None:
    """Not before: a processor may be made before every handler is registered."""

    @job("processing.known")
    def known() -> None: ...

    processor = queue.create_processor(job_types="processing.knwon")
    for start in (processor.start, processor.start_in_background):
        with pytest.raises(ConfigurationError, match=r"'processing\.knwon'\. Did you mean 'processing\.known'\?"):
            start()


@pytest.mark.parametrize("timeout", [-1, "5", True, None, float("nan")])
def test_a_timeout_that_makes_no_sense_is_refused(queue: JobQueue, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout is .*; expected 0 to 86400 seconds"):
        queue.create_processor().stop_and_drain(timeout)
