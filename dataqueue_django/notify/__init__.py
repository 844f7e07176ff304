"""Waking workers up. Never needed for correctness: without it everything works at the speed of polling."""

from __future__ import annotations

from django.db import connections

from .. import conf
from .base import Listener, Notifier, SilentNotifier

__all__ = ["Listener", "Notifier", "notifier_for"]


def notifier_for(alias: str) -> Notifier:
    """Return the way to wake the workers of an alias: LISTEN/NOTIFY on PostgreSQL, none elsewhere."""
    settings = conf.settings_for(alias)
    database = settings.database
    if database is None or connections[database].vendor != "postgresql":
        return SilentNotifier()
    from .postgres import PostgresNotifier

    return PostgresNotifier(alias, database, listen=settings.worker.listen)
