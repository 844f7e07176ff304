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
from tests.harness.workers import ROOT, Workers, environment

pytestmark = REAL

PROGRAM = """
import time
import django

django.setup()
from dataqueue_django import get_queue

queue = get_queue()
processor = queue.create_processor(concurrency=1)
processor.start_in_background()
while not queue.store.find("worker") or queue.get_job({job_id}).status != "processing":
    time.sleep(0.01)
while not open({ledger!r}).read():
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize(
    ("kind", "end", "code"),
    [("harness.act", "", 0), ("harness.act_async", "raise SystemExit(3)", 3), ("harness.act", "raise KeyError", 1)],
)
def test_its_jobs_are_given_back_uncharged(
    store: PortableStore, workers: Workers, tmp_path: Path, kind: str, end: str, code: int
) -> None:
    workers.ledger.touch()
    [job_id] = add(store, f"wait:{tmp_path / 'never'}", job_type=kind)
    program = PROGRAM.format(job_id=job_id, ledger=str(workers.ledger), end=end)
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env=environment(workers.url, ledger=workers.ledger),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == code, found.stderr
    [job] = store.get([job_id])
    assert (job.status, job.resuming, job.crash_count) == (JobStatus.PENDING, True, 0), found.stderr
    assert [worker.expired_at is not None for worker in store.find(Kind.WORKER)] == [True]
