"""What travels with a job from where it is added to where it runs: a trace, a request's id, a tenant, a language.

Nothing does unless DATAQUEUE_CONTEXT names carriers; then each is asked at every job that is added, and at every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from . import conf
from .domain.portable import portable
from .domain.records import JSON, ClaimedJob, NewJob
from .exceptions import ConfigurationError, InvalidJob, shown

MOST_BYTES = 8192
"""Of the JSON of all carriers together: every job has it, and every claim reads it."""


class Carrier:
    """Carries one thing along; subclasses have a `name` of their own and are named in DATAQUEUE_CONTEXT.

    One instance serves all threads of a process.
    """

    name = ""
    """The key of what is carried in `Job.context`."""

    def capture(self, job: NewJob) -> JSON:
        """Return what to carry with a job that is being added, as JSON; None for nothing.

        Called by whoever adds the job; what it raises is raised there, and nothing is added.
        """
        return None

    def restore(self, carried: JSON, job: ClaimedJob) -> AbstractContextManager[object]:
        """Return the context in which the handler runs; `carried` is None where nothing was captured.

        Entered and left in the thread or task of the handler, at every attempt and after every wait. What the handler
        raises passes through it and cannot be stopped. Where it cannot be entered, the attempt fails with that error.
        """
        return nullcontext()


def captured(job: NewJob) -> JSON:
    """Return what the carriers want carried with a job; None for nothing. Raises InvalidJob for what cannot be."""
    known = carriers()
    if not known:
        return None
    found = {carrier.name: value for carrier in known if (value := carrier.capture(job)) is not None}
    if not found:
        return None
    context = portable(found, "context")
    size = len(json.dumps(context, ensure_ascii=False).encode())
    if size > MOST_BYTES:
        raise InvalidJob(f"What DATAQUEUE_CONTEXT carries has {size} bytes; expected at most {MOST_BYTES}.")
    return context


def restored(job: ClaimedJob) -> AbstractContextManager[object]:
    """Return the context in which a job's handler runs."""
    known = carriers()
    return _entered(known, job) if known else nullcontext()


@cache
def carriers() -> tuple[Carrier, ...]:
    """Return what DATAQUEUE_CONTEXT names, made once; raises ConfigurationError."""
    made = tuple(map(_made, conf.project().context))
    names = [carrier.name for carrier in made]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"DATAQUEUE_CONTEXT has two carriers of one name: {', '.join(sorted(names))}.")
    return made


@contextmanager
def _entered(known: tuple[Carrier, ...], job: ClaimedJob) -> Iterator[None]:
    context = job.context if isinstance(job.context, dict) else {}
    with ExitStack() as stack:
        for carrier in known:
            stack.enter_context(carrier.restore(context.get(carrier.name), job))
        yield


def _made(path: str) -> Carrier:
    try:
        kind = import_string(path)
    except ImportError as why:
        raise ConfigurationError(f"DATAQUEUE_CONTEXT names {shown(path)}, which cannot be imported: {why}") from None
    if not (isinstance(kind, type) and issubclass(kind, Carrier)) or not kind.name:
        raise ConfigurationError(
            f"DATAQUEUE_CONTEXT names {shown(path)}; expected a subclass of dataqueue_django.Carrier with a name."
        )
    return kind()


def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting == "DATAQUEUE_CONTEXT":
        carriers.cache_clear()


setting_changed.connect(_on_setting_changed)
