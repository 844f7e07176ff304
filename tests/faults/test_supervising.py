"""`--processes` and `--reload`: children that die, a parent that dies, code that changes, slots that are stuck."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataqueue_django.domain.records import Claim, EventType, JobStatus, Kind, NewJob, Worker
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker.begun import BegunTable
from dataqueue_django.worker.supervisor import Child, Supervisor
from dataqueue_django.worker.upkeep import Upkeep
from tests.faults.fleet import TOGETHER, TRIALS, add, begun, events_of, stop_all, touch, wait_for_end
from tests.faults.inprocess import Workshop
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.ledger import Ledger
from tests.harness.workers import WorkerProcess, Workers, wait_until

pytestmark = REAL
LONG = {"LEASE": 600, "HEARTBEAT": 1, "POLL_INTERVAL": 0.05}
"""With these nothing is reclaimed in the time of a test but by a supervisor."""


def children(store: PortableStore, supervisor: WorkerProcess, count: int = 2) -> list[Worker]:
    """Wait until a supervisor has `count` registered children and return their rows."""

    def rows() -> list[Worker]:
        pids = {process.pid for process in psutil.Process(supervisor.pid).children()}
        return [row for row in store.find(Kind.WORKER) if row.pid in pids and row.expired_at is None]

    wait_until(lambda: len(rows()) == count, what=lambda: supervisor.output)
    return rows()


def gone(pids: list[int]) -> bool:
    """Return whether none of these processes runs."""

    def runs(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(map(runs, pids))


def test_a_killed_child_is_replaced_and_its_jobs_are_back(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    teams = [workers.start("--processes", "2", "--concurrency", "1", clocks=LONG) for _ in range(TOGETHER)]
    for team in teams:
        children(store, team)
    waits, first = [], []
    for n in range(max(1, TRIALS // 20)):
        go = tmp_path / f"go-{n}"
        ids = add(store, f"stubborn:{go}", count=2 * TOGETHER)
        wait_until(lambda: begun(ledger, ids), what=workers.output)  # noqa: B023
        killed_at = time.monotonic()
        victims = [row for team in teams for row in children(store, team)]
        for row in victims:
            os.kill(row.pid, signal.SIGKILL)
        wait_until(lambda: events_of(store, ids)[EventType.RECLAIMED] == len(ids), what=workers.output)  # noqa: B023
        waits.append(time.monotonic() - killed_at)
        touch(go)
        jobs = wait_for_end(store, ids, what=workers.output)
        assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 2, 1)}
        for team in teams:
            assert not {row.id for row in children(store, team)} & {row.id for row in victims}
        first += ids
    assert stop_all(workers) == {0}
    check_all(store, ledger)
    tally(f"{len(first)} children killed, each replaced; all jobs of a lot back after at most {max(waits):.2f} s")


def test_children_do_not_outlive_their_parent(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    teams = [workers.start("--processes", "2", "--concurrency", "1", clocks=LONG) for _ in range(3)]
    pids = [row.pid for team in teams for row in children(store, team)]
    ids = add(store, f"stubborn:{tmp_path / 'never'}", "ok", count=len(pids))
    wait_until(lambda: begun(ledger, ids), what=workers.output)
    killed_at = time.monotonic()
    for team in teams:
        team.process.kill()
    wait_until(lambda: gone(pids), what=workers.output)
    took = time.monotonic() - killed_at
    assert {(job.status, job.crash_count) for job in store.get(ids)} == {(JobStatus.PENDING, 0)}
    assert not [row for row in store.find(Kind.WORKER) if row.expired_at is None]
    for team in teams:
        assert team.wait() == -signal.SIGKILL
    workers.start("--concurrency", "3")
    jobs = wait_for_end(store, ids, what=workers.output)
    assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 1, 0)}
    assert stop_all(workers) == {0}
    check_all(store, ledger)
    tally(f"{len(pids)} children of 3 killed parents gave back and were gone after {took:.2f} s")


def test_signals_reach_the_children_whenever_they_come(
    store: PortableStore, workers: Workers, tally: Callable[[str], None]
) -> None:
    """Also while the children are still starting."""
    teams = [workers.start("--processes", "2", clocks=LONG) for _ in range(TOGETHER)]
    for n, team in enumerate(teams):
        wait_until(lambda: "Supervising" in team.output, what=lambda: team.output)  # noqa: B023
        time.sleep(0.15 * n)  # the moments
        team.signal(signal.SIGTERM)
    assert [team.wait() for team in teams] == [0] * len(teams), workers.output()
    assert not [row for row in store.find(Kind.WORKER) if row.expired_at is None]
    tally(f"{len(teams)} supervisors stopped while their children started")


def test_a_second_signal_ends_all_at_once(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path
) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        team = workers.start("--processes", "2", "--concurrency", "1", clocks={**LONG, "DRAIN": 600})
        rows = children(store, team)
        ids = add(store, f"stubborn:{tmp_path / 'never'}", count=2)
        wait_until(lambda: begun(ledger, ids), what=workers.output)  # noqa: B023
        team.signal(signum)
        wait_until(lambda: all(store.find(Kind.WORKER, id=row.id)[0].stopping_at for row in rows))  # noqa: B023
        team.signal(signum)
        assert team.wait() == 128 + signum, team.output
        assert {(job.status, job.crash_count) for job in store.get(ids)} == {(JobStatus.PENDING, 0)}
        store.delete(ids)


def test_a_changed_module_restarts_the_children_and_charges_nobody(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    module = tmp_path / "a_module_that_changes.py"
    module.write_text("VALUE = 0\n")
    (tmp_path / "sitecustomize.py").write_text("import a_module_that_changes\n")
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"}
    team = workers.start("--processes", "2", "--concurrency", "2", "--reload", clocks=LONG, extra=path)
    reloads = 2
    for n in range(reloads):
        rows = children(store, team)
        ids = add(store, f"stubborn:{tmp_path / 'never'}", "ok", count=4)
        wait_until(lambda: begun(ledger, ids), what=workers.output)  # noqa: B023
        module.write_text(f"VALUE = {n + 1}\n")
        os.utime(module, ns=(n + 1, n + 1))
        wait_until(lambda: gone([row.pid for row in rows]), what=workers.output)  # noqa: B023
        jobs = wait_for_end(store, ids, what=workers.output)
        assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 1, 0)}
    assert team.stop() == 0
    check_all(store, ledger)
    tally(f"{reloads} reloads, {4 * reloads} running jobs given back uncharged")


def test_stuck_children_are_replaced(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    team = workers.start("--processes", "2", "--concurrency", "1", clocks={**LONG, "WEDGED_AFTER": 0.3})
    rows = children(store, team)
    ids = add(store, f"stubborn:{tmp_path / 'never'}", "ok", count=2, timeout=0.2)
    wait_until(lambda: gone([row.pid for row in rows]), what=workers.output)
    jobs = wait_for_end(store, ids, what=workers.output)
    assert {(job.status, job.attempts, job.crash_count) for job in jobs} == {(JobStatus.COMPLETED, 2, 0)}
    assert {job.error_history[0]["reason"] for job in jobs} == {"timeout"}
    assert team.output.count("ended with code 75") == 2
    assert team.stop() == 0
    check_all(store, ledger)
    tally("2 children with all slots stuck ended with 75 and were replaced")


def test_a_rival_cannot_charge_what_a_dead_child_had_not_begun(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other workers look after the dead, too, and without a table of what had begun they take all for begun."""
    store = workshop.store
    me, dead = store.put(Worker(label="rival")), store.put(Worker(label="child"))
    store.insert([NewJob(job_type="t")] * 5)
    first, *others = store.claim(Claim(limit=5, worker_id=dead.id, locked_by="child"))
    begun = BegunTable.create()
    begun.belongs_to(dead.id)
    begun.begin(first.id, first.claim_seq)
    rival, commit, busy = Upkeep(store, workshop.queue.settings), type(store).commit, False

    def beside_a_rival(self: PortableStore, *given: Any, **named: Any) -> Any:
        nonlocal busy
        answer = commit(self, *given, **named)
        if not busy:
            busy = True
            rival.round(me.id, 0.0)
            busy = False
        return answer

    monkeypatch.setattr(type(store), "commit", beside_a_rival)
    Supervisor(workshop.queue, lambda _: [], 1)._take_back(Child(0, None, -1, begun, 0.0))  # type: ignore[arg-type]
    begun.close()
    assert workshop.job(first.id).crash_count == 1
    assert {workshop.job(job.id).crash_count for job in others} == {0}
    assert {workshop.job(job.id).status for job in (first, *others)} == {JobStatus.PENDING}


def test_a_reload_survives_a_child_that_has_just_died(workshop: Workshop) -> None:
    """The news of its death may not have been read yet when a file changes."""
    reading, writing = os.pipe()
    os.close(reading)
    supervisor = Supervisor(workshop.queue, lambda _: [sys.executable], 1, changed_files=lambda: ["a.py"])
    supervisor._children[0] = Child(0, None, writing, None, 0.0)  # type: ignore[arg-type]
    supervisor._reload_if_changed()
    os.close(writing)
