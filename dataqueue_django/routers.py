"""A database router for projects that keep the queue in a database of its own."""

from __future__ import annotations

from typing import Any

from . import conf

APP_LABEL = "dataqueue"


class QueueRouter:
    """Makes the queue's tables in the databases that DATAQUEUE names, and nowhere else.

    The store itself always says which database it means; this is for `migrate` and the admin.
    """

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Return the queue's database for its own models."""
        return conf.home_database() if model._meta.app_label == APP_LABEL else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        """Allow the queue's tables in a queue's database only; no opinion on other apps."""
        return db in conf.queue_databases() if app_label == APP_LABEL else None
