"""A worker thread's own database connection: unpooled, in autocommit, at READ COMMITTED."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..base import PrivateSession


class PrivateConnection(PrivateSession):
    """Puts a connection made from an alias' parameters in the place of that alias, for the current thread only."""

    def __init__(self, database: str, options: dict[str, Any], removed: tuple[str, ...] = ()) -> None:
        self._database = database
        self._options = options
        self._removed = removed
        self._shared: BaseDatabaseWrapper | None = None

    def open(self) -> None:
        """Replace the thread's connection; the database itself is reached at the first statement."""
        self._shared = connections[self._database]
        self._shared.close()
        own = connections.create_connection(self._database)
        given = own.settings_dict["OPTIONS"]
        kept = {name: value for name, value in given.items() if name not in self._removed}
        own.settings_dict = {
            **own.settings_dict,
            "OPTIONS": {**self._options, **kept, **self._forced(given)},
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": False,
            "AUTOCOMMIT": True,
        }
        connections[self._database] = own

    def close(self) -> None:
        """Close the connection and give the thread its usual one back."""
        connections[self._database].close()
        if self._shared is not None:
            connections[self._database] = self._shared
            self._shared = None

    def reset(self) -> None:
        """Close the connection, in whatever state it is; the next statement opens a new one."""
        connection = connections[self._database]
        connection.in_atomic_block = False
        connection.savepoint_ids.clear()
        connection.close()

    def _forced(self, given: dict[str, Any]) -> dict[str, Any]:
        """Options that replace the project's own."""
        return {}
