"""Killing a process with everything it started, whatever became of its parents.

A child interpreter carries a mark in its environment, and what it starts inherits it. So a descendant is found by its
parents or by its mark, also when it has a session of its own or its parent has died. One that drops its environment
*and* its parents is beyond this; only the operating system's containers hold such.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

MARK = "DATAQUEUE_CHILD"
"""The variable that holds the mark: the worker's, a dot, and the number of the child among the worker's."""

PATIENCE = 2.0
"""Seconds after which what does not die is given up; what the kernel does not let go of cannot be killed."""

LOOK_EVERY = 0.01

ENOUGH = 2
"""Looks in a row that find nothing, after which nothing is there."""


def kill_all(mark: str, roots: Iterable[int] = (), *, within: float = PATIENCE) -> bool:
    """Kill the processes of these ids, all that they started, and all whose mark begins with `mark`.

    Never the caller itself. It is looked again until twice nothing is found: what is being killed may start more, and
    what just starts shows no environment for a moment. Returns whether nothing was left in time.
    """
    until, known, quiet = time.monotonic() + within, set(roots), 0
    while True:
        found = _descendants(known) | _marked(mark)
        found.discard(os.getpid())
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        if quiet == ENOUGH or time.monotonic() > until:
            return not found
        known = found
        time.sleep(LOOK_EVERY)


def _descendants(roots: set[int]) -> set[int]:
    found = set()
    for pid in roots:
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            found |= {process.pid for process in (root, *root.children(recursive=True)) if _lives(process)}
    return found


def _marked(mark: str) -> set[int]:
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(mark) and _lives(process):
                found.add(process.pid)
    return found


def _lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that has died stays visible until its parent has heard of it."""
    return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
