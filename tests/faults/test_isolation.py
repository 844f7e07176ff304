"""Child interpreters that are killed, and workers that are killed under them: nothing is left, nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dataqueue_django.domain.records import FailureReason, JobStatus
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker.isolation.hunting import MARK
from tests.faults.fleet import add, begun, touch, wait_for_end
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, VARIABLE, Ledger
from tests.harness.workers import Workers, wait_until

pytestmark = REAL

TYPE = "harness.isolated"
TRIALS = int(os.environ.get("FAULT_TRIALS", "1"))
"""Fewer than of other faults: each starts several interpreters."""

TIMEOUT = 0.5
ORPHANS_AFTER = 2.0
"""Seconds in which nothing of a killed worker may be left."""


def marked(ledger: Path) -> list[psutil.Process]:
    """Return the isolated processes of a test, told from others' by its ledger."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if MARK in environment and environment.get(VARIABLE) == str(ledger):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if _lives(process)]


def _words(process: psutil.Process) -> str:
    """The command of a process; nothing of one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("victim", ["supervisor", "worker", "child"])
def test_whoever_is_killed_nothing_is_left(
    victim: str, store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    chance, slowest = random.Random(victim), 0.0
    arguments = ("--concurrency", "2", *(("--processes", "2") if victim == "supervisor" else ()))
    team = workers.start(*arguments)
    for n in range(TRIALS):
        go = tmp_path / f"go-{n}"
        ids = add(store, f"litter_until:{go}", count=2, job_type=TYPE)
        wait_until(lambda: begun(ledger, ids), what=lambda: team.output)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.1))
        if victim == "child":
            interpreters = [p for p in marked(workers.ledger) if "isolated import main" in _words(p)]
            os.kill(chance.choice(interpreters).pid, signal.SIGKILL)
        else:
            os.kill(team.pid, signal.SIGKILL)
            killed_at = time.monotonic()
            wait_until(lambda: not marked(workers.ledger), what=lambda: str(marked(workers.ledger)))
            slowest = max(slowest, time.monotonic() - killed_at)
            team.wait()
            team = workers.start(*arguments)
        touch(go)
        jobs = wait_for_end(store, ids, what=lambda: team.output)  # noqa: B023
        assert {job.status for job in jobs} == {JobStatus.COMPLETED}, [job.error_history for job in jobs]
    assert team.stop() == 0, team.output
    assert not marked(workers.ledger)
    check_all(store)
    assert slowest < ORPHANS_AFTER, slowest
    tally(f"{TRIALS} times a {victim} was killed, nothing left after {slowest:.2f} s")


def test_at_its_timeout_a_handler_is_gone_within_a_second(
    store: PortableStore, workers: Workers, ledger: Ledger, tally: Callable[[str], None]
) -> None:
    """Told by the failure: it is stored once the process is dead with all it started, and frees the slot."""
    team = workers.start("--concurrency", "2")
    asked = {"count": TRIALS, "job_type": TYPE, "timeout": TIMEOUT, "max_attempts": 1}
    ids = [id for act in ("spin", "stuck", "litter") for id in add(store, act, **asked)]
    jobs = wait_for_end(store, ids, what=lambda: team.output)
    assert {job.failure_reason for job in jobs} == {FailureReason.TIMEOUT}
    assert not [words for words in map(_words, marked(workers.ledger)) if "time.sleep" in words]
    clock = time.time() - time.monotonic()
    began = {entry.job: clock + entry.at / 1e9 for entry in ledger.read(BEGIN)}
    late = max(job.last_failed_at.timestamp() - began[job.id] - TIMEOUT for job in jobs if job.last_failed_at)
    assert late < 1.0, late
    assert team.stop() == 0, team.output
    tally(f"{len(ids)} deaf handlers, a third with a process of their own: gone {late:.2f} s late at most")
