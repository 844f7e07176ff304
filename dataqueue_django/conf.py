"""The DATAQUEUE setting, read into frozen values. An unknown key is an error that names the nearest one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from .domain.options import JobOptions, as_defaults
from .domain.transitions import CRASH_LIMIT
from .exceptions import ConfigurationError, InvalidJob, did_you_mean, shown

DEFAULT_ALIAS = "default"
ORM_STORE = "dataqueue_django.stores.orm.OrmStore"
DEFAULT: Mapping[str, Mapping[str, Any]] = {DEFAULT_ALIAS: {"BACKEND": ORM_STORE, "OPTIONS": {"DATABASE": "default"}}}


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """How workers of one alias behave; seconds throughout. `poll_interval` None is automatic (5 s listening, else 1 s).
    With `job_logs` the records that handlers log, from INFO on, are kept with their jobs. `isolate` runs every handler
    in a child process, `isolate_queues` those of these queues; a child runs `isolate_jobs` jobs, with at most
    `isolate_memory` MiB of address space, and `isolate_cpu` seconds of CPU time for each job. A handler that somebody
    asked to stop has `cancel_grace` seconds to do so.

    The names in the setting are these in upper case.
    """

    concurrency: int = 3
    batch_size: int | None = None
    poll_interval: float | None = None
    heartbeat: float = 5.0
    lease: float = 30.0
    reap_every: float = 10.0
    drain: float = 30.0
    hold: float = 1.0
    wedged_after: float = 60.0
    cancel_grace: float = 5.0
    crash_limit: int = CRASH_LIMIT
    prepared_statements: bool = True
    listen: bool = True
    wal: bool = True
    job_logs: bool = True
    isolate: bool = False
    isolate_queues: tuple[str, ...] = ()
    isolate_jobs: int = 10_000
    isolate_memory: int | None = None
    isolate_cpu: float | None = None

    def isolates(self, queue: str) -> bool:
        """Return whether all handlers of a queue run in child processes."""
        return self.isolate or queue in self.isolate_queues


LEAST: Mapping[str, float] = {
    "concurrency": 1,
    "batch_size": 1,
    "crash_limit": 1,
    "poll_interval": 0.001,
    "heartbeat": 0.05,
    "lease": 0.5,
    "reap_every": 0.05,
    "hold": 0.05,
    "drain": 0,
    "wedged_after": 0.1,
    "cancel_grace": 0,
    "isolate_jobs": 1,
    "isolate_memory": 64,
    "isolate_cpu": 0.1,
    "workers": 0.01,
    "completed": 0.01,
    "cancelled": 0.01,
    "failed": 0.01,
    "events": 0.01,
    "logs": 0.01,
    "ticks": 0.01,
    "cron_seconds": 1,
    "stats_minutes": 0.25,
    "stats_hours": 8,
    "stats_days": 30,
    "gauges": 0.01,
}
"""The smallest value each number may have; those in WHOLE are whole numbers."""

WHOLE = frozenset({"concurrency", "batch_size", "crash_limit", "isolate_jobs", "isolate_memory"})
MOST = 10_000_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionSettings:
    """For how many days rows are kept; None keeps them for ever.

    `completed`, `cancelled` and `failed` are jobs that have ended so, `events` and `logs` the events and log lines of
    jobs that have ended, `ticks` those of schedules, `workers` the rows of workers that are gone. `stats_minutes`,
    `stats_hours` and `stats_days` are statistics by the minute, hour and day, `gauges` how many jobs there were in each
    minute. Failures need people, so they stay unless a project says otherwise. `@job(keep_for=...)` outranks it for one
    job type.
    """

    workers: float | None = 1
    completed: float | None = 30
    cancelled: float | None = 30
    failed: float | None = None
    events: float | None = 30
    logs: float | None = 30
    ticks: float | None = 90
    stats_minutes: float | None = 2
    stats_hours: float | None = 90
    stats_days: float | None = None
    gauges: float | None = 7


class Outside(StrEnum):
    """What to do with a job that is added inside a transaction on another database, which cannot cover it."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasSettings:
    """Everything the setting says about one alias."""

    backend: str = ORM_STORE
    options: Mapping[str, Any] = field(default_factory=dict)
    job_defaults: JobOptions = field(default_factory=JobOptions)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    schedules: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    outside_transaction: Outside | None = None

    @property
    def database(self) -> str | None:
        """The entry of DATABASES that holds the queue; None for a store that is not the ORM's."""
        return self.options.get("DATABASE", DEFAULT_DB_ALIAS) if self.backend == ORM_STORE else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectSettings:
    """What the project says once for all aliases; each is a setting of its own, with `DATAQUEUE_` in front.

    `cron_secret` opens the endpoints that somebody's cron calls, none when it is empty; one call works for at most
    `cron_seconds`. `context` are dotted paths of what is carried from where a job is added to where it runs. With
    `runserver` the development server runs jobs, too.
    """

    cron_secret: str = ""
    cron_seconds: float = 25.0
    context: tuple[str, ...] = ()
    runserver: bool = False


KEYS = ("BACKEND", "OPTIONS", "JOB_DEFAULTS", "WORKER", "RETENTION", "SCHEDULES", "STRICT", "OUTSIDE_TRANSACTION")


def aliases() -> list[str]:
    """Return the aliases that the setting declares."""
    return list(_setting())


def home_alias() -> str:
    """Return the alias that is meant where none is named: the default one, or the first if none has that name."""
    names = aliases()
    return DEFAULT_ALIAS if DEFAULT_ALIAS in names else names[0]


def home_database() -> str:
    """Return the database of `home_alias`."""
    return settings_for(home_alias()).database or "default"


@cache
def settings_for(alias: str) -> AliasSettings:
    """Return the settings of `alias`; raises ConfigurationError naming the key that is wrong."""
    declared = _setting()
    if alias not in declared:
        raise ConfigurationError(f"DATAQUEUE has no alias {alias!r}.{did_you_mean(alias, declared)}")
    return read(declared[alias], f"DATAQUEUE[{alias!r}]")


def read(raw: Any, where: str) -> AliasSettings:
    """Return one alias' settings from its mapping."""
    _check_mapping(raw, where, KEYS)
    return AliasSettings(
        backend=_typed(raw.get("BACKEND", ORM_STORE), str, f"{where}['BACKEND']"),
        options=dict(_typed(raw.get("OPTIONS", {}), Mapping, f"{where}['OPTIONS']")),
        job_defaults=_job_defaults(raw.get("JOB_DEFAULTS", {}), f"{where}['JOB_DEFAULTS']"),
        worker=_worker(raw.get("WORKER", {}), f"{where}['WORKER']"),
        retention=_section(RetentionSettings, raw.get("RETENTION", {}), f"{where}['RETENTION']"),
        schedules=dict(_typed(raw.get("SCHEDULES", {}), Mapping, f"{where}['SCHEDULES']")),
        strict=_typed(raw.get("STRICT", False), bool, f"{where}['STRICT']"),
        outside_transaction=_outside(raw.get("OUTSIDE_TRANSACTION"), f"{where}['OUTSIDE_TRANSACTION']"),
    )


@cache
def project() -> ProjectSettings:
    """Return the settings beside DATAQUEUE; raises ConfigurationError naming the one that is wrong."""
    given: dict[str, Any] = {}
    for known in fields(ProjectSettings):
        name = f"DATAQUEUE_{known.name.upper()}"
        value = getattr(django_settings, name, known.default)
        if expected := _expected(known, value):
            raise ConfigurationError(f"{name} is {_hidden(name, value)}; expected {expected}.")
        given[known.name] = tuple(value) if isinstance(value, list) else value
    return ProjectSettings(**given)


def _hidden(name: str, value: Any) -> str:
    """Show a value that is wrong, unless it may be a secret."""
    return f"a {type(value).__name__}" if name.endswith("SECRET") else shown(value)


def _setting() -> Mapping[str, Any]:
    declared = getattr(django_settings, "DATAQUEUE", DEFAULT)
    return _typed(declared, Mapping, "DATAQUEUE")  # type: ignore[no-any-return]


def _worker(raw: Any, where: str) -> WorkerSettings:
    worker: WorkerSettings = _section(WorkerSettings, raw, where)
    if worker.heartbeat > worker.lease / 2:
        raise ConfigurationError(f"{where}: HEARTBEAT must be at most half of LEASE.")
    if worker.reap_every > worker.lease:
        raise ConfigurationError(f"{where}: REAP_EVERY must not exceed LEASE.")
    return worker


def _outside(raw: Any, where: str) -> Outside | None:
    if raw is None or raw in list(Outside):
        return None if raw is None else Outside(raw)
    words = [word.value for word in Outside]
    near = did_you_mean(raw, words)
    raise ConfigurationError(f"{where} is {shown(raw)}; expected one of {', '.join(map(repr, words))}.{near}")


def _job_defaults(raw: Any, where: str) -> JobOptions:
    names = [f.name.upper() for f in fields(JobOptions)]
    _check_mapping(raw, where, names)
    options = JobOptions(**{name.lower(): value for name, value in raw.items()})
    try:
        return as_defaults(options)
    except InvalidJob as why:
        raise ConfigurationError(f"{where}: {why}") from None


def _section(kind: type[Any], raw: Any, where: str) -> Any:
    """Return `kind` filled from upper-case keys, each value of the type of its default."""
    known = {f.name.upper(): f for f in fields(kind)}
    _check_mapping(raw, where, list(known))
    for name, value in raw.items():
        expected = _expected(known[name], value)
        if expected:
            raise ConfigurationError(f"{where}[{name!r}] is {shown(value)}; expected {expected}.")
    return kind(**{known[name].name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})


def _expected(known: Field[Any], value: Any) -> str | None:
    """Return what a setting should have been, or None when it is fine."""
    if isinstance(known.default, bool):
        return None if isinstance(value, bool) else "True or False"
    if isinstance(known.default, str):
        return None if isinstance(value, str) else "a string"
    if isinstance(known.default, tuple):
        is_list = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        return None if is_list else "a list of names"
    if value is None and "None" in str(known.type):
        return None
    kinds: Any = int if known.name in WHOLE else int | float
    least = LEAST[known.name]
    if isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= MOST:
        return None
    return f"a {'whole ' if known.name in WHOLE else ''}number of at least {least:g}"


def _check_mapping(raw: Any, where: str, known: Any) -> None:
    _typed(raw, Mapping, where)
    for name in raw:
        if name not in known:
            raise ConfigurationError(f"{where} has the unknown key {name!r}.{did_you_mean(name, known)}")


def _typed(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, kind):
        names = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in names)
        raise ConfigurationError(f"{where} is {shown(value)}; expected a {expected}.")
    return value


def queue_databases() -> set[str]:
    """Return the database aliases that hold a queue."""
    return {home for alias in aliases() if (home := settings_for(alias).database) is not None}


def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting == "DATAQUEUE":
        settings_for.cache_clear()
    elif setting.startswith("DATAQUEUE_"):
        project.cache_clear()


setting_changed.connect(_on_setting_changed)
