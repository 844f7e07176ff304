"""One processor in this process: what it does about locks, deadlines, leases and its own end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db import connections, transaction

from dataqueue_django import JobStatus, get_queue, job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.exceptions import JobAborted, JobStateError
from dataqueue_django.handlers import registry
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.claiming import QUIET_FOR, Claiming
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from dataqueue_django.worker.outcomes import Released, outcome_of_error
from dataqueue_django.worker.signal import AbortReason
from dataqueue_django.worker.slots import Slots
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until
from tests.worker.test_slots import run_of

pytestmark = REAL


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def burst(queue: JobQueue, **options: Any) -> int:
    return WorkerLoop(queue, ProcessorOptions(burst=True, **options)).run()


def test_runs_both_kinds_of_handler_until_nothing_is_left(queue: JobQueue) -> None:
    @job("running.sync")
    def sync(n: int) -> int:
        return n

    @job("running.async")
    async def coroutine(n: int) -> int:
        await asyncio.sleep(0)
        return -n

    ids = queue.add_jobs(
        {"job_type": f"running.{kind}", "payload": {"n": n}} for n in range(20) for kind in ("sync", "async")
    )
    assert burst(queue) == 0
    assert [found.output for found in queue.store.get(ids)] == [s * n for n in range(20) for s in (1, -1)]


def test_only_the_wanted_queues_and_types_are_worked_on(queue: JobQueue) -> None:
    @job("running.a")
    def a() -> None: ...

    @job("running.b")
    def b() -> None: ...

    ids = queue.add_jobs(
        {"job_type": f"running.{kind}", "payload": {}, "queue": name} for kind in "ab" for name in ("mail", "slow")
    )
    burst(queue, queues=("mail",), job_types=("running.a",))
    done = [found.status is JobStatus.COMPLETED for found in queue.store.get(ids)]
    assert done == [True, False, False, False]


def test_a_type_without_a_handler_waits_for_a_worker_that_has_one(queue: JobQueue) -> None:
    job_id = queue.add_job("running.unknown", {}, allow_unknown=True)
    assert burst(queue) == 0
    found = queue.get_job(job_id)
    assert found is not None
    assert (found.status, found.attempts) == (JobStatus.PENDING, 0)


def test_a_worker_cannot_run_inside_a_transaction(queue: JobQueue) -> None:
    with transaction.atomic(using=queue.alias), pytest.raises(JobStateError, match="outside of atomic"):
        burst(queue)
    assert connections[queue.alias].is_usable()


def test_rows_that_others_hold_do_not_stand_in_the_way(queue: JobQueue) -> None:
    """Three locked heads of a lane, and an unwanted type in the queue, once starved the jobs behind them."""
    if connections[queue.alias].vendor != "postgresql":
        pytest.skip("SQLite has no row locks")
    ids = [found.id for found in queue.store.insert([NewJob(job_type="lane.wanted") for _ in range(20)])]
    queue.store.insert([NewJob(job_type="lane.unwanted")])
    worker = queue.store.put(Worker(label="w"))
    claim = Claim(limit=3, worker_id=worker.id, locked_by="w", job_types=("lane.wanted",))
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        connection = connections.create_connection(queue.alias)
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM dataqueue_job WHERE id = ANY(%s) FOR UPDATE", [ids[:12]])
            locked.set()
            release.wait(30)
            cursor.execute("ROLLBACK")
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(30)
    try:
        assert [found.id for found in queue.store.claim(claim)] == ids[12:15]
    finally:
        release.set()
        holder.join()


@pytest.mark.parametrize("reason", [AbortReason.LEASE_LOST, AbortReason.SHUTDOWN])
def test_a_handler_that_was_cut_off_gives_its_job_back(reason: AbortReason) -> None:
    run = run_of(1)
    assert outcome_of_error(asyncio.CancelledError(), run.job, run.handler, reason) == Released(reason.value)
    renewed_since = outcome_of_error(JobAborted(reason.value), run.job, run.handler, None)
    assert renewed_since == Released(reason.value)


def test_a_crashed_job_waits_until_nothing_else_runs(queue: JobQueue) -> None:
    order: list[str] = []

    @job("running.plain")
    def plain() -> None:
        order.append("plain")

    @job("running.crashed", priority=100)
    def crashed() -> None:
        order.append("crashed")

    suspect = crashed.using(alias=queue.alias).enqueue()
    queue.store.commit([(Change(verb=Verb.OTHER, id=suspect.id, set={"crash_count": 1}),)])
    plain.using(alias=queue.alias).enqueue_many([{}] * 5)
    assert burst(queue, concurrency=1) == 0
    assert order == ["plain"] * 5 + ["crashed"]


def test_a_busy_worker_is_quiet_for_longer_each_time(queue: JobQueue) -> None:
    """Jobs that outlast the quiet period must not keep one that runs alone waiting for ever."""
    slots = Slots(1)
    claiming = Claiming(queue.store, registry, ProcessorOptions(), queue.settings.worker, slots, lambda: False)
    suspect = queue.add_job("running.any", {}, allow_unknown=True)
    queue.store.commit([(Change(verb=Verb.OTHER, id=suspect, set={"crash_count": 1}),)])

    @job("running.any")
    def anything() -> None: ...

    lengths = []
    for _ in range(3):
        claiming._look_at = claiming._quiet_until = 0.0
        assert claiming._is_quiet(1, "w", 1000.0, idle=False)
        lengths.append(claiming._quiet_until - 1000.0)
    assert lengths == [QUIET_FOR, 2 * QUIET_FOR, 4 * QUIET_FOR]


def test_a_job_forgotten_under_a_live_worker_comes_back(queue: JobQueue, settings: Any) -> None:
    """As after a claim whose answer was lost without an error: nobody in the process knows of the job."""
    given = settings.DATAQUEUE[queue.alias]
    quick = {**given["WORKER"], "REAP_EVERY": 0.1, "POLL_INTERVAL": 0.05}
    settings.DATAQUEUE = {queue.alias: {**given, "WORKER": quick}}
    queue = get_queue(queue.alias)

    @job("running.later")
    def later() -> None: ...

    processor = WorkerLoop(queue)
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(processor.run()))
    thread.start()
    try:
        (worker,) = wait_until(lambda: queue.store.find("worker", expired_at=None))
        job_id = queue.add_job("running.elsewhere", {}, allow_unknown=True)
        claim = Claim(limit=1, worker_id=worker.id, locked_by="w", job_types=("running.elsewhere",))
        assert queue.store.claim(claim)
        wait_until(lambda: queue.store.get([job_id])[0].status is JobStatus.PENDING)
    finally:
        processor.stop()
        thread.join(30)
    assert ended == [0]
    (found,) = queue.store.get([job_id])
    assert (found.resuming, found.crash_count) == (True, 0)
