"""Django signals: what is sent, when, and that receivers can hurt nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.dispatch import Signal

from dataqueue_django import EventType, GiveUp, JobContext, JobStatus, Snooze, announcing, get_queue, job, signals
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import Claim, Job, Worker
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker import announcer
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.models import BusinessRow
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, wait_until
from tests.variants import declared

pytestmark = REAL

Listen = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _nobody_is_told_any_more() -> Iterator[None]:
    """A worker's end does not wait long for slow receivers; the next test must not hear what they are told after it."""
    yield
    wait_until(lambda: not any(thread.name == "dataqueue-receivers" for thread in threading.enumerate()))


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


@pytest.fixture
def connect() -> Iterator[Callable[[Signal, Callable[..., Any]], None]]:
    """Connects receivers for the time of the test."""
    made: list[tuple[Signal, Callable[..., Any]]] = []

    def to(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver, weak=False)
        made.append((signal, receiver))

    yield to
    for signal, receiver in made:
        signal.disconnect(receiver)


@pytest.fixture
def heard(connect: Callable[..., None]) -> list[dict[str, Any]]:
    """Everything that any signal says, in the order in which it arrives."""
    told: list[dict[str, Any]] = []
    for signal in signals.SIGNALS.values():
        connect(signal, lambda signal, **facts: told.append(facts))
    return told


def work(queue: JobQueue, **options: Any) -> int:
    return WorkerLoop(queue, ProcessorOptions(burst=True, poll_interval=0.02, **options)).run()


def words(heard: list[dict[str, Any]]) -> list[str]:
    return [facts["event_type"].value for facts in heard]


def test_every_event_has_a_signal_of_its_own() -> None:
    assert set(signals.SIGNALS) == set(EventType)
    assert len({id(signal) for signal in signals.SIGNALS.values()}) == len(EventType)


def test_the_life_of_a_job(queue: JobQueue, heard: list[dict[str, Any]]) -> None:
    tries: list[int] = []

    @job("signals.flaky", queue="mail", retry_delay=0.001, retry_backoff="fixed")
    def flaky(secret: str) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise Snooze(0)
        if len(tries) == 2:
            raise ValueError(secret)
        return secret

    job_id = queue.add_job("signals.flaky", {"secret": "s3cret"})
    wait_until(lambda: work(queue, worker_id="w") == 0 and len(tries) == 3)
    common = {"sender": Job, "alias": queue.alias, "job_id": job_id, "job_type": "signals.flaky", "queue": "mail"}
    assert [{k: v for k, v in facts.items() if k in common} for facts in heard] == [common] * len(heard)
    rest = [{k: v for k, v in facts.items() if k not in common} for facts in heard]
    assert rest == [
        {"event_type": "added"},
        {"event_type": "processing", "attempt": 1, "worker": "w"},
        {"event_type": "snoozed", "attempt": 1, "delay_ms": 0},
        {"event_type": "processing", "attempt": 1, "worker": "w"},
        {
            "event_type": "failed",
            "attempt": 1,
            "will_retry": True,
            "failure_reason": "handler_error",
            "retry_in_ms": 1,
        },
        {"event_type": "processing", "attempt": 2, "worker": "w"},
        {"event_type": "completed", "attempt": 2},
    ]
    assert words(heard) == [event.event_type for event in queue.get_job_events(job_id)]
    assert "s3cret" not in repr(heard)


def test_what_people_ask_of_jobs(queue: JobQueue, heard: list[dict[str, Any]]) -> None:
    first, second = queue.add_jobs([{"job_type": "signals.any"}] * 2, allow_unknown=True)
    queue.edit_job(first, priority=4)
    queue.cancel_job(first)
    queue.cancel_job(first)
    queue.retry_job(first)
    queue.edit_all_pending_jobs({"ids": [second]}, priority=5)
    queue.cancel_all_upcoming_jobs()
    said = [(facts["event_type"].value, facts["job_id"]) for facts in heard]
    assert said == [
        *(("added", id) for id in (first, second)),
        ("edited", first),
        ("cancelled", first),
        ("retried", first),
        ("edited", second),
        *(("cancelled", id) for id in (first, second)),
    ]
    assert {(facts["alias"], facts["queue"]) for facts in heard} == {(queue.alias, "default")}


def test_waits_more_time_and_a_request_to_stop(queue: JobQueue, heard: list[dict[str, Any]]) -> None:
    """What is told of a job is what its events say, word by word."""

    @job("signals.waits", takes_context=True, timeout=600)
    def waits(ctx: JobContext) -> None:
        token = ctx.create_token()
        asked.append(token.id)
        ctx.wait_for_token(token)
        ctx.prolong(900)
        wait_until(lambda: "prolonged" in [event.event_type for event in queue.get_job_events(ctx.job.id)])

    @job("signals.runs", takes_context=True)
    def runs(ctx: JobContext) -> None:
        queue.cancel_job(ctx.job.id, abort_running=True)
        ctx.signal.wait(PATIENCE)
        ctx.signal.raise_if_aborted()

    asked: list[str] = []
    ids = [queue.add_job("signals.waits", {}), queue.add_job("signals.runs", {})]
    work(queue)
    queue.complete_token(asked[0], {})
    work(queue)
    for id in ids:
        told = [facts["event_type"].value for facts in heard if facts["job_id"] == id]
        assert sorted(told) == sorted(event.event_type.value for event in queue.get_job_events(id))
    assert {"waiting", "resumed", "prolonged", "cancel_requested", "cancelled"} <= {*words(heard)}


def test_a_lost_worker(queue: JobQueue, heard: list[dict[str, Any]]) -> None:
    @job("signals.any")
    def anything() -> None: ...

    ids = queue.add_jobs([{"job_type": "signals.any", "payload": {}}] * 2)
    queue.edit_job(ids[1], max_attempts=1)
    row = queue.store.put(Worker(label="lost"))
    assert len(queue.store.claim(Claim(limit=2, worker_id=row.id, locked_by="lost"))) == 2
    del heard[:]
    queue.store.remove("worker", [row.id])
    queue.store.commit([(expire(row.id),)])
    assert queue.reclaim_stuck_jobs(observe=False) == 2
    told = {facts["job_id"]: facts for facts in heard}
    assert (told[ids[0]]["event_type"], told[ids[0]]["worker"], told[ids[0]]["crashes"]) == ("reclaimed", "lost", 1)
    assert (told[ids[1]]["event_type"], told[ids[1]]["failure_reason"]) == ("failed", "worker_lost")
    assert told[ids[1]]["will_retry"] is False


def test_nothing_is_said_before_the_commit_and_nothing_of_what_is_rolled_back(
    queue: JobQueue, heard: list[dict[str, Any]]
) -> None:
    with transaction.atomic(using=queue.alias):
        kept = queue.add_job("signals.any", allow_unknown=True)
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=queue.alias):
            queue.cancel_job(kept)
            queue.add_job("signals.any", allow_unknown=True)
            raise ZeroDivisionError
        assert heard == []
    assert [(facts["job_id"], facts["event_type"].value) for facts in heard] == [(kept, "added")]


def test_a_receiver_that_raises_is_logged_and_hurts_nobody(
    queue: JobQueue, connect: Callable[..., None], heard: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    @job("signals.any")
    def anything() -> None: ...

    def broken(*, event_type: EventType, **_: Any) -> None:
        raise RuntimeError(f"no {event_type.value}")

    def hopeless(**_: Any) -> None:
        raise SystemExit(3)

    connect(signals.job_added, broken)
    connect(signals.job_completed, broken)
    connect(signals.job_processing, hopeless)
    with caplog.at_level(logging.ERROR):
        job_id = queue.add_job("signals.any", {})
        assert work(queue) == 0
    assert queue.store.get([job_id])[0].status is JobStatus.COMPLETED
    assert words(heard)[-1] == "completed"
    assert "no added" in caplog.text
    assert "no completed" in caplog.text
    assert "SystemExit" in caplog.text


def test_async_receivers_are_called(queue: JobQueue, connect: Callable[..., None]) -> None:
    told: list[str] = []

    async def listens(*, event_type: EventType, **_: Any) -> None:
        told.append(event_type.value)

    @job("signals.any")
    def anything() -> None: ...

    for signal in (signals.job_added, signals.job_completed):
        connect(signal, listens)
    queue.add_job("signals.any", {})
    work(queue)
    assert told == ["added", "completed"]


def test_a_slow_receiver_stalls_neither_jobs_nor_the_lease(
    queue: JobQueue, settings: Any, connect: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    settings.DATAQUEUE = declared(queue.alias, HEARTBEAT=0.05, LEASE=0.5, REAP_EVERY=0.1, POLL_INTERVAL=0.02)
    queue = get_queue(queue.alias)
    stuck, let_go = threading.Event(), threading.Event()

    def slow(**_: Any) -> None:
        stuck.set()
        let_go.wait(PATIENCE)

    @job("signals.any")
    def anything() -> None: ...

    connect(signals.job_processing, slow)
    first = queue.add_job("signals.any", {})
    processor = queue.create_processor()
    processor.start_in_background()
    try:
        assert stuck.wait(PATIENCE)
        (row,) = wait_until(lambda: queue.store.find("worker"))
        wait_until(lambda: queue.store.find("worker")[0].beat > row.beat + 20)  # for longer than its lease
        ids = [first, *queue.add_jobs({"job_type": "signals.any", "payload": {}} for _ in range(50))]
        wait_until(lambda: {found.status for found in queue.store.get(ids)} == {JobStatus.COMPLETED})
        assert queue.store.find("worker")[0].expired_at is None
    finally:
        let_go.set()
        assert processor.stop_and_drain() is True


def test_receivers_that_cannot_keep_up_are_told_less(
    queue: JobQueue, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(announcer, "MOST", 5)
    let_go, told = threading.Event(), []

    def slow(*, job_id: int, **_: Any) -> None:
        let_go.wait(PATIENCE)
        told.append(job_id)

    connect(signals.job_completed, slow)
    voice = announcer.Announcer(queue.alias)
    with caplog.at_level(logging.WARNING):
        for job_id in range(20):
            voice.announce(EventType.COMPLETED, job_id=job_id, job_type="a", queue="b")
        voice.close(within=0.01)
    assert caplog.text.count("receivers are too slow") == 2, "dropped at once, and at the end"
    let_go.set()
    wait_until(lambda: not any(thread.name == "dataqueue-receivers" for thread in threading.enumerate()))
    assert told == [0]


def test_receivers_that_get_no_thread_cost_nothing(
    queue: JobQueue, heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The system's limit may be reached, and a process that ends may not start threads any more."""
    start, refused = threading.Thread.start, [1]

    def limited(thread: threading.Thread) -> None:
        if thread.name == "dataqueue-receivers" and refused:
            refused.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    @job("signals.any")
    def anything() -> None: ...

    monkeypatch.setattr(threading.Thread, "start", limited)
    job_id = queue.add_job("signals.any", {})
    with caplog.at_level(logging.WARNING):
        assert work(queue) == 0
    assert queue.store.get([job_id])[0].status is JobStatus.COMPLETED
    assert words(heard) == ["added", "completed"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1 announcements were dropped" in caplog.text


def test_a_connection_that_cannot_be_tidied_up_silences_nobody(
    queue: JobQueue, heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def receiver(**_: Any) -> None:
        connections[queue.alias].ensure_connection()
        monkeypatch.setattr(connections[queue.alias], "get_autocommit", lambda: 1 / 0)

    signals.job_processing.connect(receiver)
    voice = announcer.Announcer(queue.alias)
    with caplog.at_level(logging.ERROR):
        for event in (EventType.PROCESSING, EventType.COMPLETED):
            voice.announce(event, job_id=1, job_type="a", queue="b")
        voice.close(within=20)
    assert words(heard) == ["processing", "completed"]
    assert "could not be looked after" in caplog.text


@pytest.mark.parametrize("mischief", ["queries", "leaves a transaction open", "breaks its transaction"])
def test_receivers_have_connections_of_their_own(queue: JobQueue, connect: Callable[..., None], mischief: str) -> None:
    """Whatever a receiver does with the database, the worker's own session is another one, and none is left open."""
    used: set[Any] = set()
    names: list[str] = []

    def receiver(*, job_id: int, **_: Any) -> None:
        connection = connections[queue.alias]
        BusinessRow.objects.using(queue.alias).create(note=f"{threading.current_thread().name} {job_id}")
        names.append(threading.current_thread().name)
        used.add(connection.connection)
        if mischief == "leaves a transaction open":
            transaction.set_autocommit(False, using=queue.alias)
            BusinessRow.objects.using(queue.alias).create(note=f"lost {job_id}")
        elif mischief == "breaks its transaction":
            with transaction.atomic(using=queue.alias), connection.cursor() as cursor:
                cursor.execute("SELECT nonsense FROM nowhere")

    sessions: set[Any] = set()

    @job("signals.any")
    def anything() -> None: ...

    loop = WorkerLoop(queue, ProcessorOptions(burst=True, poll_interval=0.02))
    exchange = queue.store.exchange

    def watched(*given: Any, **rest: Any) -> Any:
        answer = exchange(*given, **rest)
        sessions.add(connections[queue.alias].connection)
        assert not connections[queue.alias].in_atomic_block
        return answer

    connect(signals.job_completed, receiver)
    ids = queue.add_jobs({"job_type": "signals.any", "payload": {}} for _ in range(5))
    queue.store.exchange = watched  # type: ignore[method-assign]
    try:
        assert loop.run() == 0
    finally:
        del queue.store.exchange  # type: ignore[method-assign]
    assert {found.status for found in queue.store.get(ids)} == {JobStatus.COMPLETED}
    assert set(names) == {"dataqueue-receivers"}
    assert len(sessions) == 1
    assert not used & sessions
    assert BusinessRow.objects.using(queue.alias).count() == 5, "what was left uncommitted is rolled back"
    assert "dataqueue-receivers" not in {thread.name for thread in threading.enumerate()}


def test_nothing_is_made_for_nobody(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a receiver and a reader of the log there is no thread, no statement and no callback."""
    for signal in signals.SIGNALS.values():  # a receiver of another test may be dead and not yet forgotten
        monkeypatch.setattr(signal, "receivers", [])
    monkeypatch.setattr(announcing, "_tell", lambda *_: pytest.fail("nobody asked"))
    monkeypatch.setattr(signals, "send", lambda *_: pytest.fail("nobody asked"))
    monkeypatch.setattr(announcer, "Thread", lambda *_, **__: pytest.fail("nobody asked"))

    @job("signals.any")
    def anything() -> None:
        raise GiveUp

    logging.getLogger("dataqueue_django.jobs").setLevel(logging.CRITICAL)
    try:
        with connections[queue.alias].execute_wrapper(_count := Counter()):
            job_id = queue.add_job("signals.any", {})
            queue.cancel_job(job_id)
        heard_by_nobody = _count.statements
        queue.retry_job(job_id)
        assert work(queue) == 0
    finally:
        logging.getLogger("dataqueue_django.jobs").setLevel(logging.NOTSET)
    assert not [sql for sql in heard_by_nobody if "job_type" in sql.split(" FROM ")[0] and sql.startswith("SELECT")]


class Counter:
    """Keeps the statements that a connection executes."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements.append(sql)
        return execute(sql, params, many, context)
