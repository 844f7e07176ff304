"""How a handler learns that it should stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum
from threading import Event

from ..exceptions import JobAborted

CHECK_EVERY = 0.5
"""The longest a waiting handler goes without looking at the lease, in seconds."""


class AbortReason(StrEnum):
    """Why a handler is asked to stop."""

    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease_lost"
    CANCELLED = "cancelled"


class AbortSignal:
    """Set once, never cleared. Also reads as set while the worker may no longer act for its jobs.

    The lease is judged when the signal is read, so a handler hears of it even while the worker's own threads are stuck
    in a database call.
    """

    def __init__(self, lease_is_stale: Callable[[], bool] = lambda: False) -> None:
        self._event = Event()
        self._reason: AbortReason | None = None
        self.asked_at: float | None = None
        """When `abort` was first called, in monotonic seconds."""
        self._lease_is_stale = lease_is_stale

    @property
    def aborted(self) -> bool:
        """Whether the handler should stop."""
        return self.reason is not None

    @property
    def asked(self) -> AbortReason | None:
        """Why `abort` was called, or None: whatever the lease looks like."""
        return self._reason

    def ignored_for(self, grace: float) -> bool:
        """Return whether somebody asked `grace` seconds ago or earlier that the job is cancelled."""
        asked_at = self.asked_at if self._reason is AbortReason.CANCELLED else None
        return asked_at is not None and time.monotonic() >= asked_at + grace

    @property
    def reason(self) -> AbortReason | None:
        """Why the handler should stop, or None."""
        if self._reason is None and self._lease_is_stale():
            return AbortReason.LEASE_LOST
        return self._reason

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the handler should stop, at most `timeout` seconds; returns whether it should."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.aborted:
            left = CHECK_EVERY if until is None else min(CHECK_EVERY, until - time.monotonic())
            if left <= 0 or self._event.wait(left):
                break
        return self.aborted

    async def wait_async(self, timeout: float | None = None) -> bool:
        """`wait` for async handlers."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.aborted and (until is None or time.monotonic() < until):
            left = CHECK_EVERY if until is None else min(CHECK_EVERY, until - time.monotonic())
            await asyncio.sleep(max(0.0, min(left, 0.05)))
        return self.aborted

    def raise_if_aborted(self) -> None:
        """Raise JobAborted if the handler should stop."""
        reason = self.reason
        if reason is not None:
            raise JobAborted(reason.value)

    def abort(self, reason: AbortReason) -> None:
        """Set the signal; the first reason stays."""
        if self._reason is None:
            self._reason, self.asked_at = reason, time.monotonic()
        self._event.set()
