"""An idle worker leaves its database alone."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import pytest
from django.db.backends.signals import connection_created

from dataqueue_django.domain.controls import limit_id
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import JobStatus, Limit, NewJob, Worker
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.stores.orm.postgres import PostgresStore
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL
BEATS = 10
PER_BEAT = 35
"""Far more than a heartbeat, a poll and a round of upkeep need together, in which a lone worker has every duty: it
takes them in one transaction and reports in another. Far fewer than a busy loop makes."""


@pytest.mark.parametrize("dead", [0, 150])
def test_an_idle_worker_is_quiet(
    workshop: Workshop, dead: int, monkeypatch: pytest.MonkeyPatch, tally: Callable[[str], None]
) -> None:
    """Counted over ten beats, polls and rounds of upkeep; the rows of workers long gone make no difference."""
    store, statements, lock = workshop.store, [], Lock()

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        with lock:
            statements.append(sql)
        return execute(sql, params, many, context)

    def watch(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(count)

    bury(store, dead)
    workshop.handle("nothing", lambda: None)
    connection_created.connect(watch)
    if isinstance(store, PostgresStore):
        original = PostgresStore._hot

        def hot(self: PostgresStore, statement: str, params: Any) -> Any:
            with lock:
                statements.append(statement)
            return original(self, statement, params)

        monkeypatch.setattr(PostgresStore, "_hot", hot)
    try:
        with workshop.working(heartbeat=0.2, lease=1.5, reap_every=0.2, poll_interval=0.2):
            wait_until(lambda: workshop.live_workers() and workshop.live_workers()[0].beat >= 2)
            [row] = workshop.live_workers()
            with lock:
                statements.clear()
            wait_until(lambda: workshop.live_workers()[0].beat >= row.beat + BEATS, every=0.2)
            with lock:
                seen = len(statements)
    finally:
        connection_created.disconnect(watch)
    assert BEATS <= seen <= BEATS * PER_BEAT, sorted(set(statements))
    tally(f"{seen} statements in {BEATS} beats, polls and rounds of upkeep beside {dead} rows of gone workers")


@pytest.mark.parametrize(
    "limit",
    [
        Limit(id=limit_id(job_type="slow"), job_type="slow", rate=1, per_ms=1_000),
        Limit(id=limit_id(job_type="slow"), job_type="slow", rate=1, per_ms=1_000, burst=1),
        Limit(id=limit_id(per_group=True), per_group=True, rate=1, per_ms=1_000),
    ],
    ids=["window", "bucket", "group"],
)
def test_a_worker_comes_back_when_a_rate_allows_and_asks_little_before(
    workshop: Workshop, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two jobs lies a second, and polls are further apart than the test is long."""
    store, asked = workshop.store, []
    original = store.exchange

    def exchange(items: Any, claim: Any, **options: Any) -> Any:
        if claim is not None:
            asked.append(claim)
        return original(items, claim, **options)

    monkeypatch.setattr(store, "exchange", exchange)
    workshop.handle("slow", lambda: None)
    store.put(limit)
    store.insert([NewJob(job_type="slow", group_id="g") for _ in range(4)])
    with workshop.working(poll_interval=300):
        wait_until(lambda: store.count(JobFilter(statuses=(JobStatus.COMPLETED,)))[()] == 1)
        before = len(asked)
        wait_until(lambda: store.count(JobFilter(statuses=(JobStatus.COMPLETED,)))[()] == 4)
    assert len(asked) - before <= 3 * 10


def bury(store: PortableStore, count: int) -> None:
    """Leave the rows of workers that ended."""
    for _ in range(count):
        store.commit([(expire(store.put(Worker(label="gone")).id),)])
