"""Databases whose transactions are real, seen by several processes at once."""

from __future__ import annotations

import os

from django.conf import settings
from django.db import connections

from dataqueue_django.stores import stores
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.stores.orm.tables import TABLES
from tests.app.models import BusinessRow
from tests.provision import POSTGRES_MISSING, miss


def emptied(alias: str) -> PortableStore:
    """Return the store of `alias` with nothing in it; skips (or fails, see `miss`) where there is no such database."""
    if alias not in settings.DATABASES:
        miss(f"PostgreSQL is missing: {os.environ.get(POSTGRES_MISSING)}")
    empty(alias)
    store = stores[alias]
    assert isinstance(store, PortableStore)
    return store


def empty(alias: str) -> None:
    """Delete every row of the queue in a database; ids go on from where they were."""
    with connections[alias].cursor() as cursor:
        for model in (*TABLES, BusinessRow):
            cursor.execute(f"DELETE FROM {model._meta.db_table}")


def hang_up(alias: str) -> None:
    """Close the connection of this thread."""
    connections[alias].close()
