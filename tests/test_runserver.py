"""The development server runs jobs, too, where a project says so: in the process that serves, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataqueue_django import JobStatus, get_queue, runserver
from dataqueue_django.stores.orm.portable import PortableStore
from tests.database_urls import url_of
from tests.harness.fixtures import REAL, alias, store
from tests.harness.workers import PATIENCE, ROOT, environment, wait_until

__all__ = ["alias", "store"]

pytestmark = REAL


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["manage.py", "runserver"], {}, False),
        (["manage.py", "runserver"], {"RUN_MAIN": "true"}, True),
        (["manage.py", "runserver", "8001", "--noreload"], {}, True),
        (["manage.py", "migrate"], {"RUN_MAIN": "true"}, False),
        (["manage.py", "dataqueue_worker", "--reload"], {"RUN_MAIN": "true"}, False),
        (["gunicorn", "shop.wsgi"], {}, False),
        (["manage.py"], {}, False),
        ([], {}, False),
    ],
)
@pytest.mark.django_db(transaction=False)
def test_which_process_serves(argv: list[str], environ: dict[str, str], expected: bool) -> None:
    assert runserver.serves(argv, environ) is expected


@pytest.mark.parametrize("setting", [False, "yes"])
@pytest.mark.django_db(transaction=False)
def test_nothing_starts_unasked(settings: Any, setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", "--noreload"])
    monkeypatch.setattr(runserver, "Thread", None)
    settings.DATAQUEUE_RUNSERVER = setting
    runserver.start_if_wanted()


@contextmanager
def served(alias: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the development server in a process group of its own."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "runserver", "127.0.0.1:0", *options],
            cwd=ROOT,
            env={**environment(url_of(alias)), "TEST_RUNSERVER": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("options", [(), ("--noreload",)])
def test_jobs_run_in_the_process_that_serves(
    store: PortableStore, alias: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    queue, log = get_queue(alias), tmp_path / "log"
    id = queue.add_job("harness.pid", {})
    with served(alias, log, *options) as process:
        wait_until(lambda: queue.store.get([id])[0].status is JobStatus.COMPLETED, what=log.read_text)
        [worker] = wait_until(queue.get_live_workers)
        assert queue.store.get([id])[0].output == worker.pid
        if options:
            assert worker.pid == process.pid
        else:
            assert worker.pid in [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        os.kill(worker.pid, signal.SIGTERM if not options else signal.SIGINT)
        process.wait(PATIENCE)
    assert queue.get_live_workers() == []
