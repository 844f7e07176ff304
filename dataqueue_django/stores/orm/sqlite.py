"""What SQLite needs: the write lock at the start of a transaction, WAL for several processes, ids of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ... import conf
from ...domain.admission import Candidate, merged
from ...domain.records import Claim
from ...exceptions import DataQueueError
from ...models import Job as JobRow
from .filters import claimable
from .lanes import Lane
from .portable import PortableStore

TRANSACTION_MODE = "IMMEDIATE"
BUSY_SECONDS = 20
"""How long a connection waits for the write lock where the project set no `timeout`."""

MAX_LANES = 100
"""SQLite joins at most 500 SELECTs into one; the first jobs of more lanes than this are read in several statements."""


class SqliteStore(PortableStore):
    """The portable path, every write under SQLite's one write lock."""

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction that holds the write lock from its first moment."""
        with self._immediate(), super()._write():
            yield

    @contextmanager
    def _immediate(self) -> Iterator[None]:
        """Let a transaction that begins here take the write lock.

        A deferred one that reads first and writes later fails at once when another process wrote in between, whatever
        the timeout.
        """
        connection = self.connection
        self._begin_if_autocommit_is_off()
        mode = connection.transaction_mode  # type: ignore[attr-defined]
        connection.transaction_mode = TRANSACTION_MODE  # type: ignore[attr-defined]
        try:
            yield
        finally:
            connection.transaction_mode = mode  # type: ignore[attr-defined]

    @contextmanager
    def transaction(self, *, with_users_code: bool = False) -> Iterator[None]:
        """See PortableStore.transaction. It will write, so it takes the lock at once, as `_write` does."""
        with self._immediate(), super().transaction(with_users_code=with_users_code):
            yield

    def _begin_if_autocommit_is_off(self) -> None:
        """Begin the transaction that is the caller's to end.

        Python's sqlite3 would begin it before the first write only, and without the lock: ids drawn before that could
        be drawn twice, and a savepoint, being the outermost transaction then, would commit when it is released.
        """
        connection = self.connection
        connection.ensure_connection()
        if not (connection.in_atomic_block or connection.get_autocommit() or connection.connection.in_transaction):
            with connection.cursor() as cursor:
                cursor.execute(f"BEGIN {TRANSACTION_MODE}")

    def problem(self) -> str | None:
        """See Store.problem. A worker's connections are others than the project's: each has a `:memory:` of its own."""
        if self.connection.settings_dict["NAME"] in (":memory:", ""):
            return f"The database {self.database!r} is SQLite in memory, which no worker can share; give it a file."
        return super().problem()

    def prepare(self) -> None:
        """Switch the file to write-ahead logging, unless the setting says not to."""
        if conf.settings_for(self.alias).worker.wal:
            use_wal(self.connection)

    def _draw_ids(self, count: int) -> Iterator[int]:
        """The ids AUTOINCREMENT would give: nobody else can draw any while the write lock is held."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [JobRow._meta.db_table])
            row = cursor.fetchone()
        last = row[0] if row else 0
        return iter(range(last + 1, last + 1 + count))

    def _add_rows(self, model: type[models.Model], given: Sequence[Mapping[str, Any]]) -> None:
        """See PortableStore. One prepared statement runs for every row.

        bulk_create makes an object of each and a text of all their placeholders, and takes five times as long.
        """
        if not given:
            return
        connection, names = self.connection, list(given[0])
        fields: list[tuple[str, Any]] = [(name, model._meta.get_field(name)) for name in names]
        columns, marks = ", ".join(names), ", ".join(["%s"] * len(names))
        prepared = [[field.get_db_prep_save(row[name], connection) for name, field in fields] for row in given]
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({marks})", prepared)

    def _pick(self, claim: Claim, lanes: Sequence[Lane]) -> list[int]:
        if claim.ids:
            return self._pick_named(claim, lanes)
        rows = self._heads([(lane.queue, lane.job_type, None) for lane in lanes], claim, claim.limit)
        return [candidate.id for candidate in islice(merged(rows), claim.limit)]

    def _pick_named(self, claim: Claim, lanes: Sequence[Lane]) -> list[int]:
        ordered = claimable(self._jobs(), claim).order_by("-priority", "position", "ready_at", "id")
        found = ordered.values_list("id", "queue", "job_type")
        return [id for id, queue, job_type in found if Lane(queue, job_type) in lanes][: claim.limit]

    def _heads(self, rows: Sequence[tuple[str, str, str | None]], claim: Claim, limit: int) -> list[list[Candidate]]:
        found: list[list[Candidate]] = [[] for _ in rows]
        for first in range(0, len(rows), MAX_LANES):
            text, params = _heads_of(rows[first : first + MAX_LANES], claim, limit)
            with self.connection.cursor() as cursor:
                cursor.execute(text, params)
                for n, *candidate in cursor.fetchall():
                    found[first + n].append(Candidate(*candidate))
        return found


def _heads_of(rows: Sequence[tuple[str, str, str | None]], claim: Claim, limit: int) -> tuple[str, list[Any]]:
    """The statement that reads the first jobs of each (queue, job type, group), with its parameters."""
    crash = "" if claim.crashed is None else f"AND crash_count {'>' if claim.crashed else '='} 0"
    parts, params = [], []
    for n, (queue, job_type, group_id) in enumerate(rows):
        parts.append(
            "SELECT * FROM (SELECT %s AS n, id, queue, job_type, group_id, priority, position, ready_at "
            "FROM dataqueue_job WHERE stage = 'claimable' AND queue = %s AND job_type = %s "
            f"AND group_id {'IS NULL' if group_id is None else '= %s'} {crash} "
            "ORDER BY priority DESC, position, ready_at, id LIMIT %s)"
        )
        params += [n, queue, job_type, *([] if group_id is None else [group_id]), limit]
    return " UNION ALL ".join(parts), params


def use_wal(connection: BaseDatabaseWrapper) -> str:
    """Switch the file to write-ahead logging, so that readers and one writer do not stop each other.

    Returns the journal mode the file has afterwards; "memory" and network files keep theirs.
    """
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = WAL")
        return str(cursor.fetchone()[0])


def watch_connections() -> None:
    """Prepare each new SQLite connection to a queue's database."""
    connection_created.connect(_prepare, dispatch_uid="dataqueue_django.sqlite")


def _prepare(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Begin transactions IMMEDIATE and wait for the lock, unless the project chose otherwise.

    With Django's stock settings a user's transaction that reads and then enqueues fails "database is locked" as soon as
    a worker writes beside it.
    """
    if connection.vendor != "sqlite" or not _holds_queue(connection.alias):
        return
    chosen = connection.settings_dict.get("OPTIONS", {})
    if "transaction_mode" not in chosen:
        connection.transaction_mode = TRANSACTION_MODE  # type: ignore[attr-defined]
        # And in its settings: whoever asks for its parameters, as Sentry does at each query, sets the mode from them.
        # In place: all threads' connections share them, and Django's parallel tests rename the database there.
        connection.settings_dict["OPTIONS"] = {**chosen, "transaction_mode": TRANSACTION_MODE}
    if "timeout" not in chosen and "init_command" not in chosen:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _holds_queue(database: str) -> bool:
    try:
        return database in conf.queue_databases()
    except DataQueueError:  # reported by the system checks
        return False
