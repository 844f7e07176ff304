"""The database is away for two leases under live workers: nobody is taken for dead, and all goes on by itself."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from dataqueue_django.domain.records import EventType, JobStatus, Kind
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.stores.orm.postgres import PostgresStore
from tests.database_urls import parse
from tests.faults.fleet import TRIALS, add, begun, events_of, registered, touch, wait_for_end
from tests.harness.checkers import check_all
from tests.harness.databases import emptied
from tests.harness.fixtures import REAL
from tests.harness.ledger import Ledger
from tests.harness.workers import ROOT, Workers, environment, wait_until
from tests.postgres_server import PostgresServer
from tests.variants import SQLITE, database

CLOCKS = {"LEASE": 1.0, "HEARTBEAT": 0.15, "REAP_EVERY": 0.2}
WORKERS, JOBS_EACH = 3, 2
OUTAGES = max(1, -(-TRIALS // WORKERS))


@pytest.fixture
def second_store(second_postgres: PostgresServer, django_db_blocker: DjangoDbBlocker) -> Iterator[PortableStore]:
    """The queue's tables on a PostgreSQL of the test's own."""
    command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment(second_postgres.url), timeout=120)
    connections.settings["second"] = {**connections.settings["postgres"], **database(parse(second_postgres.url))}
    try:
        with django_db_blocker.unblock():
            yield PostgresStore("postgres", "second")
    finally:
        connections["second"].close()
        del connections["second"]
        del connections.settings["second"]


def withstand(store: PortableStore, workers: Workers, folder: Path, outage: Callable[[int], Callable[[], None]]) -> str:
    """Let workers live through outages while they run jobs; returns what was counted.

    `outage(n)` takes the database away and returns what brings it back.
    """
    ledger = Ledger(workers.ledger)
    fleet = [workers.start("--concurrency", str(JOBS_EACH), clocks=CLOCKS) for _ in range(WORKERS)]
    rows = {row.id for row in registered(store, *fleet)}
    everything, recoveries = [], []
    for n in range(OUTAGES):
        go = folder / f"go-{n}"
        ids = add(store, f"stubborn:{go}", count=WORKERS * JOBS_EACH)
        wait_until(lambda: begun(ledger, ids), what=workers.output)  # noqa: B023
        bring_back = outage(n)
        time.sleep(2 * CLOCKS["LEASE"])  # the outage itself
        if n % 2:
            touch(go)  # half of the time the handlers end while the database is away
        bring_back()
        back_at = time.monotonic()
        touch(go)
        later = add(store, "ok", count=WORKERS)
        wait_for_end(store, [*ids, *later], what=workers.output)
        recoveries.append(time.monotonic() - back_at)
        everything += [*ids, *later]
    jobs = store.get(everything)
    seen = {(job.status, job.attempts, job.crash_count) for job in jobs}
    assert seen == {(JobStatus.COMPLETED, 1, 0)}, f"{seen}\n{workers.output()}"
    events = events_of(store, everything)
    assert events[EventType.RECLAIMED] == 0
    assert all(worker.running for worker in fleet), workers.output()
    found = store.find(Kind.WORKER)
    assert {worker.id for worker in found if worker.expired_at is None} == rows, f"{found}\n{workers.output()}"
    assert workers.stop() == [0] * WORKERS
    check_all(store, ledger)
    return (
        f"{OUTAGES} outages of 2 leases x {WORKERS} workers, 0 reclaimed, {events[EventType.RELEASED]} given back, all "
        f"work done at most {max(recoveries):.1f} s after the return"
    )


def test_postgres_stops_and_freezes_for_two_leases(
    second_postgres: PostgresServer, second_store: PortableStore, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    def outage(n: int) -> Callable[[], None]:
        match n % 3:
            case 0:
                second_postgres.stop("fast")
            case 1:
                second_postgres.stop("immediate")
            case _:
                second_postgres.pause()
                return second_postgres.resume

        def bring_back() -> None:
            connections["second"].close()
            second_postgres.start()

        return bring_back

    workers = Workers("second", tmp_path, url=second_postgres.url)
    try:
        tally(withstand(second_store, workers, tmp_path, outage))
    finally:
        workers.kill()


@REAL
def test_sqlite_is_locked_for_two_leases(tmp_path: Path, tally: Callable[[str], None]) -> None:
    store = emptied(SQLITE)
    file = os.fspath(connections[SQLITE].settings_dict["NAME"])

    def outage(_: int) -> Callable[[], None]:
        holder = sqlite3.connect(file, isolation_level=None, timeout=30)
        holder.execute("BEGIN IMMEDIATE")
        return holder.close

    workers = Workers(SQLITE, tmp_path)
    try:
        tally(withstand(store, workers, tmp_path, outage))
    finally:
        workers.kill()


@contextmanager
def disturbed(disturb: Callable[[], int], every: float) -> Iterator[list[int]]:
    """Call `disturb` again and again in a thread during a block; yields what it returned."""
    over, found = Event(), []

    def run() -> None:
        while not over.wait(every):
            found.append(disturb())

    thread = Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def test_sessions_of_workers_are_ended_again_and_again(
    tmp_path: Path, tally: Callable[[str], None], second_postgres: PostgresServer, second_store: PortableStore
) -> None:
    def end_one() -> int:
        """End a random session of a worker."""
        with psycopg.connect(second_postgres.url, autocommit=True) as admin:
            rows = admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'dataqueue worker' ORDER BY pid"
            ).fetchall()
            if not rows:
                return 0
            admin.execute("SELECT pg_terminate_backend(%s)", [random.choice(rows)[0]])
            return 1

    store, workers = second_store, Workers("second", tmp_path, url=second_postgres.url)
    ledger = Ledger(workers.ledger)
    try:
        fleet = [workers.start("--concurrency", "4") for _ in range(2)]
        registered(store, *fleet)
        ids: list[int] = []
        with disturbed(end_one, 0.15) as ended:
            while sum(ended) < 2 * TRIALS:
                lot = add(store, "progress:10+sleep:0.02+progress:60+ok:done", count=40)
                wait_for_end(store, lot, what=workers.output)
                ids += lot
        jobs = store.get(ids)
        assert {(job.status, job.output, job.attempts, job.crash_count) for job in jobs} == {
            (JobStatus.COMPLETED, "done", 1, 0)
        }
        events = events_of(store, ids)
        assert events[EventType.RECLAIMED] == events[EventType.FAILED] == 0
        assert workers.stop() == [0, 0]
        check_all(store, ledger)
        tally(f"{sum(ended)} sessions ended under {len(ids)} jobs, all completed in their first attempt, 0 reclaimed")
    finally:
        workers.kill()
