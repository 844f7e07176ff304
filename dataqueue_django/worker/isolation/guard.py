"""The last to go: a small process that kills a worker's children when the worker is gone, however it went.

It holds the reading end of a pipe whose other end the worker keeps open, and needs nothing of the project: neither
Django nor the settings.
"""

from __future__ import annotations

import os
import signal
import time

from .hunting import kill_all

PATIENCE = 30.0


def main(mark: str) -> None:
    """Wait until the other end of standard input is closed, then kill everything that carries the mark."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    while os.read(0, 1024):
        pass
    until = time.monotonic() + PATIENCE
    while not kill_all(mark) and time.monotonic() < until:
        pass
