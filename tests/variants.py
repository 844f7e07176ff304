"""Ways to set a project's databases up. ``TEST_DATABASE_VARIANT`` names the one that a test run goes through.

``plain``
    what a project has that sets nothing: READ COMMITTED, a connection per thread, the queue in each database.
``repeatable_read``
    transactions and single statements on PostgreSQL are REPEATABLE READ.
``pool``
    Django's own connection pool on PostgreSQL.
``separate``
    the queue ``default`` has a database of its own, behind the router; no queue's table is anywhere else.
``pgbouncer``
    PostgreSQL behind PgBouncer in transaction mode.

``tests.settings`` and the settings of processes that tests start are made here, so both follow.
"""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "TEST_DATABASE_VARIANT"
VARIANTS = ("plain", "repeatable_read", "pool", "separate", "pgbouncer")

VARIANT = os.environ.get(VARIABLE) or "plain"
if VARIANT not in VARIANTS:
    raise ValueError(f"{VARIABLE} is {VARIANT!r}; expected one of {', '.join(VARIANTS)}")

SQLITE = "queue" if VARIANT == "separate" else "default"
"""The alias of the queue on SQLite, and of its database; the tests of every database call both the same."""

POSTGRES = "postgres"
ALIASES = (POSTGRES,) if VARIANT in ("repeatable_read", "pool", "pgbouncer") else (SQLITE, POSTGRES)
"""The databases that the tests of every database run on: those that the variant sets up in its way."""

POOLED = {"pool": 8, "pgbouncer": 20}.get(VARIANT, 0)
"""How many connections Django's pool, or PgBouncer, may keep open."""

KNOWN_CHECKS = ["dataqueue.W006"] if VARIANT == "repeatable_read" else []
"""What `check` says of the variant itself."""

ORM_STORE = "dataqueue_django.stores.orm.OrmStore"
ROUTERS = ["dataqueue_django.routers.QueueRouter"] if VARIANT == "separate" else []


def database(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of DATABASES as the variant sets it up."""
    if "postgresql" not in entry["ENGINE"]:
        return entry
    if VARIANT == "pgbouncer":
        entry = {**entry, "DISABLE_SERVER_SIDE_CURSORS": True}
    return {**entry, "OPTIONS": {**entry.get("OPTIONS", {}), **_postgres_options()}}


def repeatable_read() -> dict[str, Any]:
    """Return the OPTIONS of a PostgreSQL on which everything is REPEATABLE READ."""
    from psycopg import IsolationLevel

    # The first is for transactions, which is all that Django's own option reaches; the second is what
    # ALTER DATABASE or postgresql.conf would say, and holds for statements outside of transactions as well.
    return {
        "isolation_level": IsolationLevel.REPEATABLE_READ,
        "options": r"-c default_transaction_isolation=repeatable\ read",
    }


def _postgres_options() -> dict[str, Any]:
    if VARIANT == "repeatable_read":
        return repeatable_read()
    if VARIANT == "pool":
        return {"pool": {"min_size": 1, "max_size": POOLED, "timeout": 20}}
    return {}


def queue(database: str, engine: str, **worker: Any) -> dict[str, Any]:
    """Return an alias of DATAQUEUE whose queue is in `database`; `worker` are further WORKER settings."""
    if VARIANT == "pgbouncer" and "postgresql" in engine:
        worker = {"PREPARED_STATEMENTS": False, "LISTEN": False, **worker}
    found = {"BACKEND": ORM_STORE, "OPTIONS": {"DATABASE": database}, "WORKER": worker}
    # With the queue kept apart, the tests' own transactions are elsewhere, and that is as meant.
    return {**found, "OUTSIDE_TRANSACTION": "allow"} if VARIANT == "separate" else found


def declared(alias: str, **worker: Any) -> dict[str, Any]:
    """Return DATAQUEUE with one of the tests' queues alone, and these WORKER settings."""
    from django.conf import settings

    return {alias: queue(alias, str(settings.DATABASES[alias]["ENGINE"]), **worker)}
