"""What the system checks want to know of the database that holds a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

from ...models import Job as JobRow

TEST_DATABASE = "file:memorydb_"
"""How the name of a database begins that Django's test runner made in memory."""

REPEATABLE_READ = 3
"""psycopg's number for it; SERIALIZABLE is the next one."""

POOL_SIZE = 4
"""psycopg_pool's own default."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a PostgreSQL server says about itself."""

    isolation: str
    synchronous_commit: str
    connections: int


def may_have_tables(database: str) -> bool:
    """Return whether the project's routers let `migrate` make the queue's tables in a database."""
    return bool(router.allow_migrate_model(database, JobRow))


def read_from() -> str:
    """Return the database from which the project's routers have the queue's models read where no store says it."""
    return str(router.db_for_read(JobRow))


def server_facts(connection: BaseDatabaseWrapper) -> ServerFacts:
    """Ask a PostgreSQL server; `connections` are those that ordinary users can have."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('default_transaction_isolation'), current_setting('synchronous_commit'), "
            "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        )
        return ServerFacts(*cursor.fetchone())


def journal_mode(connection: BaseDatabaseWrapper) -> str:
    """Return the journal mode of an SQLite database, such as "wal"."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        return str(cursor.fetchone()[0]).lower()


def in_memory(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the project put an SQLite database in memory; those of test runs do not count."""
    name = str(connection.settings_dict["NAME"])
    return bool(connection.is_in_memory_db()) and not name.startswith(TEST_DATABASE)  # type: ignore[attr-defined]


def isolates_more(level: Any) -> bool:
    """Return whether `level`, as in the OPTIONS of a PostgreSQL database, is above READ COMMITTED."""
    return isinstance(level, int) and level >= REPEATABLE_READ


def pool_size(connection: BaseDatabaseWrapper) -> int | None:
    """Return how many connections Django's pool of a PostgreSQL database opens at most; None without a pool."""
    pool = connection.settings_dict.get("OPTIONS", {}).get("pool")
    if not pool:
        return None
    options = pool if isinstance(pool, dict) else {}
    return int(options.get("max_size") or options.get("min_size", POOL_SIZE))
