"""Many processes on one database: nobody runs another's job, and on SQLite nobody is told that it is locked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dataqueue_django.domain.records import EventType, JobStatus
from dataqueue_django.stores.orm.portable import PortableStore
from tests.database_urls import url_of
from tests.faults.fleet import TRIALS, add, events_of, registered, stop_all, wait_for_end
from tests.harness.checkers import Snapshot, check_all, k4_no_overlap
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, END, Ledger
from tests.harness.workers import ROOT, Workers, environment
from tests.variants import SQLITE

pytestmark = REAL
PROCESSES = 4
CALM = {"LEASE": 30, "HEARTBEAT": 1}
"""No pause of a busy machine costs a worker its lease."""


def test_processes_never_run_one_job_at_once(
    store: PortableStore, workers: Workers, ledger: Ledger, tally: Callable[[str], None]
) -> None:
    jobs = 25 * TRIALS
    fleet = [workers.start("--concurrency", "4", clocks=CALM) for _ in range(PROCESSES)]
    registered(store, *fleet)
    ids = add(store, "ok", count=jobs // 2)
    ids += add(store, "sleep:0.01+ok", count=jobs - len(ids))
    wait_for_end(store, ids, what=workers.output)
    assert workers.stop() == [0] * PROCESSES
    entries = ledger.read()
    assert Counter(entry.job for entry in entries if entry.act == BEGIN) == dict.fromkeys(ids, 1)
    assert Counter(entry.job for entry in entries if entry.act == END) == dict.fromkeys(ids, 1)
    k4_no_overlap(Snapshot.of(store), entries, strict=True)
    shares = Counter(entry.pid for entry in entries if entry.act == BEGIN)
    check_all(store, ledger)
    tally(f"{len(ids)} jobs on {len(shares)} of {PROCESSES} processes, each begun and ended once, 0 overlaps")


USER = """
import json, sys, time
import django
django.setup()
from django.db import OperationalError, transaction
from dataqueue_django import get_queue
from dataqueue_django.conf import queue_databases
from tests.app.models import BusinessRow

[database] = queue_databases()
rows = BusinessRow.objects.using(database)
seconds, receiver = float(sys.argv[1]), sys.argv[2]
if receiver == "off":
    from django.db.backends.signals import connection_created
    connection_created.disconnect(dispatch_uid="dataqueue_django.sqlite")
ids, errors, until = [], [], time.monotonic() + seconds
while time.monotonic() < until:
    try:
        with transaction.atomic(using=database):
            count = rows.count()
            time.sleep(0.002)
            job_id = get_queue().add_job("harness.act", {"acts": ["ok"]})
            rows.create(note=str(count), job_id=job_id)
    except OperationalError as error:
        errors.append(str(error))
    else:
        ids.append(job_id)
    time.sleep(0.002)
print(json.dumps({"ids": ids, "errors": errors}))
"""


def as_users(folder: Path, seconds: float, receiver: str, count: int = 2) -> tuple[list[int], list[str]]:
    """Run processes that read, think and enqueue inside `atomic()`; returns the jobs added and the errors seen."""
    script = folder / "user.py"
    script.write_text(USER)
    users = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(seconds), receiver],
            cwd=ROOT,
            env=environment(url_of(SQLITE)),
            stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    told = [json.loads(user.communicate(timeout=120)[0]) for user in users]
    assert [user.returncode for user in users] == [0] * count
    return [id for one in told for id in one["ids"]], [error for one in told for error in one["errors"]]


@pytest.mark.parametrize("alias", [SQLITE])
def test_sqlite_is_never_locked_for_users_and_workers(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    """With the settings that `startproject` writes: no OPTIONS, deferred transactions.

    The control: the same with the app's `connection_created` receiver switched off in the users' processes
    (FAULT_CONTROL=1 runs it) fails most of their transactions with "database is locked".
    """
    fleet = [workers.start("--concurrency", "3", clocks=CALM) for _ in range(PROCESSES)]
    registered(store, *fleet)
    seconds = 0.2 * TRIALS
    ids, errors = as_users(tmp_path, seconds, "on")
    assert errors == []
    jobs = wait_for_end(store, ids, what=workers.output)
    assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 1, 0)}
    if os.environ.get("FAULT_CONTROL"):
        more, control = as_users(tmp_path, seconds, "off")
        wait_for_end(store, more, what=workers.output)
        assert control, "the control experiment shows no errors, so this test proves nothing"
        tally(f"control without the receiver: {len(control)} of {len(control) + len(more)} transactions failed")
    assert stop_all(workers) == {0}
    assert "locked" not in workers.output()
    begun = Counter(entry.job for entry in ledger.read(BEGIN))
    assert {begun[id] for id in ids} == {1}
    assert events_of(store, ids)[EventType.COMPLETED] == len(ids)
    check_all(store, ledger)
    tally(f"{len(ids)} user transactions beside {PROCESSES} workers, 0 told that the database is locked")
