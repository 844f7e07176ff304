"""The store in a Django database: SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connections
from django.utils.connection import ConnectionDoesNotExist

from ...exceptions import ConfigurationError, did_you_mean
from .portable import PortableStore

OPTION_NAMES = ("DATABASE",)


def OrmStore(alias: str, options: Mapping[str, Any]) -> PortableStore:  # a backend is named like a class
    """Return the store for the vendor of the database that `options["DATABASE"]` names.

    Raises ConfigurationError for an unknown option, database alias or vendor.
    """
    for name in options:
        if name not in OPTION_NAMES:
            raise ConfigurationError(
                f"DATAQUEUE[{alias!r}]['OPTIONS'] has the unknown key {name!r}.{did_you_mean(name, OPTION_NAMES)}"
            )
    database = options.get("DATABASE", "default")
    if not isinstance(database, str):
        raise ConfigurationError(f"DATAQUEUE[{alias!r}]['OPTIONS']['DATABASE'] is {database!r}; expected a string.")
    try:
        vendor = connections[database].vendor
    except ConnectionDoesNotExist:
        raise ConfigurationError(
            f"DATAQUEUE[{alias!r}]['OPTIONS']['DATABASE'] is {database!r}, which DATABASES does not have."
            f"{did_you_mean(database, connections.settings)}"
        ) from None
    return _store_class(vendor)(alias, database)


def _store_class(vendor: str) -> type[PortableStore]:
    if vendor == "postgresql":
        from .postgres import PostgresStore

        return PostgresStore
    if vendor == "sqlite":
        from .sqlite import SqliteStore

        return SqliteStore
    raise ConfigurationError(f"The ORM store cannot use a {vendor} database; expected postgresql or sqlite.")
