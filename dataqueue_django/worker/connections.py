"""The database connections of handler threads: kept for the life of the thread, closed on error or age."""

from __future__ import annotations

import time
from collections.abc import Callable

from django import db
from django.db.backends.base.base import BaseDatabaseWrapper

from ..logs import worker as logger

OLDEST = 600.0
"""Seconds after which a connection is renewed where the project keeps connections for one request only."""

IDLE = 5.0
"""Seconds of rest after which a connection is asked whether it still works before a handler gets it."""


class ThreadConnections:
    """Looks after the current thread's Django connections before and after each job, and never raises.

    `close_old_connections` would reconnect for every job at Django's default CONN_MAX_AGE of 0.
    """

    def __init__(self) -> None:
        self._rested_since = time.monotonic()
        self._opened: dict[str, tuple[object, float]] = {}

    def before(self) -> None:
        """Drop what broke while the thread was idle."""
        if time.monotonic() - self._rested_since < IDLE:
            return
        _carefully(_close_broken)

    def after(self) -> None:
        """Leave nothing open that the next job could trip over."""
        _carefully(self._tidy)

    def close(self) -> None:
        """Close everything at the end of the thread."""
        _carefully(db.connections.close_all)

    def _tidy(self) -> None:
        now = self._rested_since = time.monotonic()
        for connection in _open_connections():
            connection.queries_log.clear()
            raw, since = self._opened.get(connection.alias, (None, now))
            if raw is not connection.connection:
                since = now
            self._opened[connection.alias] = (connection.connection, since)
            if self._must_close(connection, now - since):
                connection.closed_in_transaction = False  # else close() does nothing and the thread keeps a dead one
                connection.close()

    @staticmethod
    def _must_close(connection: BaseDatabaseWrapper, age: float) -> bool:
        if connection.in_atomic_block or not connection.get_autocommit() or _is_pooled(connection):
            connection.in_atomic_block = False  # a handler left a transaction open: roll it back by closing
            return True
        if connection.errors_occurred and not connection.is_usable():
            return True
        connection.errors_occurred = False
        return age > (connection.settings_dict["CONN_MAX_AGE"] or OLDEST)


def _carefully(look_after: Callable[[], None]) -> None:
    """A database backend that raises while its connections are tidied up must not cost the job or the thread."""
    try:
        look_after()
    except Exception:
        logger.exception("a thread's database connections could not be looked after")


def _close_broken() -> None:
    for connection in _open_connections():
        if not connection.is_usable():
            connection.close()


def _open_connections() -> list[BaseDatabaseWrapper]:
    return [c for c in db.connections.all(initialized_only=True) if c.connection is not None]


def _is_pooled(connection: BaseDatabaseWrapper) -> bool:
    return bool(connection.settings_dict.get("OPTIONS", {}).get("pool"))
