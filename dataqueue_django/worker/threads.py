"""Threads that run synchronous handlers, one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from ..logs import worker as logger
from .connections import ThreadConnections
from .slots import MOST_THREADS, Run, Slots


class HandlerThreads:
    """A fixed number of daemon threads: Python cannot stop a thread, so the process must be able to end without it."""

    def __init__(self, slots: Slots, run_one: Callable[[Run], None]) -> None:
        self._slots = slots
        self._run_one = run_one
        self._threads = [
            Thread(target=self._work, name=f"dataqueue-handler-{n}", daemon=True)
            for n in range(min(slots.size, MOST_THREADS))
        ]

    def start(self) -> None:
        """Start taking jobs."""
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        connections = ThreadConnections()
        while (run := self._slots.take(is_async=False, wait=True)) is not None:
            try:
                _carefully(connections.before)
                self._run_one(run)
            finally:
                _carefully(connections.after)
                self._slots.free(run)
        connections.close()


def _carefully(look_after: Callable[[], None]) -> None:
    """A database backend that raises while its connections are tidied up must not cost the job or the thread."""
    try:
        look_after()
    except Exception:
        logger.exception("a handler thread's database connections could not be looked after")
