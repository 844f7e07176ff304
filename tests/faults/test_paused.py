"""A worker that is frozen for three leases, beside a healthy one: it has lost everything and may change nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from dataqueue_django.domain.records import EventType, JobStatus
from dataqueue_django.stores.orm.portable import PortableStore
from tests.faults.fleet import TRIALS, add, beats_of, begun, events_of, registered, touch, traces, wait_for_end
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, END, Ledger
from tests.harness.workers import SHORT_CLOCKS, WorkerProcess, Workers, wait_until

pytestmark = REAL
SLOTS = 5
LEASE_IN_BEATS = round(SHORT_CLOCKS["LEASE"] / SHORT_CLOCKS["HEARTBEAT"])


def test_a_frozen_worker_is_replaced_and_its_late_writes_are_refused(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    go = tmp_path / "go"
    frozen = [workers.start("--concurrency", str(SLOTS)) for _ in range(max(2, TRIALS // (2 * SLOTS)))]
    rows = registered(store, *frozen)
    ids = add(store, f"stubborn:{go}+progress:90+ok:late", "ok:in time", count=SLOTS * len(frozen))
    wait_until(lambda: begun(ledger, ids), what=workers.output)
    late = {entry.execution for entry in ledger.read(BEGIN)}
    healthy = workers.start("--concurrency", str(SLOTS))
    [watcher] = registered(store, healthy)
    for worker in frozen:
        wait_until(lambda worker=worker: _is_frozen_holding_nothing(worker, store))  # type: ignore[misc]
    beats = beats_of(store, watcher)
    jobs = wait_for_end(store, ids, what=workers.output)
    wait_until(lambda: beats_of(store, watcher) > beats + 3 * LEASE_IN_BEATS)
    assert {(job.status, job.output, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, "in time", 1)}
    assert events_of(store, ids)[EventType.RECLAIMED] == len(ids)
    before = traces(store, ids)

    touch(go)
    for worker in frozen:
        worker.resume()
    wait_until(lambda: late <= {entry.execution for entry in ledger.read(END)}, what=workers.output)
    again = registered(store, *frozen)
    assert not {row.id for row in again} & {row.id for row in rows}
    healthy.stop()
    more = add(store, "ok", count=4 * SLOTS)
    wait_for_end(store, more, what=workers.output)
    pids = {entry.pid for entry in ledger.read(BEGIN) if entry.job in more}
    assert pids <= {worker.pid for worker in frozen}
    assert workers.stop() == [0] * len(frozen)
    assert traces(store, ids) == before
    check_all(store, ledger)
    tally(f"{len(frozen)} workers frozen for 3 leases, {len(ids)} jobs reclaimed once, 0 of {2 * len(ids)} late writes")


def _is_frozen_holding_nothing(worker: WorkerProcess, store: PortableStore) -> bool:
    """Freeze a worker, unless that leaves SQLite's one write lock with it: then everybody waits for it, as for any."""
    worker.pause()
    if store.connection.vendor != "sqlite":
        return True
    database = sqlite3.connect(store.connection.settings_dict["NAME"], timeout=0.5, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")
    except sqlite3.OperationalError:
        worker.resume()
        return False
    finally:
        database.close()
    return True
