"""A worker's voice: log lines at once, and the project's own code, signal receivers and `on_error`, in a thread apart.

So that neither a slow receiver nor its queries can hold up claims, outcomes or the lease, and none of them uses the
worker's own connection. What happened is told in the order in which it was committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from .. import logs, signals
from ..domain.records import EventType
from .connections import ThreadConnections

MOST = 10_000
"""Announcements that may wait; more are dropped, for the database holds the facts and memory is bounded."""

COMPLAIN_EVERY = 60.0
LAST_RECEIVERS, HURRIED = 5.0, 0.5
"""How long receivers may go on once the worker is done, and once it was told to end at once, in seconds."""

OnError = Callable[[Exception], object]


class Announcer:
    """Tells what one worker did. Its thread starts with the first thing that somebody wants to hear."""

    def __init__(self, alias: str, on_error: OnError | None = None) -> None:
        self._alias = alias
        self._on_error = on_error
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._gives_up = False
        self._dropped = 0
        self._complained_at = -COMPLAIN_EVERY

    def announce(self, event: EventType, *, job_id: int, job_type: str, queue: str, **facts: Any) -> None:
        """Log what was just committed, and have its signal sent."""
        logs.state_change(event, job_id=job_id, job_type=job_type, queue=queue, **facts)
        if signals.is_heard(event):
            told = {"job_id": job_id, "job_type": job_type, "queue": queue, **facts}
            self._post(partial(signals.send, event, self._alias, told))

    def error(self, error: Exception) -> None:
        """Have `on_error` called."""
        if self._on_error is not None:
            self._post(partial(self._on_error, error))

    def close(self, *, within: float) -> None:
        """Wait until all is told, at most so many seconds; the rest is dropped."""
        if self._thread is None:
            return
        self._waiting.put(None)
        self._thread.join(within)
        if self._thread.is_alive():
            self._gives_up = True
            logs.worker.warning("receivers are too slow: about %d announcements are dropped", self._waiting.qsize())

    def _post(self, call: Callable[[], object]) -> None:
        if self._waiting.qsize() < MOST and self._has_thread():
            self._waiting.put(call)
        else:
            self._drop()

    def _has_thread(self) -> bool:
        """Return whether somebody tells; started now if need be, which fails at some limit or at the process' end."""
        if self._thread is None:
            thread = Thread(target=self._serve, name="dataqueue-receivers", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _drop(self) -> None:
        self._dropped += 1
        if time.monotonic() - self._complained_at > COMPLAIN_EVERY:
            self._complained_at = time.monotonic()
            logs.worker.warning(
                "receivers are too slow, or have no thread: %d announcements were dropped so far", self._dropped
            )

    def _serve(self) -> None:
        connections = ThreadConnections()
        while not self._gives_up and (call := self._waiting.get()) is not None:
            connections.before()
            try:
                call()
            except BaseException:
                logs.worker.exception("a receiver failed")
            finally:
                connections.after()
        connections.close()
