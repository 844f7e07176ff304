"""Checks of the DATAQUEUE setting and of the entries of DATABASES that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .. import conf
from ..carrying import carriers
from ..exceptions import DataQueueError
from ..stores import stores
from ..stores.orm.facts import in_memory, isolates_more, may_have_tables, pool_size, read_from

PGBOUNCER_PORT = "6432"
SHORTEST_SECRET = 16
SHORTEST_TIMEOUT = 5
WAITING_MODES = ("IMMEDIATE", "EXCLUSIVE")


@register("dataqueue")
def check_time_zones(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse USE_TZ = False: the queue stores moments, not local times."""
    if settings.USE_TZ:
        return []
    return [Error("dataqueue_django needs USE_TZ = True.", hint="Set USE_TZ = True.", id="dataqueue.E002")]


@register("dataqueue")
def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report the first mistake in each alias of the DATAQUEUE setting, its store included."""
    try:
        aliases = conf.aliases()
    except DataQueueError as why:
        return [Error(str(why), id="dataqueue.E001")]
    return [Error(problem, id="dataqueue.E001") for problem in map(_problem, aliases) if problem]


@register("dataqueue")
def check_project_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report the first mistake in the settings beside DATAQUEUE, and what of them is not fit for a live site."""
    try:
        project = conf.project()
        carriers()
    except DataQueueError as why:
        return [Error(str(why), id="dataqueue.E005")]
    messages: list[CheckMessage] = []
    if 0 < len(project.cron_secret.strip()) < SHORTEST_SECRET:
        messages.append(
            Warning(
                f"DATAQUEUE_CRON_SECRET has fewer than {SHORTEST_SECRET} characters: it can be guessed.",
                hint='Make one with `python -c "import secrets; print(secrets.token_urlsafe())"`.',
                id="dataqueue.W020",
            )
        )
    if project.runserver and not settings.DEBUG:
        messages.append(
            Warning(
                "DATAQUEUE_RUNSERVER is on with DEBUG = False: it is for development, and no other server heeds it.",
                hint="Set DATAQUEUE_RUNSERVER = DEBUG, and run `manage.py dataqueue_worker` on the server.",
                id="dataqueue.W021",
            )
        )
    return messages


@register("dataqueue")
def check_routers(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse database routers that keep the queue's tables, or the admin's reading of them, somewhere else."""
    return [message for alias in usable_aliases() for message in _misrouted(alias)]


@register("dataqueue")
def check_transactions(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn that jobs in another database than the project's data are not part of its transactions."""
    return [message for alias in usable_aliases() for message in _not_atomic(alias)]


@register("dataqueue")
def check_connections(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn of connection options that a queue suffers from."""
    by_vendor = {"sqlite": _sqlite, "postgresql": _postgres}
    messages: list[CheckMessage] = []
    for alias in usable_aliases():
        connection = connections[database_of(alias)]
        messages += by_vendor[connection.vendor](alias, connection)
    return messages


def usable_aliases() -> list[str]:
    """Return the aliases with an ORM store whose settings have no mistake."""
    try:
        return [a for a in conf.aliases() if _problem(a) is None and conf.settings_for(a).database is not None]
    except DataQueueError:
        return []


def database_of(alias: str) -> str:
    """Return the entry of DATABASES that holds the queue of an alias that has an ORM store."""
    return conf.settings_for(alias).database or DEFAULT_DB_ALIAS


def _problem(alias: str) -> str | None:
    try:
        _ = stores[alias]
    except DataQueueError as why:
        return str(why)
    return None


def _misrouted(alias: str) -> Iterator[CheckMessage]:
    database = database_of(alias)
    hint = 'Put "dataqueue_django.routers.QueueRouter" first in DATABASE_ROUTERS.'
    if not may_have_tables(database):
        text = f"DATABASE_ROUTERS keep the queue's tables out of {database!r}, where DATAQUEUE[{alias!r}] has them."
        yield Error(text, hint=hint, id="dataqueue.E003")
    elif alias == usable_aliases()[0] and (other := read_from()) not in conf.queue_databases():
        text = f"The queue's models are read from {other!r}, but DATAQUEUE[{alias!r}] has its tables in {database!r}."
        yield Error(text, hint=hint, id="dataqueue.E003")


def _not_atomic(alias: str) -> Iterator[CheckMessage]:
    database, chosen = database_of(alias), conf.settings_for(alias).outside_transaction
    if database == DEFAULT_DB_ALIAS or chosen is not None:
        return
    requests = connections.settings[DEFAULT_DB_ALIAS].get("ATOMIC_REQUESTS")
    every = f", which ATOMIC_REQUESTS begins for every request on {DEFAULT_DB_ALIAS!r}" if requests else ""
    yield Warning(
        f"Jobs of DATAQUEUE[{alias!r}] are stored in {database!r}: adding one is not part of a transaction on another "
        f"database{every}.",
        hint=f'Say what adding one there shall do: DATAQUEUE[{alias!r}]["OUTSIDE_TRANSACTION"] = "refuse", "warn" (so '
        'it is now) or "allow".',
        id="dataqueue.W010",
    )


def _sqlite(alias: str, connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    database, given = connection.alias, connection.settings_dict.get("OPTIONS", {})
    options = f'DATABASES[{database!r}]["OPTIONS"]'
    if "transaction_mode" in given and str(given["transaction_mode"]).upper() not in WAITING_MODES:
        yield Warning(
            f"Transactions on the SQLite database {database!r} begin {given['transaction_mode'] or 'DEFERRED'}: one "
            'that reads first and writes later fails with "database is locked" if a worker has written in between.',
            hint=f'Set {options}["transaction_mode"] = "IMMEDIATE", or leave it out.',
            id="dataqueue.W001",
        )
    timeout = given.get("timeout")
    if isinstance(timeout, int | float) and timeout < SHORTEST_TIMEOUT:
        yield Warning(
            f"Connections to the SQLite database {database!r} wait only {timeout:g} s for the write lock.",
            hint=f'Set {options}["timeout"] = 20, or leave it out.',
            id="dataqueue.W002",
        )
    if in_memory(connection):
        yield Warning(
            f"The SQLite database {database!r} is in memory: a worker process cannot see the jobs of another process.",
            hint=f'Set DATABASES[{database!r}]["NAME"] = BASE_DIR / "db.sqlite3".',
            id="dataqueue.W004",
        )


def _postgres(alias: str, connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    database, given = connection.alias, connection.settings_dict
    worker = conf.settings_for(alias).worker
    pooled = given.get("DISABLE_SERVER_SIDE_CURSORS") or str(given.get("PORT")) == PGBOUNCER_PORT
    if pooled and (worker.listen or worker.prepared_statements):
        yield Warning(
            f"The database {database!r} seems to be reached through PgBouncer, where LISTEN and prepared statements "
            "work only in session mode.",
            hint=f'Set DATAQUEUE[{alias!r}]["WORKER"] = {{"LISTEN": False, "PREPARED_STATEMENTS": False}}.',
            id="dataqueue.W005",
        )
    if isolates_more(given.get("OPTIONS", {}).get("isolation_level")):
        yield too_isolated(database, f'Leave out DATABASES[{database!r}]["OPTIONS"]["isolation_level"].')
    size = pool_size(connection)
    if size is not None and worker.concurrency > size:
        yield Warning(
            f"A worker of DATAQUEUE[{alias!r}] runs {worker.concurrency} jobs at once, but the pool of {database!r} "
            f"has {size} connections: {worker.concurrency - size} handlers would wait for one.",
            hint=f'Set DATABASES[{database!r}]["OPTIONS"]["pool"] = {{"max_size": {worker.concurrency}}}.',
            id="dataqueue.W008",
        )


def too_isolated(database: str, hint: str) -> CheckMessage:
    """Return the warning about transactions at REPEATABLE READ or SERIALIZABLE."""
    return Warning(
        f"Transactions on {database!r} are isolated more than READ COMMITTED: adding a job whose idempotency key was "
        "taken after the transaction began raises a serialization error.",
        hint=hint,
        id="dataqueue.W006",
    )
