"""Statistics end to end: what workers and duties write is what happened, counted once whoever dies in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from dataqueue_django import get_queue, job
from dataqueue_django.conf import RetentionSettings, settings_for
from dataqueue_django.domain.folding import COUNTING, FOLDING, MEASURING
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import (
    Claim,
    ClaimedJob,
    Duty,
    JobStatus,
    Kind,
    NewJob,
    QueueStat,
    Resolution,
    Worker,
)
from dataqueue_django.domain.statistics import Stats, bucket_of
from dataqueue_django.domain.transitions import Execution, complete
from dataqueue_django.queue import JobQueue
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker import statistics as duties
from dataqueue_django.worker.counting import EVERY, Counting
from dataqueue_django.worker.upkeep import Upkeep
from tests.harness.fixtures import REAL
from tests.harness.workers import Workers, wait_until

pytestmark = REAL
MINUTE, HOUR, DAY = Resolution.MINUTE, Resolution.HOUR, Resolution.DAY


@pytest.fixture
def queue(alias: str, store: PortableStore) -> Iterator[JobQueue]:
    """A queue with nothing in it and the duties of statistics at hand."""
    for name in (COUNTING, MEASURING, FOLDING):
        store.put(Duty(id=name, due_at=store.now()))
    return get_queue(alias)


def counted(of: JobQueue, **which: Any) -> Stats:
    """Count the events there are, and return the statistics."""
    last = of.store.last_event_id()
    count(of)  # notes how far there are events
    count(of)
    while memory(of, COUNTING)["counted"] < last:  # each is bounded in time, and ids go on from those of other tests
        count(of)
    return of.get_stats(**which)


def memory(queue: JobQueue, name: str) -> Any:
    """Return what a duty remembers."""
    return queue.store.fetch(Kind.DUTY, name).state


def count(queue: JobQueue) -> Mapping[str, int]:
    """Count events."""
    return duties.count_events(queue.store, memory(queue, COUNTING))[0]


def measure(queue: JobQueue) -> Mapping[str, int]:
    """Measure the queues."""
    return duties.measure_queues(queue.store, memory(queue, MEASURING))[0]


def fold(queue: JobQueue, kept: RetentionSettings = RetentionSettings()) -> Mapping[str, int]:  # noqa: B008 - frozen
    """Fold, and delete what is old."""
    return duties.fold(queue.store, kept, memory(queue, FOLDING))[0]


def stat(bucket: datetime, **given: Any) -> QueueStat:
    """Return a row of one minute."""
    key = {"resolution": MINUTE, "bucket": bucket, "queue": "mail", "job_type": "send", "writer": 7}
    return QueueStat(**{**key, **given})


# -- workers


def test_a_worker_writes_what_it_did(queue: JobQueue) -> None:
    @job("stats.do", max_attempts=2, retry_delay=0.001)
    def do(how: str) -> None:
        if how != "well":
            raise ValueError(how)

    add_all(queue, "stats.do", [{"how": "well"}] * 5 + [{"how": "badly"}] * 2)
    queue.add_job("stats.do", {"how": "well"}, queue="other")
    process(queue)

    stats = counted(queue)
    assert flow(stats) == {
        "enqueued": 8,
        "started": 10,
        "completed": 6,
        "failed": 2,
        "retried": 2,
        "cancelled": 0,
    }
    assert stats.failure_rate == 0.25
    assert stats.run is not None
    assert stats.wait is not None
    assert (stats.run.count, stats.wait.count) == (6, 8)
    assert stats.oldest_ready_age is None
    assert counted(queue, queue="other").completed == 1
    assert counted(queue, queue="other", job_type="stats.none").completed == 0
    assert sum(point.completed for point in stats.series) == 6


def test_handlers_of_all_kinds_count(queue: JobQueue) -> None:
    @job("stats.async")
    async def do_async() -> None: ...

    @job("stats.atomic", takes_context=True)
    def do_atomic(ctx: Any) -> None:
        ctx.atomic_finish(lambda: None)

    @job("stats.waits", takes_context=True)
    def wait(ctx: Any) -> None:
        ctx.wait_for(seconds=0.01)

    for name in ("stats.async", "stats.atomic", "stats.waits"):
        queue.add_job(name)
    process(queue)

    stats = counted(queue)
    assert (stats.completed, stats.started) == (3, 4)
    assert stats.wait is not None
    assert stats.wait.count == 3, "a wait of a handler is no wait for a worker"


def test_two_workers_sum_up(queue: JobQueue, workers: Workers) -> None:
    add_all(queue, "harness.act", [{"acts": ["ok"]}] * 40)
    both = [workers.start("--concurrency", "2") for _ in range(2)]
    wait_until(lambda: queue.count_jobs({"status": "completed"}) == 40, 60)
    for worker in both:
        worker.stop()
    rows = queue.store.stats(MINUTE, since=queue.store.now() - timedelta(hours=1))
    assert sum(row.completed for row in rows) == 40
    writers = {row.writer for row in rows if row.started}
    assert writers <= {worker.id for worker in queue.get_workers()}
    assert counted(queue).completed == 40
    assert counted(queue).enqueued == 40


def test_jobs_that_were_given_back_unstarted_did_not_start(queue: JobQueue) -> None:
    release, begun = threading.Event(), threading.Event()

    @job("stats.slow")
    def slow() -> None:
        begun.set()
        release.wait(20)

    add_all(queue, "stats.slow", [{}] * 3)
    processor = queue.create_processor(concurrency=1, poll_interval=0.02)
    processor.start_in_background()
    assert begun.wait(20)
    release.set()
    processor.stop_and_drain()
    stats = counted(queue)
    assert stats.started == stats.completed == queue.count_jobs({"status": "completed"})


# -- what a worker keeps in memory


class Unreliable:
    """A store whose answers get lost, and whose clock can be set."""

    def __init__(self, store: PortableStore) -> None:
        self.store = store
        self.lost = False
        self.at = bucket_of(store.now(), MINUTE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def now(self) -> datetime:
        return self.at

    def write_stats(self, rows: list[QueueStat]) -> None:
        self.store.write_stats(rows)
        if self.lost:
            raise OperationalError("the answer was lost")


@pytest.fixture
def unreliable(store: PortableStore) -> Unreliable:
    return Unreliable(store)


@pytest.fixture
def counting(unreliable: Unreliable) -> Counting:
    found = Counting(unreliable)  # type: ignore[arg-type]
    found.writer = 7
    return found


def test_what_was_written_is_not_counted_again(counting: Counting, unreliable: Unreliable) -> None:
    for lost in (False, True, True, False, False):
        unreliable.lost = lost
        did_one(counting)
        written(counting, fails=lost)
    assert completed_by_minute(unreliable) == [5]


def test_a_lost_answer_counts_nothing_twice_in_the_next_minute(counting: Counting, unreliable: Unreliable) -> None:
    did_one(counting)
    unreliable.lost = True
    written(counting, fails=True)
    unreliable.lost = False
    unreliable.at += timedelta(minutes=1)
    did_one(counting)
    did_one(counting)
    written(counting)
    assert completed_by_minute(unreliable) == [1, 2]


def test_a_clock_that_goes_back_overwrites_nothing(counting: Counting, unreliable: Unreliable) -> None:
    for minutes in (0, 1, -1, 1):
        unreliable.at += timedelta(minutes=minutes)
        did_one(counting)
        written(counting)
    assert sum(completed_by_minute(unreliable)) == 4


def test_a_row_that_was_lost_and_a_new_one_are_two_writers(counting: Counting, unreliable: Unreliable) -> None:
    did_one(counting)
    unreliable.lost = True
    written(counting, fails=True)
    unreliable.lost, counting.writer = False, 8
    did_one(counting)
    written(counting)
    rows = unreliable.stats(MINUTE, since=unreliable.at)
    assert [(row.writer, row.completed) for row in rows] == [(7, 1), (8, 1)]


def test_who_has_counted_nothing_writes_nothing(counting: Counting, unreliable: Unreliable, alias: str) -> None:
    assert counting.due_at == float("inf")
    did_one(counting)
    assert counting.due_at < float("inf")
    written(counting)
    assert counting.due_at == float("inf")
    with connections[alias].execute_wrapper(refuse):
        counting.write_when_due()
        counting.write()


def test_a_count_is_written_in_time_and_not_before(
    counting: Counting, unreliable: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("dataqueue_django.worker.counting.time.monotonic", lambda: now[0])
    did_one(counting)
    now[0] += EVERY - 0.1
    did_one(counting)
    counting.write_when_due()
    assert completed_by_minute(unreliable) == []
    now[0] += 0.2
    counting.write_when_due()
    assert completed_by_minute(unreliable) == [2]


# -- counting events


def test_a_cancelled_job_counts_whoever_cancelled_it(queue: JobQueue) -> None:
    ids = [add(queue, "stats.never", queue="mail") for _ in range(3)]
    queue.cancel_job(ids[0])
    assert flow(counted(queue))["cancelled"] == 1
    queue.cancel_job(ids[1])
    assert flow(counted(queue)) == {**dict.fromkeys(flow(counted(queue)), 0), "enqueued": 3, "cancelled": 2}


def test_attempts_of_dead_workers_count(queue: JobQueue) -> None:
    store = queue.store
    ids = [store.insert([NewJob(job_type="stats.lost", max_attempts=n)])[0].id for n in (1, 3)]
    dead = store.put(Worker(label="dead"))
    assert len(store.claim(Claim(limit=2, worker_id=dead.id, locked_by="dead"))) == 2
    store.commit([(expire(dead.id),)])
    Upkeep(store, settings_for(queue.alias)).round(me=0, unbroken_since=0.0)
    assert [one.status for one in store.get(ids)] == [JobStatus.FAILED, JobStatus.PENDING]
    stats = counted(queue)
    assert (stats.failed, stats.retried, stats.run) == (1, 1, None)


def test_counting_again_changes_nothing(queue: JobQueue) -> None:
    add_all(queue, "stats.never", [{}] * 4)
    first = counted(queue)
    for _ in range(3):
        count(queue)
    assert queue.get_stats().enqueued == first.enqueued == 4


def test_a_minute_grows_over_several_rounds_and_lots(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    add(queue, "stats.never")
    counted(queue)  # ids go on from where other tests left them
    monkeypatch.setattr(duties, "LOT", 3)
    for n in (5, 1, 8):
        add_all(queue, "stats.never", [{}] * n)
        count(queue)
    assert counted(queue).enqueued == 15


def test_no_two_count_the_same_events(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one counts between this one's reading and writing: this one's rows are refused."""
    add_all(queue, "stats.never", [{}] * 4)
    count(queue)
    grown, rival = duties._grown, [True]

    def interrupted(*args: Any) -> Any:
        rows = grown(*args)
        if rival.pop() if rival else False:
            count(queue)
        return rows

    monkeypatch.setattr(duties, "_grown", interrupted)
    assert count(queue) == {"counted_events": 0}
    assert counted(queue).enqueued == 4


def test_a_crash_between_counting_and_remembering_counts_nothing_twice(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_all(queue, "stats.never", [{}] * 4)
    count(queue)

    def die(*_: Any, **__: Any) -> None:
        raise SystemExit

    kind = type(queue.store)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(kind, "_write_statistics", after(kind._write_statistics, die))
        count(queue)
    assert queue.get_stats().enqueued == 0, "all of it was rolled back"
    assert counted(queue).enqueued == 4


def test_a_transaction_that_was_open_is_not_missed(queue: JobQueue, alias: str) -> None:
    """Its ids are lower than those that others have committed meanwhile."""
    if connections[alias].vendor == "sqlite":
        return  # there is one writer at a time
    inside, finish = threading.Event(), threading.Event()

    def slowly() -> None:
        try:
            with transaction.atomic(using=alias):
                add(queue, "stats.slow")
                inside.set()
                finish.wait(20)
        finally:
            connections[alias].close()

    other = threading.Thread(target=slowly)
    other.start()
    assert inside.wait(20)
    add(queue, "stats.quick")
    count(queue)
    finish.set()
    other.join()
    assert counted(queue).enqueued == 2


# -- measuring


def test_queues_are_measured_once_a_minute(queue: JobQueue) -> None:
    store = queue.store
    add_all(queue, "stats.never", [{}] * 3)
    for label, queues in (("a", ("default",)), ("b", ()), ("c", ("other",))):
        store.put(Worker(label=label, queues=queues))
    assert measure(queue) == {"measured_queues": 1}
    measure(queue)
    gauges = queue.get_gauges()
    assert len({one.bucket for one in gauges}) == len(gauges)
    gauge = gauges[0]
    assert (gauge.queue, gauge.ready, gauge.running, gauge.workers) == ("default", 3, 0, 2)
    assert queue.get_gauges(queue="other") == []
    assert counted(queue).oldest_ready_age is not None


def test_an_idle_queue_writes_no_gauges(queue: JobQueue) -> None:
    assert measure(queue) == {}
    assert queue.get_gauges() == []


# -- folding


def test_folding_twice_changes_nothing(queue: JobQueue) -> None:
    minute = bucket_of(queue.store.now() - timedelta(hours=30), MINUTE)
    write_some(queue, minute)
    before = [queue.get_stats(window) for window in WINDOWS]
    assert fold(queue)["folded_hours"] == 4
    folded = everything(queue)
    fold(queue)
    assert everything(queue) == folded
    assert {row.writer for row in folded if row.resolution is not MINUTE} == {0}
    for window, then in zip(WINDOWS, before, strict=True):
        now = queue.get_stats(window)
        assert (flow(now), now.run, now.wait) == (flow(then), then.run, then.wait)
        assert [point.completed for point in now.series] == [point.completed for point in then.series]


def test_what_comes_late_is_folded_again(queue: JobQueue) -> None:
    minute = bucket_of(queue.store.now() - timedelta(hours=5), MINUTE)
    write_some(queue, minute)
    fold(queue)
    before = queue.get_stats(timedelta(days=1)).completed
    queue.store.write_stats([stat(minute, writer=99, completed=1000)])
    fold(queue)
    assert queue.get_stats(timedelta(days=1)).completed == before + 1000
    assert queue.get_stats(timedelta(days=30)).completed == before + 1000


def test_old_minutes_go_and_their_hours_stay(queue: JobQueue) -> None:
    """Also where nobody folded for longer than minutes are kept."""
    minute = bucket_of(queue.store.now() - timedelta(days=4), MINUTE)
    write_some(queue, minute)
    before = queue.get_stats(timedelta(days=6)).completed
    fold(queue)
    assert queue.store.stats(MINUTE, since=minute - timedelta(days=1)) == []
    for _ in range(2):
        assert queue.get_stats(timedelta(days=6)).completed == before
        fold(queue)
    queue.store.write_stats([stat(minute, writer=99, completed=1000)])
    fold(queue)
    assert queue.get_stats(timedelta(days=6)).completed == before, "an hour is not made of what is left of it"


def test_old_hours_and_days_go_as_the_settings_say(queue: JobQueue) -> None:
    minute = bucket_of(queue.store.now() - timedelta(days=40), MINUTE)
    write_some(queue, minute)
    fold(queue, RetentionSettings(stats_hours=20))
    assert {row.resolution for row in everything(queue)} == {DAY}
    fold(queue, RetentionSettings(stats_hours=20, stats_days=30))
    assert everything(queue) == []


def test_what_time_did_not_allow_is_folded_the_next_time(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some(queue, bucket_of(queue.store.now() - timedelta(hours=30), MINUTE))
    before = queue.get_stats(timedelta(days=6)).completed
    monkeypatch.setattr(duties, "SECONDS", -1.0)
    assert fold(queue)["folded_hours"] == 0
    assert queue.get_stats(timedelta(days=6)).completed == before, "what is left is read by the minute"
    monkeypatch.setattr(duties, "SECONDS", 60.0)
    assert fold(queue)["folded_hours"] == 4
    assert queue.get_stats(timedelta(days=6)).completed == before


def test_who_was_overtaken_while_the_other_is_still_at_it_folds_nothing(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has moved the mark of what is folded: a stale row of the first must not replace one of the second."""
    write_some(queue, bucket_of(queue.store.now() - timedelta(hours=30), MINUTE))
    write, first = duties._fold_into, [True]

    def overtaken(*args: Any) -> bool:
        if first:
            first.clear()
            monkeypatch.setattr(duties, "_fold_into", lambda *_: False)  # the second takes it, and gets no further
            assert fold(queue) == {}
        return write(*args)

    monkeypatch.setattr(duties, "_fold_into", overtaken)
    assert fold(queue) == {}
    assert {row.resolution for row in everything(queue)} == {MINUTE}


def test_who_was_overtaken_folds_nothing(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some(queue, bucket_of(queue.store.now() - timedelta(hours=30), MINUTE))
    kind, read = type(queue.store), type(queue.store).stats
    rival = [True]

    def overtaken(store: Any, *args: Any, **options: Any) -> Any:
        rows = read(store, *args, **options)
        if rival:
            rival.clear()
            queue.store.write_stats([stat(options["since"], writer=55, completed=77)])
            fold(queue)
        return rows

    monkeypatch.setattr(kind, "stats", overtaken)
    assert fold(queue) == {}
    hours = [row for row in everything(queue) if row.resolution is HOUR]
    assert sum(row.completed for row in hours) == sum(
        row.completed for row in everything(queue) if row.resolution is MINUTE
    )


def test_a_round_of_upkeep_does_what_is_due(queue: JobQueue) -> None:
    add(queue, "stats.never")
    upkeep = Upkeep(queue.store, settings_for(queue.alias), label="3")
    upkeep.round(me=3, unbroken_since=0.0)
    done = {duty.id: duty for duty in queue.store.find(Kind.DUTY)}
    assert {COUNTING, MEASURING, FOLDING} <= set(done)
    assert all(done[name].done_by == "3" and done[name].finished_at for name in (COUNTING, MEASURING, FOLDING))
    Upkeep(queue.store, settings_for(queue.alias), label="4").round(me=4, unbroken_since=0.0)
    assert {duty.done_by for duty in queue.store.find(Kind.DUTY)} == {"3"}, "it is not due again so soon"
    as_of = queue.get_stats().as_of
    assert as_of is not None
    assert as_of >= (done[COUNTING].finished_at or as_of)


# -- words


WINDOWS = [timedelta(hours=3), timedelta(days=2), timedelta(days=30)]
FLOW = ("enqueued", "started", "completed", "failed", "retried", "cancelled")


def flow(stats: Stats) -> dict[str, int]:
    """The counters alone."""
    return {name: getattr(stats, name) for name in FLOW}


def add_all(queue: JobQueue, job_type: str, payloads: list[dict[str, Any]]) -> None:
    """Add jobs of one type."""
    queue.add_jobs([{"job_type": job_type, "payload": payload} for payload in payloads], allow_unknown=True)


def add(to: JobQueue, job_type: str, **options: Any) -> int:
    """Add a job that nobody here can run."""
    return to.add_job(job_type, allow_unknown=True, **options)


def process(queue: JobQueue) -> None:
    """Run all jobs in the background of this process, to their end."""
    processor = queue.create_processor(poll_interval=0.02)
    processor.start_in_background()
    wait_until(lambda: not open_jobs(queue), 30, what=lambda: str(queue.get_jobs()))
    processor.stop_and_drain()


def open_jobs(queue: JobQueue) -> bool:
    """Whether a job has not ended."""
    return any(not one.is_terminal for one in queue.get_jobs(limit=1000))


def did_one(counting: Counting) -> None:
    """Count one job that completed."""
    blank = dict.fromkeys(ClaimedJob.__dataclass_fields__)
    done = ClaimedJob(**{**blank, "id": 1, "queue": "mail", "job_type": "send", "claim_seq": 3})  # type: ignore[arg-type]
    counting.began(done, 0.0)
    counting.ended(done, complete(Execution(1, 3, 1, 3)), 0.1)


def written(counting: Counting, *, fails: bool = False) -> None:
    """Write the counts; the answer may be lost."""
    if fails:
        with pytest.raises(OperationalError):
            counting.write()
    else:
        counting.write()


def completed_by_minute(store: Unreliable) -> list[int]:
    """How many jobs completed, by the minutes in which some did."""
    rows = store.stats(MINUTE, since=store.at - timedelta(hours=1))
    assert all(row.started == row.completed == row.ran for row in rows)
    return [row.completed for row in rows]


def write_some(queue: JobQueue, first: datetime) -> None:
    """Write rows of some writers and types, 20 minutes apart, from a moment on: those of four hours."""
    first = first.replace(minute=10)
    rows = [
        stat(
            first + timedelta(minutes=20 * n),
            writer=writer,
            queue=name,
            enqueued=n,
            completed=n + writer,
            ran=n + writer,
            run_ms_sum=100 * n,
            run_hist=(0, n, writer),
        )
        for n in range(12)
        for writer in (7, 8)
        for name in ("mail", "files")
    ]
    queue.store.write_stats(rows)


def everything(queue: JobQueue) -> list[QueueStat]:
    """All rows, without when they were written."""
    since = queue.store.now() - timedelta(days=400)
    rows = [row for resolution in Resolution for row in queue.store.stats(resolution, since=since)]
    return [QueueStat(**{f: getattr(row, f) for f in row.__dataclass_fields__ if f != "updated_at"}) for row in rows]


def after(call: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does both, one after the other."""

    def both(*args: Any, **options: Any) -> Any:
        call(*args, **options)
        return then(*args, **options)

    return both


def refuse(*_: Any) -> None:
    """Let no statement pass."""
    raise AssertionError("a statement was sent")
