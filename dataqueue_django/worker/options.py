"""What a worker is to work on: the options of `create_processor` and of the command, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ..conf import WorkerSettings
from ..domain.options import key as checked_key
from ..domain.options import name as checked_name
from ..exceptions import ConfigurationError, InvalidJob, or_known, shown
from ..handlers import Registry

MOST_SLOTS, MOST_CLAIMED, MOST_JOBS = 10_000, 1_000, 1_000_000_000
SHORTEST_POLL, LONGEST_POLL = 0.001, 3600.0
LONGEST_LABEL = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessorOptions:
    """What one worker works on. None takes the alias' setting; no names mean all queues and all known job types.

    It works until it is stopped; with `burst` until nothing is left to do, with `max_jobs` until it has worked on so
    many, with `once` until the first batch it claims has ended. One that is not `patient` gives up when it cannot reach
    its store before its first claim was answered. One that `isolate`s runs every handler in a child process. It begins
    no job of a group of which `group_concurrency` jobs run, on whatever worker, and none of `exclude_groups`.
    """

    worker_id: str | None = None
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    group_concurrency: int | None = None
    concurrency: int | None = None
    batch_size: int | None = None
    poll_interval: float | None = None
    burst: bool = False
    once: bool = False
    max_jobs: int | None = None
    patient: bool = True
    isolate: bool | None = None

    @property
    def is_burst(self) -> bool:
        """Whether the worker ends when nothing is left to do."""
        return self.burst or self.once

    def over(self, settings: WorkerSettings) -> WorkerSettings:
        """Return the alias' settings with what these options say instead."""
        return settings if self.isolate is None else replace(settings, isolate=self.isolate)


GIVEN = (
    "worker_id",
    "queues",
    "exclude_queues",
    "job_types",
    "exclude_groups",
    "group_concurrency",
    "batch_size",
    "concurrency",
    "poll_interval",
    "isolate",
    "on_error",
)
"""The options of `create_processor`."""


Say = Callable[[str], str]
"""Spells an option's name for whoever gave it."""


def options_from(given: Mapping[str, Any], say: Say = str) -> ProcessorOptions:
    """Return the options that `create_processor` or the command was given, without `on_error`.

    Raises ConfigurationError for an unknown name, naming the nearest, and for a value out of range.
    """
    for option in given:
        if option not in GIVEN:
            known = or_known(option, GIVEN, len(GIVEN))
            raise ConfigurationError(f"create_processor() got the unknown option {option!r}.{known}")
    on_error = given.get("on_error")
    if on_error is not None and not callable(on_error):
        raise ConfigurationError(f"on_error is {shown(on_error)}; expected a function of one argument.")
    rest = {option: value for option, value in given.items() if option != "on_error" and value is not None}
    options = ProcessorOptions(**{option: READ[option](say(option), value) for option, value in rest.items()})
    if options.queues and set(options.queues) <= set(options.exclude_queues):
        raise ConfigurationError(f"{say('exclude_queues')} leaves none of the {say('queues')}.")
    return options


def check_job_types(wanted: Iterable[str], handlers: Registry, say: Say = str) -> None:
    """Raise ConfigurationError for the first job type that no handler is registered for."""
    known = handlers.types()
    for job_type in wanted:
        if job_type not in known:
            hint = or_known(job_type, known)
            raise ConfigurationError(f"{say('job_types')}: unknown job type {shown(job_type)}.{hint}")


def names(option: str, value: Any) -> tuple[str, ...]:
    """Return the names of queues or job types, given as an iterable or one by itself."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        raise ConfigurationError(f"{option} is {shown(value)}; expected a list of names.")
    try:
        return tuple(checked_name(option, one) for one in value)
    except InvalidJob as why:
        raise ConfigurationError(str(why)) from None


def groups(option: str, value: Any) -> tuple[str, ...]:
    """Return the ids of groups, given as an iterable or one by itself."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
        raise ConfigurationError(f"{option} is {shown(value)}; expected a list of ids of groups.")
    try:
        found = [checked_key(option, one) for one in value]
    except InvalidJob as why:
        raise ConfigurationError(str(why)) from None
    if None in found:
        raise ConfigurationError(f"{option} holds None; expected ids of groups, which are strings.")
    return tuple(one for one in found if one is not None)


def label(option: str, value: Any) -> str:
    """Return what a worker is to be called."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value.strip()) <= LONGEST_LABEL:
        raise ConfigurationError(f"{option} is {shown(value)}; expected 1 to {LONGEST_LABEL} printable characters.")
    return value


def whole(most: int) -> Callable[[str, Any], int]:
    """Return a reader of whole numbers from 1 to `most`."""

    def read(option: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ConfigurationError(f"{option} is {shown(value)}; expected a whole number from 1 to {most}.")
        return value

    return read


def seconds(option: str, value: Any, least: float = SHORTEST_POLL, most: float = LONGEST_POLL) -> float:
    """Return a duration, given in seconds or as a timedelta, in seconds."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        raise ConfigurationError(f"{option} is {shown(value)}; expected {least:g} to {most:g} seconds.")
    return float(number)


def yes_or_no(option: str, value: Any) -> bool:
    """Return a choice."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{option} is {shown(value)}; expected True or False.")
    return value


READ: Mapping[str, Callable[[str, Any], Any]] = {
    "worker_id": label,
    "queues": names,
    "exclude_queues": names,
    "job_types": names,
    "exclude_groups": groups,
    "group_concurrency": whole(MOST_JOBS),
    "batch_size": whole(MOST_CLAIMED),
    "concurrency": whole(MOST_SLOTS),
    "poll_interval": seconds,
    "isolate": yes_or_no,
    "max_jobs": whole(MOST_JOBS),
}
"""How each option is read: (its name for the reader, what was given) → its value, or ConfigurationError."""
