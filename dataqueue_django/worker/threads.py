"""Threads that run synchronous handlers, one job at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread, current_thread

from .connections import ThreadConnections
from .slots import MOST_THREADS, Run, Slots

LONGEST_JOIN = 2.0
"""Seconds to wait for idle threads to end, all together."""


class HandlerThreads:
    """A fixed number of daemon threads: Python cannot stop a thread, so the process must be able to end without it."""

    def __init__(self, slots: Slots, run_one: Callable[[Run], None]) -> None:
        self._slots = slots
        self._run_one = run_one
        self._threads = [
            Thread(target=self._work, name=f"dataqueue-handler-{n}", daemon=True)
            for n in range(min(slots.size, MOST_THREADS))
        ]
        self._at_work: set[Thread] = set()

    def start(self) -> None:
        """Start taking jobs."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait, once the slots are closed, until each thread that runs no handler has closed its connections."""
        until = time.monotonic() + LONGEST_JOIN
        for thread in self._threads:
            if thread.is_alive() and thread not in self._at_work:
                thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        connections = ThreadConnections()
        while (run := self._slots.take(is_async=False, wait=True)) is not None:
            self._at_work.add(current_thread())
            try:
                connections.before()
                self._run_one(run)
            finally:
                connections.after()
                self._at_work.discard(current_thread())
                self._slots.free(run)
        connections.close()
