"""Real worker processes, and waiting for what they do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import psutil

from tests.database_urls import url_of
from tests.harness.ledger import VARIABLE as LEDGER

T = TypeVar("T")

SHORT_CLOCKS: Mapping[str, Any] = {"HEARTBEAT": 0.2, "LEASE": 1.5, "REAP_EVERY": 0.3, "POLL_INTERVAL": 0.05}
"""WORKER settings with which a recovery takes about two and a half seconds."""

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds to wait for what should come within a few: only a failing test takes that long. A machine on which a process
needs half a minute to start is busy, not broken."""


def wait_until(
    condition: Callable[[], T], timeout: float = PATIENCE, *, what: str | Callable[[], str] = "", every: float = 0.02
) -> T:
    """Return the first true value of `condition`, asked every `every` seconds; fails after `timeout` seconds.

    `what` is the text of the failure, or makes it.
    """
    until = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > until:
            text = what() if callable(what) else what
            raise AssertionError(f"waited {timeout:g} s in vain: {text or condition}")
        time.sleep(every)
    return found


def environment(url: str, *, ledger: Path | None = None, clocks: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the environment of a process that works on the database at `url`; `clocks` are WORKER settings."""
    own = {
        "DJANGO_SETTINGS_MODULE": "tests.settings_process",
        "TEST_DATABASE_URL": url,
        "TEST_DATAQUEUE_WORKER": json.dumps({**SHORT_CLOCKS, **(clocks or {})}),
        "PYTHONPATH": str(ROOT),
        "TEST_LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    if ledger is not None:
        own[LEDGER] = str(ledger)
    return {**os.environ, **own}


class WorkerProcess:
    """`manage.py dataqueue_worker` as a process of its own, in a process group of its own."""

    def __init__(
        self,
        url: str,
        *arguments: str,
        folder: Path,
        ledger: Path | None = None,
        clocks: Mapping[str, Any] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Start it with `arguments` on the database at `url`; `extra` goes into its environment.

        What it prints goes to a file in `folder`.
        """
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        self.log_path = folder / f"worker-{time.monotonic_ns()}.log"
        self._log: IO[bytes] = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "dataqueue_worker", "--no-reload", *arguments],
            cwd=ROOT,
            env={**environment(url, ledger=ledger, clocks=clocks), **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended; a paused one has not."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """What it has printed and logged so far."""
        return self.log_path.read_text(errors="replace")

    def ready(self, timeout: float = PATIENCE) -> Self:
        """Wait until it says that it is ready."""
        wait_until(lambda: "is ready" in self.output or not self.running, timeout, what=lambda: self.output)
        assert self.running, self.output
        return self

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the process."""
        if self.running:
            self.process.send_signal(signum)

    def pause(self) -> None:
        """Freeze it, as a machine does that swaps or is suspended."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self.signal(signal.SIGCONT)

    def stop(self, timeout: float = PATIENCE) -> int:
        """Ask it to finish, wait for its end and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and return its exit code; the negative number of the signal that killed it."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker did not end within {timeout:g} s: {self.output}") from None
        self._log.close()
        return code

    def kill(self) -> None:
        """End it and everything it started at once with SIGKILL, and wait."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        self._log.close()

    def _family(self) -> list[psutil.Process]:
        if not self.running:
            return []
        try:
            main = psutil.Process(self.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Workers:
    """Starts worker processes on one database and ends them all with the test."""

    def __init__(self, alias: str, folder: Path, *, url: str | None = None) -> None:
        self.url = url or url_of(alias)
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self.all: list[WorkerProcess] = []

    def start(
        self, *arguments: str, clocks: Mapping[str, Any] | None = None, extra: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        """Start one more worker; it may not be ready when this returns."""
        worker = WorkerProcess(self.url, *arguments, folder=self.folder, ledger=self.ledger, clocks=clocks, extra=extra)
        self.all.append(worker)
        return worker

    @property
    def running(self) -> list[WorkerProcess]:
        """The workers that have not ended."""
        return [worker for worker in self.all if worker.running]

    def stop(self) -> list[int]:
        """Stop all that run, gracefully, once they have started, and return their exit codes."""
        running = [worker.ready() for worker in self.running]
        for worker in running:
            worker.signal(signal.SIGTERM)
        return [worker.wait() for worker in running]

    def kill(self) -> None:
        """Kill all that run."""
        for worker in self.running:
            worker.kill()

    def autopsy(self) -> str:
        """Kill all that run and return what they printed, with where each of their threads was."""
        for worker in self.running:
            worker.signal(signal.SIGABRT)
            worker.wait()
        return self.output()

    def output(self) -> str:
        """Everything that the workers printed, for the text of a failure."""
        return "\n".join(f"--- worker {worker.pid}\n{worker.output}" for worker in self.all)


@contextlib.contextmanager
def workers_on(alias: str, folder: Path) -> Iterator[Workers]:
    """Provide workers for the database behind `alias`; none is left running."""
    workers = Workers(alias, folder)
    try:
        yield workers
    finally:
        workers.kill()
