"""What the operating system is asked to hold a child to; what it does not offer is left out."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
MIB = 1024 * 1024


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux); at once if that has happened.

    Needed for a handler that never lets Python notice anything; elsewhere the guard does it alone.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def limit_memory(mebibytes: int | None) -> None:
    """Let this process and what it starts have so much address space each; more is a MemoryError, or a crash."""
    if mebibytes is not None:
        _limit("RLIMIT_AS", mebibytes * MIB)


def limit_cpu(seconds: float | None) -> None:
    """Let this process use so many more seconds of CPU time; then it is killed."""
    if seconds is not None:
        times = os.times()
        _limit("RLIMIT_CPU", math.ceil(times.user + times.system + seconds), soft=True)


def _limit(name: str, value: int, *, soft: bool = False) -> None:
    with suppress(ImportError):  # not on Windows
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, hard if soft else allowed))
