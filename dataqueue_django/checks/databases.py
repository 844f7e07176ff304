"""Checks that read the databases which hold queues; each says nothing where its tables are not there yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import Error, connections

from .. import conf
from ..domain.backlog import Obstacle, Unserved
from ..domain.records import Kind
from ..queue import JobQueue, get_queue
from ..stores.orm.facts import journal_mode, pool_size, server_facts
from .settings import database_of, too_isolated, usable_aliases

WAITED = 60.0
"""Seconds that jobs may wait for a worker before it is worth a word: deployments stop workers for a moment."""

OWN_CONNECTIONS = 2
"""What a worker process opens beside those of its handlers."""

SHOWN = 5

Look = Callable[[JobQueue], Iterator[CheckMessage]]


@register("dataqueue", Tags.database)
def check_waiting_jobs(app_configs: Any, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Warn of jobs that have been ready for a minute and that no live worker will take."""
    return _look(databases, _waiting_jobs)


@register("dataqueue", Tags.database)
def check_databases(app_configs: Any, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Warn of what the database itself is set to."""
    return [*_look(databases, _sqlite, "sqlite"), *_look(databases, _postgres, "postgresql")]


def _look(databases: Collection[str] | None, look: Look, vendor: str | None = None) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for alias in usable_aliases():
        database = database_of(alias)
        if database in (databases or ()) and vendor in (None, connections[database].vendor):
            queue = get_queue(alias)
            try:
                messages += () if queue.store.problem() else look(queue)
            except Error:
                continue  # a database that is away, or whose schema is another version's, has other worries
    return messages


def _waiting_jobs(queue: JobQueue) -> Iterator[CheckMessage]:
    found = [one for one in queue.get_unserved_jobs() if one.backlog.waited >= WAITED]
    idle = [one for one in found if one.obstacle is not Obstacle.NO_WORKER_KNOWS_TYPE]
    unknown = [one for one in found if one.obstacle is Obstacle.NO_WORKER_KNOWS_TYPE]
    option = "" if queue.alias == conf.DEFAULT_ALIAS else f" --alias {queue.alias}"
    if idle:
        yield Warning(
            f"{_ready(idle)} in DATAQUEUE[{queue.alias!r}], and no worker is running that takes them "
            f"({_names(one.backlog.queue for one in idle)}).",
            hint=f"Run `manage.py dataqueue_worker{option}`.",
            id="dataqueue.W012",
        )
    if unknown:
        yield Warning(
            f"{_ready(unknown)} in DATAQUEUE[{queue.alias!r}], and no running worker knows their job types "
            f"({_names(one.backlog.job_type for one in unknown)}).",
            hint=_cure(queue, {one.backlog.job_type for one in unknown}),
            id="dataqueue.W013",
        )


def _cure(queue: JobQueue, job_types: set[str]) -> str:
    if job_types <= set(queue.handlers.types()):
        return "This code has handlers for them: restart the workers, so that they run it, too."
    return "Put their handlers into an app's jobs.py, or import the module from there, and restart the workers."


def _ready(found: list[Unserved]) -> str:
    number = sum(one.backlog.ready for one in found)
    oldest = max(one.backlog.waited for one in found)
    jobs = "1 job has" if number == 1 else f"{number} jobs have"
    return f"{jobs} been ready for up to {oldest / 60:.0f} min"


def _names(given: Iterator[str]) -> str:
    names = sorted(set(given))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _sqlite(queue: JobQueue) -> Iterator[CheckMessage]:
    database = database_of(queue.alias)
    mode = journal_mode(connections[database])
    if mode in ("wal", "memory") or (queue.settings.worker.wal and not queue.store.find(Kind.WORKER)):
        return  # the first worker will see to it
    line = f'DATABASES[{database!r}]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA busy_timeout=20000;"'
    refused = "" if not queue.settings.worker.wal else " A file on a network share cannot; move it to a local disk."
    yield Warning(
        f"The SQLite database {database!r} is in journal mode {mode!r}: every write of a worker keeps all readers out.",
        hint=f'Set {line}, or leave out "WAL": False in DATAQUEUE[{queue.alias!r}]["WORKER"].{refused}',
        id="dataqueue.W003",
    )


def _postgres(queue: JobQueue) -> Iterator[CheckMessage]:
    database = database_of(queue.alias)
    facts = server_facts(connections[database])
    if facts.isolation not in ("read committed", "read uncommitted"):
        hint = "Set default_transaction_isolation = 'read committed' for this database or this user."
        yield too_isolated(database, hint)
    if facts.synchronous_commit == "off":
        yield Warning(
            f"synchronous_commit is off in {database!r}: jobs of the last moments are lost when the server crashes, "
            "although adding them had succeeded.",
            hint="Set synchronous_commit = on for this database or this user.",
            id="dataqueue.W007",
        )
    yield from _too_many_connections(queue, facts.connections)


def _too_many_connections(queue: JobQueue, allowed: int) -> Iterator[CheckMessage]:
    database = database_of(queue.alias)
    workers = queue.get_live_workers()
    need = sum(worker.concurrency + OWN_CONNECTIONS for worker in workers)
    pool = pool_size(connections[database]) or 1
    if need + pool <= allowed:
        return
    yield Warning(
        f"The server of {database!r} allows {allowed} connections, but {len(workers)} worker processes use up to "
        f"{need} (concurrency + {OWN_CONNECTIONS} each) and every other process up to {pool}: {need + pool} with only "
        "one of those.",
        hint="Lower CONCURRENCY, the number of workers or the pool's max_size, or raise max_connections.",
        id="dataqueue.W009",
    )
