"""Which function runs which job type. Filled when each app's `jobs.py` is imported; never by a name from job data."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..domain.options import JobOptions, name, seconds
from ..domain.records import JobStatus
from ..domain.retention import LONGEST, OwnTimes
from ..exceptions import ConfigurationError, InvalidJob, did_you_mean, shown
from .fitting import Shape, shape_of

BackoffRule = Callable[[BaseException, int], "float | timedelta | None"]
"""(exception, attempt) → the delay before the next attempt, or None for the job's own rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler:
    """A function, how it wants to be called, and how its failures are judged.

    Only exceptions in `retry_on` are retried when it is given; those in `give_up_on` never are. Its jobs that have
    completed or were cancelled are kept for `keep_for` seconds, those that failed for good for `keep_failed_for`; None
    is as the alias' RETENTION says. `schedule` is what its
    declaration says about when it runs by itself.
    """

    job_type: str
    function: Callable[..., Any]
    shape: Shape
    options: JobOptions = field(default_factory=JobOptions)
    retry_on: tuple[type[BaseException], ...] = ()
    give_up_on: tuple[type[BaseException], ...] = ()
    backoff: BackoffRule | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)
    keep_for: float | None = None
    keep_failed_for: float | None = None

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def isolates(self) -> bool:
        """Whether its jobs run in a process of their own, whatever was said when they were added."""
        return bool(self.options.isolate or self.options.force_kill_on_timeout)

    @property
    def where(self) -> str:
        """The dotted name of the function, for messages."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


class Registry:
    """The handlers by job type."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(self, handler: Handler) -> None:
        """Add a handler; the same function again replaces itself.

        Raises ConfigurationError naming both functions when another one has the job type.
        """
        known = self._handlers.get(handler.job_type)
        if known is not None and _origin(known.function) != _origin(handler.function):
            raise ConfigurationError(
                f"Two handlers have the job type {handler.job_type!r}: {known.where} and {handler.where}; "
                f'give one of them its own name, as in @job("app.{handler.job_type}").'
            )
        self._handlers[handler.job_type] = handler

    def get(self, job_type: object) -> Handler | None:
        """Return the handler of `job_type`, or None."""
        return self._handlers.get(job_type) if isinstance(job_type, str) else None

    def known(self, job_type: object) -> Handler:
        """Return the handler of `job_type`; raises InvalidJob naming the nearest known type."""
        handler = self.get(job_type)
        if handler is None:
            raise InvalidJob(
                f"No handler is registered for the job type {shown(job_type)}.{did_you_mean(job_type, self._handlers)}"
            )
        return handler

    def types(self) -> tuple[str, ...]:
        """Return the known job types in alphabetical order."""
        return tuple(sorted(self._handlers))

    def own_times(self) -> OwnTimes:
        """Return for how long the jobs of some types are kept, where that is not left to the alias' setting."""
        kept = {one.job_type: one.keep_for for one in self if one.keep_for is not None}
        failed = {one.job_type: one.keep_failed_for for one in self if one.keep_failed_for is not None}
        return {JobStatus.COMPLETED: kept, JobStatus.CANCELLED: kept, JobStatus.FAILED: failed}

    def remove(self, job_type: str) -> None:
        """Forget the handler of `job_type`, if there is one."""
        self._handlers.pop(job_type, None)

    def __iter__(self) -> Iterator[Handler]:
        return iter(list(self._handlers.values()))


registry = Registry()


def make_handler(
    function: Callable[..., Any],
    *,
    job_type: str | None = None,
    takes_context: bool = False,
    options: JobOptions | None = None,
    retry_on: tuple[type[BaseException], ...] = (),
    give_up_on: tuple[type[BaseException], ...] = (),
    backoff: BackoffRule | None = None,
    schedule: Mapping[str, Any] | None = None,
    keep_for: float | timedelta | None = None,
    keep_failed_for: float | timedelta | None = None,
) -> Handler:
    """Return the handler that `@job` describes; raises ConfigurationError for anything that could not run."""
    _check_function(function)
    if not isinstance(takes_context, bool):
        raise ConfigurationError(f"@job got takes_context={shown(takes_context)}; expected True or False.")
    if backoff is not None and not callable(backoff):
        raise ConfigurationError(
            f"@job got backoff={shown(backoff)}; expected a function (exception, attempt) → delay."
        )
    try:
        word = name("job_type", job_type if job_type is not None else function.__name__)
    except InvalidJob as why:
        raise ConfigurationError(f"@job on {function.__qualname__}: {why}") from None
    return Handler(
        job_type=word,
        function=function,
        shape=shape_of(function, takes_context),
        options=options or JobOptions(),
        retry_on=_exceptions("retry_on", retry_on),
        give_up_on=_exceptions("give_up_on", give_up_on),
        backoff=backoff,
        schedule=schedule or {},
        keep_for=_kept("keep_for", keep_for),
        keep_failed_for=_kept("keep_failed_for", keep_failed_for),
    )


def _check_function(function: Any) -> None:
    if isinstance(function, type) or not callable(function) or not hasattr(function, "__qualname__"):
        raise ConfigurationError(f"@job got {shown(function)}; expected a function.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(f"@job on {function.__qualname__}: a generator function cannot be a handler.")


def _kept(option: str, given: Any) -> float | None:
    """Return for how many seconds ended jobs are kept; infinity is for ever."""
    if given is None or given == math.inf:
        return given  # type: ignore[no-any-return]
    try:
        return seconds(option, given, most=LONGEST)
    except InvalidJob:
        raise ConfigurationError(
            f"@job got {option}={shown(given)}; expected seconds or a timedelta, or math.inf for ever."
        ) from None


def _exceptions(option: str, given: Any) -> tuple[type[BaseException], ...]:
    kinds = given if isinstance(given, tuple | list) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigurationError(f"@job got {option}={shown(given)}; expected exception classes.")
    return tuple(kinds)


def _origin(function: Callable[..., Any]) -> tuple[Any, ...]:
    """What makes two function objects the same piece of code, under whatever module name it was imported."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return (function.__module__, function.__qualname__)
    return (code.co_filename, function.__qualname__, code.co_firstlineno)
