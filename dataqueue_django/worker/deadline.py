"""How long an execution may take, and how its handler gets more time (DataQueue "Job Timeout")."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from datetime import timedelta
from threading import RLock, Thread
from typing import Any

from django.db import connections

from ..exceptions import InvalidTimeout, shown
from ..logs import worker as logger

ANSWER_WITHIN = 5.0
"""Seconds that a callback has to say whether it needs more time; later it has said no."""

LONGEST = 365 * 24 * 3600.0

Callback = Callable[[], "float | timedelta | None"]


class Deadline:
    """The deadline of one execution, in monotonic seconds. Without a timeout there is none, and nothing moves it."""

    def __init__(self, timeout_ms: int | None, tell: Callable[[], None] = lambda: None) -> None:
        self._timeout = None if timeout_ms is None else timeout_ms / 1000
        self._tell = tell
        self._lock = RLock()
        self._at: float | None = None
        self._callback: Callback | None = None
        self._answer_within = ANSWER_WITHIN
        self._asked_until: float | None = None
        self._moved: tuple[float, str] | None = None
        self._is_over = False

    @property
    def look_at(self) -> float | None:
        """When the deadline has to be looked at again; None without one, and before the handler has begun."""
        with self._lock:
            return self._at if self._asked_until is None else self._asked_until

    def begin(self, now: float) -> bool:
        """Start the time; returns whether there is a deadline now."""
        with self._lock:
            self._at = None if self._timeout is None else now + self._timeout
            return self._at is not None

    def prolong(self, seconds: Any = None, *, why: str = "prolong") -> bool:
        """Set the deadline to `seconds` (or a timedelta) from now, or to the job's timeout; returns whether it was.

        Nothing happens to an execution without a deadline, or after it. Raises InvalidTimeout.
        """
        length = self._timeout if seconds is None else checked_length("prolong()", seconds)
        with self._lock:
            if self._at is None or length is None or self._is_over:
                return False
            self._at, self._asked_until = time.monotonic() + length, None
            first, self._moved = self._moved is None, (length, why)
        if first:
            self._tell()
        return True

    def on_timeout(self, callback: Any, *, within: float = ANSWER_WITHIN) -> None:
        """Ask `callback` when the deadline is reached, instead of the one before; None asks nobody.

        It has `within` seconds to answer.
        """
        callback = checked_callback(callback)
        with self._lock:
            self._callback, self._answer_within = callback, within

    def has_passed(self, now: float) -> bool:
        """Return whether the time is up, and the callback, if there is one, has not asked for more.

        The callback is called in a thread of its own; until it has answered, for some seconds, the time is not up.
        """
        with self._lock:
            if self._at is None or now < self._at:
                return False
            if self._asked_until is not None:
                self._is_over = now >= self._asked_until
                return self._is_over
            if self._callback is None:
                self._is_over = True
                return True
            self._asked_until = now + self._answer_within
            Thread(target=self._ask, args=(self._callback,), name="dataqueue-on-timeout", daemon=True).start()
            return False

    def give_back(self, moved: tuple[float, str]) -> None:
        """Undo `unsaved`: it could not be stored; a later move counts more."""
        with self._lock:
            self._moved = self._moved or moved

    def unsaved(self) -> tuple[float, str] | None:
        """Return by how much the deadline was last moved and why, if that is not stored yet, and count it as stored."""
        with self._lock:
            moved, self._moved = self._moved, None
            return moved

    def _ask(self, callback: Callback) -> None:
        try:
            more = wanted(callback())
        except BaseException:
            logger.exception("a callback of on_timeout() gave no answer; the deadline stands")
            more = None
        finally:
            connections.close_all()  # this thread ends
        with self._lock:
            waited = self._asked_until
            if waited is None:  # the handler itself has moved the deadline meanwhile
                return
            if more is None or time.monotonic() >= waited:
                self._asked_until = self._at
        if more is not None and time.monotonic() < waited:
            self.prolong(more, why="on_timeout")
        else:
            self._tell()


def checked_callback(given: Any) -> Callback | None:
    """Return what `on_timeout` was given; raises InvalidTimeout for what cannot be asked."""
    if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise InvalidTimeout(f"on_timeout() got {shown(given)}; expected a function without parameters.")
    return given  # type: ignore[no-any-return]


def wanted(given: Any) -> float | None:
    """Return for how long a callback wants to go on; None, zero and less mean that it does not."""
    if inspect.iscoroutine(given):
        given.close()
    number = given.total_seconds() if isinstance(given, timedelta) else given
    if number is None or (isinstance(number, int | float) and number <= 0):
        return None
    return checked_length("the callback of on_timeout()", number)


def checked_length(what: str, given: Any) -> float:
    """Return a length of time in seconds; raises InvalidTimeout."""
    number = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= LONGEST:
        raise InvalidTimeout(f"{what} got {shown(given)}; expected seconds or a timedelta, above 0 and up to a year.")
    return float(number)
