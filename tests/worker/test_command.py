"""`dataqueue_worker` as a process: how it ends, and what it says when it cannot work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from dataqueue_django.domain.records import JobStatus
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.stores.orm.sqlite import SqliteStore
from tests.faults.fleet import add
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, ROOT, Workers, environment, wait_until

pytestmark = REAL


def done(store: PortableStore, ids: list[int]) -> int:
    return sum(found.status is JobStatus.COMPLETED for found in store.get(ids))


def test_once_takes_one_batch(store: PortableStore, workers: Workers) -> None:
    ids = add(store, "ok", count=12)
    worker = workers.start("--once")
    assert worker.wait() == 0, worker.output
    assert done(store, ids) == 10
    worker = workers.start("--once", "--batch-size", "5", "--concurrency", "1")
    assert worker.wait() == 0, worker.output
    assert done(store, ids) == 12
    assert workers.start("--once").wait() == 0, "nothing to do is no error"


def test_no_more_jobs_than_asked_for(store: PortableStore, workers: Workers) -> None:
    ids = add(store, "ok", count=60)
    worker = workers.start("--max-jobs", "25", "--concurrency", "4")
    assert worker.wait() == 0, worker.output
    assert done(store, ids) == 25
    assert {found.attempts for found in store.get(ids) if found.status is JobStatus.PENDING} == {0}


def test_no_more_jobs_than_there_are(store: PortableStore, workers: Workers) -> None:
    ids = add(store, "ok", count=5)
    worker = workers.start("--max-jobs", "25", "--burst")
    assert worker.wait() == 0, worker.output
    assert done(store, ids) == 5


def test_the_most_jobs_are_those_of_each_process(store: PortableStore, workers: Workers) -> None:
    """And a process that has had its share is not replaced."""
    ids = add(store, "ok", count=60)
    team = workers.start("--processes", "2", "--max-jobs", "10")
    assert team.wait() == 0, team.output
    assert done(store, ids) == 20


def test_missing_tables_are_named_with_the_remedy(tmp_path: Path) -> None:
    found = command(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    assert (found.returncode, "Traceback" in found.stderr) == (1, False)
    assert "run `manage.py migrate`" in found.stderr


def test_a_database_in_memory_cannot_be_shared() -> None:
    found = command("sqlite:///:memory:")
    assert (found.returncode, "Traceback" in found.stderr) == (1, False)
    assert "is SQLite in memory, which no worker can share; give it a file" in found.stderr


def test_a_test_run_in_memory_can(monkeypatch: pytest.MonkeyPatch, store: PortableStore) -> None:
    """Django's test databases in memory are shared by the threads of the process."""
    if not isinstance(store, SqliteStore):
        pytest.skip("only SQLite has databases in memory")
    assert store.problem() is None
    monkeypatch.setitem(connections[store.database].settings_dict, "NAME", "file:memorydb?mode=memory&cache=shared")
    assert store.problem() is None


def test_without_waiting_an_unreachable_database_is_an_error(nowhere: str) -> None:
    found = command(nowhere, "--no-wait")
    assert (found.returncode, "Traceback" in found.stderr) == (1, False)
    assert "The queue 'default' cannot be reached: " in found.stderr


def test_an_unreachable_database_is_waited_for_aloud(nowhere: str, tmp_path: Path) -> None:
    workers = Workers("default", tmp_path, url=nowhere)
    try:
        worker = workers.start()
        wait_until(lambda: worker.output.count("the store cannot be used, next try in") > 1, what=lambda: worker.output)
        assert "Traceback" not in worker.output
        assert worker.stop() == 0
    finally:
        workers.kill()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_reader_that_is_gone_or_cannot_read_is_no_error(
    store: PortableStore, workers: Workers, encoding: str
) -> None:
    ids = add(store, "ok", count=3)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            arguments("--burst", "--worker-id", "café"),
            cwd=ROOT,
            env={**environment(workers.url), "PYTHONIOENCODING": encoding, "TEST_LOG_LEVEL": "ERROR"},
            stdout=writing if encoding == "utf-8" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (found.returncode, found.stderr) == (0, "")
    assert done(store, ids) == 3
    assert encoding == "utf-8" or "Worker caf\\xe9 is ready" in found.stdout


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("job_logs", [False, True])
def test_errors_are_shown_without_any_logging_of_the_project(
    store: PortableStore, workers: Workers, job_logs: bool, isolate: bool
) -> None:
    add(store, "give_up")
    clocks = {"JOB_LOGS": job_logs, "ISOLATE": isolate}
    found = subprocess.run(
        arguments("--burst"),
        cwd=ROOT,
        env={**environment(workers.url, clocks=clocks), "TEST_LOG_LEVEL": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert found.returncode == 0
    assert found.stderr.count("raised GiveUp in attempt 1") == 1, found.stderr
    assert found.stderr.count("GiveUp: told to give up") == 1, found.stderr


@pytest.fixture
def nowhere() -> str:
    """The address of a PostgreSQL that does not run."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return f"postgresql://nobody:nothing@127.0.0.1:{port}/nowhere"


def arguments(*given: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "django", "dataqueue_worker", "--no-reload", *given]


def command(url: str, *given: str) -> subprocess.CompletedProcess[Any]:
    """Run the command in a process of its own on the database at `url`."""
    return subprocess.run(
        arguments("--burst", *given),
        cwd=ROOT,
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
