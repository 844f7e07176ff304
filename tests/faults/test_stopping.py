"""SIGTERM and SIGINT at random moments, once and twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataqueue_django.domain.filters import EVERYTHING
from dataqueue_django.domain.records import EventType, JobStatus, Kind
from dataqueue_django.stores.orm.portable import PortableStore
from tests.faults.fleet import TOGETHER, TRIALS, add, begun, events_of, held_by, registered, touch, wait_for_end
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.ledger import Ledger
from tests.harness.workers import Workers, wait_until

pytestmark = REAL


def no_claim_after_the_signal(store: PortableStore) -> None:
    """Assert that no worker claimed after the moment at which it said that it would stop."""
    for worker in store.find(Kind.WORKER):
        if worker.stopping_at is None:
            continue
        late = [
            event
            for job in store.query(EVERYTHING, limit=100_000)
            for event in store.events(job.id)
            if event.event_type is EventType.PROCESSING
            and event.worker_id == worker.id
            and event.created_at > worker.stopping_at
        ]
        assert not late, (worker, late)


@pytest.mark.parametrize("drain", [20, 0.05], ids=["long", "short"])
def test_one_signal_drains(
    store: PortableStore, workers: Workers, ledger: Ledger, drain: float, tally: Callable[[str], None]
) -> None:
    """Running jobs end within the limit or go back; nothing is lost, run twice or charged."""
    chance = random.Random(drain)
    stopped = 0
    for _ in range(max(1, TRIALS // 20)):  # on two databases with two limits
        fleet = [workers.start("--concurrency", "3", clocks={"DRAIN": drain}) for _ in range(TOGETHER)]
        registered(store, *fleet)
        add(store, "sleep:0.1+ok", count=30)
        add(store, "ok", count=200)
        for worker in fleet:
            time.sleep(chance.uniform(0, 0.1))  # the random moment
            worker.signal(chance.choice([signal.SIGTERM, signal.SIGINT]))
        assert [worker.wait() for worker in fleet] == [0] * TOGETHER, workers.output()
        stopped += TOGETHER
    assert all(worker.expired_at is not None for worker in store.find(Kind.WORKER))
    interrupted = store.query(EVERYTHING, limit=100_000)
    assert not [job for job in interrupted if job.status is JobStatus.PROCESSING]
    no_claim_after_the_signal(store)
    last = workers.start("--concurrency", "3")
    jobs = wait_for_end(store, [job.id for job in interrupted], what=workers.output)
    assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 1, 0)}
    assert last.stop() == 0
    events = events_of(store, [job.id for job in jobs])
    assert events[EventType.RECLAIMED] == events[EventType.FAILED] == 0
    check_all(store, ledger)
    tally(f"{stopped} workers stopped among {len(jobs)} jobs, {events[EventType.RELEASED]} given back, 0 charged")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_gives_back_at_once(
    store: PortableStore,
    workers: Workers,
    ledger: Ledger,
    second: signal.Signals,
    tmp_path: Path,
    tally: Callable[[str], None],
) -> None:
    """Handlers that are deaf to the abort signal cannot hold the process up."""
    fleet = [workers.start("--concurrency", "2", clocks={"DRAIN": 600}) for _ in range(TOGETHER)]
    rows = registered(store, *fleet)
    ids = add(store, f"stubborn:{tmp_path / 'never'}", "ok:later", count=2 * TOGETHER)
    wait_until(lambda: begun(ledger, ids), what=workers.output)
    for worker in fleet:
        worker.signal(signal.SIGTERM)
    wait_until(lambda: all(store.find(Kind.WORKER, id=row.id)[0].stopping_at for row in rows))
    assert all(worker.running for worker in fleet)
    for worker in fleet:
        worker.signal(second)
    assert [worker.wait() for worker in fleet] == [128 + second] * TOGETHER, workers.output()
    assert {job.status for job in store.get(ids)} == {JobStatus.PENDING}
    workers.start("--concurrency", "4")
    jobs = wait_for_end(store, ids, what=workers.output)
    seen = {(job.status, job.output, job.attempts, job.crash_count) for job in jobs}
    assert seen == {(JobStatus.COMPLETED, "later", 1, 0)}
    assert workers.stop() == [0]
    check_all(store, ledger)
    tally(f"{TOGETHER} workers ended with {128 + second}, {len(ids)} jobs given back uncharged")


def test_held_jobs_go_back_at_the_first_signal(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path
) -> None:
    """Between claim and start: what waits for a slot is given back while the running job goes on."""
    go = tmp_path / "go"
    worker = workers.start("--concurrency", "1", clocks={"HOLD": 60, "DRAIN": 60})
    [row] = registered(store, worker)
    add(store, "ok", count=100)
    long = add(store, f"stubborn:{go}+ok:long")
    wait_until(lambda: begun(ledger, long), what=workers.output)
    more = add(store, "ok", count=20)
    worker.signal(signal.SIGTERM)
    # Before it has claimed any of `more`, it holds no others either, and has perhaps not read the signal.
    wait_until(lambda: store.find(Kind.WORKER, id=row.id)[0].stopping_at, what=workers.output)
    wait_until(lambda: [job.id for job in held_by(store, row)] == long, what=workers.output)
    touch(go)
    assert worker.wait() == 0
    [job] = store.get(long)
    assert (job.status, job.output, job.attempts) == (JobStatus.COMPLETED, "long", 1)
    assert {(job.status, job.crash_count) for job in store.get(more)} == {(JobStatus.PENDING, 0)}
    no_claim_after_the_signal(store)
    last = workers.start()
    wait_for_end(store, more, what=workers.output)
    assert last.stop() == 0
    check_all(store, ledger)
