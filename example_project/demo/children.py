"""The processes that the demo starts, and their end: none outlives the command."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings

POLL = 0.05
STARTED_WITHIN = 60.0
STOPPED_WITHIN = 35.0
"""Seconds a worker gets to finish what it runs; its own limit is 30."""

HURRIED_WITHIN = 5.0


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


class Child:
    """A `manage.py` command running beside this process, what it says kept in a file."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                manage(*arguments),
                env={**environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is this process's to handle: a second signal would hurry the worker
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def has_said(self, words: str) -> bool:
        """Whether these words stand in what the process wrote."""
        return words in self.log.read_text(errors="replace")

    def why_it_ended(self) -> str:
        """Say how the process ended, with its last words."""
        return f"The {self.name} ended with code {self.process.returncode}. {self.last_words()}"

    def last_words(self) -> str:
        """Return the last lines that the process wrote, as the end of a message."""
        last = self.log.read_text(errors="replace").strip().splitlines()[-25:]
        return "\n    ".join(["It said last:", *last])

    def signal(self, signum: int) -> None:
        """Send a signal, unless the process is gone."""
        if not self.has_ended:
            self.process.send_signal(signum)


def manage(*arguments: str) -> list[str]:
    """Return the command line of a `manage.py` command of this project."""
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment for a child on the same settings module, with changes."""
    return {**os.environ, "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE, **changes}


class Children(list[Child]):
    """The processes started so far; one that was started is always among them, whatever signal arrives meanwhile."""

    def start_server(self, port: int, variables: Mapping[str, str], folder: Path) -> Child:
        """Start the development server."""
        return self._start("server", ["runserver", f"127.0.0.1:{port}", "--noreload"], variables, folder)

    def start_worker(self, variables: Mapping[str, str], folder: Path, *arguments: str) -> Child:
        """Start a worker process."""
        return self._start("worker", ["dataqueue_worker", "--no-reload", *arguments], variables, folder)

    def _start(self, *arguments: Any) -> Child:
        with uninterrupted():
            self.append(Child(*arguments))
        return self[-1]


def wait_until(
    condition: Callable[[], bool], what: str, *, alive: Sequence[Child] = (), within: float = STARTED_WITHIN
) -> None:
    """Wait for a condition; raises DemoError when the time is up or one of `alive` is not."""
    until = time.monotonic() + within
    while not condition():
        for child in alive:
            if child.has_ended:
                raise DemoError(child.why_it_ended())
        if time.monotonic() > until:
            raise DemoError(f"Waited {within:g} s in vain: {what}.")
        time.sleep(POLL)


def stop(children: Sequence[Child], within: float = STOPPED_WITHIN) -> None:
    """End the processes: ask all at once, wait, and kill what is left. Ctrl+C meanwhile makes them hurry."""
    for child in children:
        child.signal(signal.SIGTERM)
    try:
        _wait_for_end(children, within)
    except KeyboardInterrupt:
        for child in children:
            child.signal(signal.SIGTERM)  # the second one makes a worker give its jobs back
        with contextlib.suppress(KeyboardInterrupt):
            _wait_for_end(children, HURRIED_WITHIN)
    finally:
        for child in children:
            child.signal(signal.SIGKILL)
            child.process.wait()


def started_with(variable: str, value: str) -> list[int]:
    """Return the ids of the processes that were started with a variable in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended meanwhile, or is somebody else's
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def _wait_for_end(children: Sequence[Child], within: float) -> None:
    until = time.monotonic() + within
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, until - time.monotonic()))


_held: list[bool] = []
_missed: list[int] = []


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP all mean Ctrl+C, even where the shell had them ignored."""

    def interrupt(signum: int, _frame: object) -> None:
        if not _held:
            raise KeyboardInterrupt
        _missed.append(signum)

    before = {signum: signal.signal(signum, interrupt) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish what is done in here before Ctrl+C counts."""
    _held.append(True)
    try:
        yield
    finally:
        _held.pop()
    if _missed:
        _missed.clear()
        raise KeyboardInterrupt


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
