"""A processor in the background of a program that simply ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataqueue_django.domain.records import JobStatus, Kind
from dataqueue_django.stores.orm.portable import PortableStore
from tests.faults.fleet import add
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, ROOT, Workers, environment

pytestmark = REAL

PROGRAM = """
import time
from pathlib import Path
import django

django.setup()
from dataqueue_django import get_queue

queue = get_queue()
{before}
processor = queue.create_processor(concurrency=1)
processor.start_in_background()
while not queue.store.find("worker") or queue.get_job({job_id}).status != "processing":
    time.sleep(0.01)
while not Path({ledger!r}).read_text():
    time.sleep(0.01)
{end}
"""

USES_A_THREAD = """
from asgiref.sync import sync_to_async
from dataqueue_django import job

@job("end.uses_a_thread", priority=9)
async def uses_a_thread():
    await sync_to_async(queue.get_all_jobs)()

uses_a_thread.enqueue()
"""

FORKS = """
import os
child = os.fork()
if not child:
    assert not processor.is_running()
    processor.stop_and_drain(3600)
    raise SystemExit(5)  # as any program ends, so that what was registered for that runs
assert os.waitpid(child, 0)[1] == 5 << 8
assert processor.is_running()
"""

LISTENS = """
from dataqueue_django import signals

signals.job_released.connect(print, weak=False)
"""


@pytest.mark.parametrize(
    ("kind", "end", "code"),
    [("harness.act", "", 0), ("harness.act_async", "raise SystemExit(3)", 3), ("harness.act", "raise KeyError", 1)],
)
def test_its_jobs_are_given_back_uncharged(
    store: PortableStore, workers: Workers, tmp_path: Path, kind: str, end: str, code: int
) -> None:
    end_while_a_job_runs(store, workers, tmp_path, kind, end=end, code=code)


def test_its_jobs_are_given_back_although_no_thread_takes_calls_any_more(
    store: PortableStore, workers: Workers, tmp_path: Path
) -> None:
    """When a program ends, Python lets executors take no more calls: also not those that async handlers used."""
    end_while_a_job_runs(store, workers, tmp_path, "harness.act_async", before=USES_A_THREAD)


def test_its_jobs_are_given_back_although_a_receiver_is_first_called_then(
    store: PortableStore, workers: Workers, tmp_path: Path
) -> None:
    """The first receiver that is to be called may come too late for a thread of its own; the job is given back."""
    end_while_a_job_runs(store, workers, tmp_path, "harness.act", before=LISTENS)


def test_a_forked_child_does_not_wait_for_its_parents_processor(
    store: PortableStore, workers: Workers, tmp_path: Path
) -> None:
    """A server may load the project before it forks. The thread stays behind: nothing in the child works or stops."""
    end_while_a_job_runs(store, workers, tmp_path, "harness.act", end=FORKS)


def end_while_a_job_runs(
    store: PortableStore, workers: Workers, tmp_path: Path, kind: str, *, before: str = "", end: str = "", code: int = 0
) -> None:
    workers.ledger.touch()
    [job_id] = add(store, f"wait:{tmp_path / 'never'}", job_type=kind)
    program = PROGRAM.format(before=before, job_id=job_id, ledger=str(workers.ledger), end=end)
    found = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", program],
        cwd=ROOT,
        env=environment(workers.url, ledger=workers.ledger),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert found.returncode == code, found.stderr
    [job] = store.get([job_id])
    assert (job.status, job.resuming, job.crash_count) == (JobStatus.PENDING, True, 0), found.stderr
    assert [worker.expired_at is not None for worker in store.find(Kind.WORKER)] == [True]
    assert "an error of its own" not in found.stderr
    assert "loop failed" not in found.stderr
