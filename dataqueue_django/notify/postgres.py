"""Wake-ups by LISTEN and NOTIFY.

A NOTIFY makes its commit wait for all others that notify, so it is sent in a commit of its own after the caller's, at
most once per process in 5 ms. A worker that was woken looks again after that window before it sleeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from threading import Event, Lock
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .base import DeafListener, Listener, Notifier

WINDOW = 0.005
"""Seconds in which one NOTIFY of this process stands for all."""

SLICE = 0.5
"""The longest single wait, so that a listener notices that it was stopped."""

logger = logging.getLogger("dataqueue_django.notify")


class PostgresNotifier(Notifier):
    """One channel per alias; the message is empty, for workers look for themselves."""

    def __init__(self, alias: str, database: str, *, listen: bool) -> None:
        self._channel = channel_of(alias)
        self._database = database
        self._listen = listen
        self._sent_at = -WINDOW
        self._lock = Lock()

    def publish(self) -> None:
        """See Notifier.publish."""
        with self._lock:
            now = time.monotonic()
            if now - self._sent_at < WINDOW:
                return
            self._sent_at = now
        connection = connections[self._database]
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, '')", [self._channel])
        except Error:
            logger.debug("workers were not woken; they will find the jobs when they poll", exc_info=True)

    def listener(self) -> Listener:
        """See Notifier.listener."""
        return PostgresListener(connections[self._database], self._channel) if self._listen else DeafListener()


def channel_of(alias: str) -> str:
    """Return the channel of an alias: its name where that can be an identifier, else a digest of it."""
    plain = re.fullmatch(r"[A-Za-z0-9_]{1,48}", alias)
    return f"dataqueue_{alias if plain else hashlib.sha256(alias.encode()).hexdigest()[:32]}"


class PostgresListener(Listener):
    """LISTENs on the thread's own connection, anew after each reconnection."""

    def __init__(self, connection: BaseDatabaseWrapper, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._listening_on: Any = None
        self._stopped = Event()

    def wait(self, seconds: float) -> bool:
        """See Listener.wait."""
        until = time.monotonic() + seconds
        self._connection.ensure_connection()
        raw: Any = self._connection.connection
        with self._connection.wrap_database_errors:
            if self._listening_on is not raw:
                raw.execute(f'LISTEN "{self._channel}"')
                self._listening_on = raw
                return True  # what was sent while nobody listened is unknown: look once
            while not self._stopped.is_set() and (left := until - time.monotonic()) > 0:
                with contextlib.closing(raw.notifies(timeout=min(left, SLICE), stop_after=1)) as heard:
                    if any(True for _ in heard):
                        return True
        return False

    def stop(self) -> None:
        """See Listener.stop."""
        self._stopped.set()
