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

YOUNG = 1.0
"""Seconds from its start within which a process without an environment may be one that is only being started."""

KERNEL = 2
"""The parent of the kernel's own threads, which have no environment."""


def kill_all(mark: str, roots: Iterable[int] = (), *, within: float = PATIENCE) -> bool:
    """Kill the processes of these ids, all that they started, and all whose mark begins with `mark`.

    Never the caller itself. It is looked again until twice nothing is found, since what is being killed may start more,
    and as long as a process that has just been started shows no environment. Returns whether nothing was left in time.
    """
    until, known, quiet = time.monotonic() + within, set(roots), 0
    while True:
        marked, unsure = _marked(mark)
        found = _descendants(known) | marked
        found.discard(os.getpid())
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found or unsure else quiet + 1
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


def _marked(mark: str) -> tuple[set[int], bool]:
    """The processes that carry the mark, and whether there is one of which that cannot be told yet."""
    found, unsure = set(), False
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARK, "").startswith(mark) and _lives(process):
                found.add(process.pid)
            unsure = unsure or (not environment and _is_starting(process))
    return found, unsure


def _is_starting(process: psutil.Process) -> bool:
    """Whether a process that shows no environment may be between its fork and the program that it becomes."""
    # The beginning is told by the wall clock: one that was set back must not make an old process young for good.
    is_young = abs(time.time() - process.create_time()) < YOUNG
    return is_young and process.ppid() != KERNEL and _lives(process)


def _lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that has died stays visible until its parent has heard of it."""
    return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
