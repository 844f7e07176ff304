"""A database router for projects that keep the queue in a database of its own."""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS

from . import conf

APP_LABEL = "dataqueue"


class QueueRouter:
    """Makes the queue's tables in the databases that DATAQUEUE names, and nowhere else.

    The store itself always says which database it means; this is for `migrate` and the admin.
    """

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Return the queue's database for its own models."""
        return self._home() if model._meta.app_label == APP_LABEL else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        """Allow the queue's tables in a queue's database only; no opinion on other apps."""
        return db in conf.queue_databases() if app_label == APP_LABEL else None

    @staticmethod
    def _home() -> str:
        """The database of the default alias, or of the first one."""
        names = conf.aliases()
        alias = conf.DEFAULT_ALIAS if conf.DEFAULT_ALIAS in names else names[0]
        return conf.settings_for(alias).database or DEFAULT_DB_ALIAS
