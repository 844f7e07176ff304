"""`@job`: a function becomes a job type that can be enqueued."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from asgiref.sync import sync_to_async

from ..conf import DEFAULT_ALIAS
from ..domain.options import JobOptions, as_defaults, options_from
from ..domain.records import NewJob
from ..domain.schedules import Wanted, clockwork
from ..exceptions import ConfigurationError, InvalidJob, InvalidPayload, InvalidSchedule, shown
from ..handlers.registry import BackoffRule, Handler, make_handler, registry
from .adding import AddedJob, iterable, naming_the_job
from .aio import names_twin
from .base import described

if TYPE_CHECKING:
    from ..worker.context import AsyncJobContext, JobContext
    from . import JobQueue

P = ParamSpec("P")
C = ParamSpec("C")
R = TypeVar("R")


class Options(TypedDict, total=False):
    """The options of a job, as `@job`, `using` and `add_job` take them (DataQueue "JobOptions")."""

    queue: str
    priority: int
    max_attempts: int
    run_at: datetime | None
    timeout: float | timedelta | None
    isolate: bool
    force_kill_on_timeout: bool
    retry_delay: float | timedelta | None
    retry_backoff: str | bool
    retry_delay_max: float | timedelta | None
    tags: Iterable[str] | None
    idempotency_key: str | None
    group_id: str | None


@dataclass(frozen=True)
class BoundJob(Generic[P]):
    """A job type together with options, ready to be enqueued."""

    handler: Handler
    options: JobOptions
    alias: str = DEFAULT_ALIAS

    def using(self, *, alias: str | None = None, **options: Unpack[Options]) -> BoundJob[P]:
        """Return the same job type with these options over the ones it has."""
        stronger = options_from(options, f"{self.handler.job_type}.using()")
        return BoundJob(self.handler, stronger.over(self.options), self.alias if alias is None else alias)

    @names_twin
    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> AddedJob:
        """Add a job in the caller's transaction and return its record.

        With an `idempotency_key` that is taken the record is the existing job's, marked `existed`. Raises
        InvalidPayload naming the argument that does not fit the handler.
        """
        payload = self.handler.shape.payload_from(args, kwargs)
        spec = described(self._queue, self.handler.job_type, payload, self.options, allow_unknown=True)
        return self._queue._add(spec)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> AddedJob:
        """`enqueue` for async code."""
        return await sync_to_async(self.enqueue, thread_sensitive=True)(*args, **kwargs)

    @names_twin
    def enqueue_many(self, payloads: Iterable[Any]) -> list[int]:
        """Add a job for each payload, all or none, a thousand a statement, and return their ids in order."""
        queue, job_type = self._queue, self.handler.job_type
        if self.options.idempotency_key is not None:
            raise InvalidJob("enqueue_many() cannot give many jobs one idempotency_key; use add_jobs().")

        def each() -> Iterator[NewJob]:
            for n, payload in enumerate(iterable("enqueue_many()", payloads)):
                with naming_the_job(n):
                    spec = described(queue, job_type, payload, self.options, allow_unknown=True)
                yield spec

        return queue._insert_all(each())

    async def aenqueue_many(self, payloads: Iterable[Any]) -> list[int]:
        """`enqueue_many` for async code."""
        return await sync_to_async(self.enqueue_many, thread_sensitive=True)(payloads)

    @property
    def _queue(self) -> JobQueue:
        from . import get_queue

        return get_queue(self.alias)


class JobDefinition(BoundJob[P], Generic[P, C, R]):
    """A function that `@job` registered. Calling it runs it here and now, as if it were undecorated."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, JobOptions())
        functools.update_wrapper(self, handler.function)

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> R:
        """Run the function itself; nothing is enqueued."""
        result: R = self.handler.function(*args, **kwargs)
        return result

    @property
    def job_type(self) -> str:
        """The name under which jobs of this function are stored."""
        return self.handler.job_type

    def __repr__(self) -> str:
        return f"<job {self.job_type!r}: {self.handler.where}>"


class Policy(TypedDict, total=False):
    """How a handler's failures are judged and its ended jobs are kept; read from the code at run time, never stored."""

    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    give_up_on: type[BaseException] | tuple[type[BaseException], ...]
    backoff: BackoffRule
    keep_for: float | timedelta
    keep_failed_for: float | timedelta


class Timetable(TypedDict, total=False):
    """When jobs of this type are added by themselves, as `add_cron_job` takes it; `cron` is its cron_expression."""

    cron: str
    every: float | timedelta
    timezone: str
    start_at: datetime
    end_at: datetime
    max_runs: int
    catch_up: Literal["latest", "none"] | int
    overlap: Literal["skip", "allow", "replace"]
    allow_overlap: bool
    jitter: float | timedelta


class JobSettings(Options, Policy, Timetable, total=False):
    """Everything `@job` takes beside the name and `takes_context`."""


class TakesContext(Protocol):
    """What `@job(takes_context=True)` returns: an async handler gets an AsyncJobContext, any other a JobContext."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncJobContext, P], Coroutine[Any, Any, R]], /
    ) -> JobDefinition[P, Concatenate[AsyncJobContext, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], R], /
    ) -> JobDefinition[P, Concatenate[JobContext, P], R]: ...


@overload
def job(function: Callable[P, R], /) -> JobDefinition[P, P, R]: ...
@overload
def job(
    name: str | None = None, /, *, takes_context: Literal[True], **settings: Unpack[JobSettings]
) -> TakesContext: ...
@overload
def job(
    name: str | None = None, /, *, takes_context: Literal[False] = False, **settings: Unpack[JobSettings]
) -> Callable[[Callable[P, R]], JobDefinition[P, P, R]]: ...
def job(target: Any = None, /, *, takes_context: bool = False, **settings: Any) -> Any:
    """Register a function as the handler of a job type, by default the function's name.

    Used as `@job`, `@job("name")` or `@job("name", queue="reports", ...)`. Options become the defaults of its jobs.
    Only exceptions in `retry_on` are retried when it is given, those in `give_up_on` never are, and
    `backoff(exception, attempt)` may return the delay before the next attempt. Jobs that have completed or were
    cancelled are kept for `keep_for`, seconds or a timedelta, whatever RETENTION says, and jobs that failed for good
    for `keep_failed_for`; `math.inf` is for ever. With `cron` or `every`, and what else says when, it is a schedule of
    the same name, too, whose jobs have no payload. Raises ConfigurationError when another function has the job type, or
    when the function could not be called with a payload.
    """
    if callable(target):
        return _define(target, None, takes_context, settings)
    if target is not None and not isinstance(target, str):
        raise ConfigurationError(f"@job got {shown(target)}; expected the name of the job type.")
    return lambda function: _define(function, target, takes_context, settings)


def _define(
    function: Callable[..., Any], name: str | None, takes_context: bool, settings: dict[str, Any]
) -> JobDefinition[..., ..., Any]:
    policy = {key: settings.pop(key) for key in Policy.__annotations__ if key in settings}
    schedule = {key: settings.pop(key) for key in Timetable.__annotations__ if key in settings}
    try:
        options = as_defaults(options_from(settings, "@job"))
    except InvalidJob as why:
        raise ConfigurationError(f"@job on {getattr(function, '__qualname__', function)!s}: {why}") from None
    handler = make_handler(
        function, job_type=name, takes_context=takes_context, options=options, schedule=schedule, **policy
    )
    _check_schedule(handler)
    registry.register(handler)
    return JobDefinition(handler)


def _check_schedule(handler: Handler) -> None:
    """Raise ConfigurationError for a schedule that could not fire."""
    if not handler.schedule:
        return
    try:
        told = dict(handler.schedule)
        clockwork(Wanted(cron_expression=told.pop("cron", None), **told), datetime.now(UTC))
        handler.shape.encode(None)
    except InvalidSchedule as why:
        raise ConfigurationError(f"@job on {handler.where}: {why}") from None
    except InvalidPayload as why:
        raise ConfigurationError(
            f"@job on {handler.where} has a schedule, whose jobs have no payload, but {why} Give its parameters "
            "defaults, or declare it in the setting SCHEDULES with a payload."
        ) from None
