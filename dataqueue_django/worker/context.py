"""What a handler can ask and tell while it runs."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from asgiref.sync import sync_to_async

from ..domain.options import plain
from ..domain.portable import portable
from ..domain.records import JSON, ClaimedJob, Token
from ..domain.transitions import UNSET
from ..exceptions import InvalidOutput, InvalidPayload, InvalidProgress, InvalidStep, did_you_mean, shown
from ..queue.base import QueueBase
from .deadline import Deadline
from .history import Beginning, History, TokenResult
from .reports import Reports
from .signal import AbortSignal
from .transactions import NO_TRANSACTIONS, Transactions

if TYPE_CHECKING:
    from ..queue.defining import BoundJob

INT64 = 2**63
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

T = TypeVar("T")
P = ParamSpec("P")
Duration = float | timedelta
Answer = type | Mapping[str, JSON]
"""What the answer to a token has to look like: a type, or a JSON schema."""


class BaseContext:
    """The running job, its attempt and its stop signal; what a handler tells goes through here, and never waits.

    Usable from any thread of the handler. Progress and the lines of its log are stored in the background, at most every
    half second, and with the outcome; they never fail a job.
    """

    def __init__(
        self,
        queue: QueueBase,
        job: ClaimedJob,
        signal: AbortSignal,
        tell: Callable[[], None],
        before: Transactions = NO_TRANSACTIONS,
    ) -> None:
        self._queue = queue
        self._job = job
        self._signal = signal
        self._beginning = Beginning(time.monotonic(), before, os.getpid())
        self._output: JSON = UNSET
        self._lock = Lock()
        self._history: History | None = None
        self._closed = False
        self.reports = Reports(job, tell)
        self.deadline = Deadline(job.timeout_ms, tell)

    @property
    def job(self) -> ClaimedJob:
        """The job as it was claimed."""
        return self._job

    @property
    def attempt(self) -> int:
        """The number of this attempt; 1 is the first. Resuming and being given back count as the same attempt."""
        return self._job.attempts

    @property
    def claim_seq(self) -> int:
        """The number of this execution, which grows from each to the next: what outside services can fence by."""
        return self._job.claim_seq

    @property
    def signal(self) -> AbortSignal:
        """The signal to look at between pieces of work."""
        return self._signal

    @property
    def output(self) -> JSON:
        """What `set_output` was given, or UNSET."""
        return self._output

    def idempotency_key(self, name: str) -> str:
        """Return a key for a call to an outside service: the same in every attempt of this job, and in no other job."""
        seed = f"{self._job.id}:{self._job.created_at.isoformat()}:{name}"
        return f"dq_{hashlib.sha256(seed.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"

    def set_progress(self, percent: float, message: str | None = None) -> None:
        """Report progress from 0 to 100 (rounded), with a short message (DataQueue "Progress Tracking").

        Raises InvalidProgress for anything that is not a number in that range.
        """
        self.reports.progress(_percentage(percent), message, None)

    def progress(self, done: int, total: int, message: str | None = None) -> None:
        """Report that `done` of `total` pieces are finished; both are kept beside the percentage."""
        counts = (done, total)
        if any(type(n) is not int for n in counts) or not 0 <= done <= total < INT64:
            raise InvalidProgress(f"progress is {shown(done)} of {shown(total)}; expected 0 <= done <= total < 2**63.")
        percent = 100 if total == 0 else done * 100 // total
        self.reports.progress(percent, message, {"done": done, "total": total})

    def set_output(self, output: JSON) -> None:
        """Set the job's output; what the handler returns is then ignored.

        Raises InvalidOutput at once when it is not portable JSON.
        """
        self._output = checked_output(output)

    def log(self, message: object, level: str = "INFO") -> None:
        """Keep a line with the job; what the handler logs by `logging`, from INFO on, is kept as well.

        `level` is a word of `logging`. A line is cut to 4 KiB, and of one execution 1,000 are kept. Raises InvalidStep
        for an unknown level.
        """
        word = (plain(level) or "").upper()
        if word not in LEVELS:
            near = did_you_mean(word, LEVELS)
            raise InvalidStep(f"The level of a line is {shown(level)}; expected one of {', '.join(LEVELS)}.{near}")
        self.reports.line(word, message)

    def prolong(self, seconds: Duration | None = None) -> bool:
        """Set the deadline to `seconds` (or a timedelta) from now, or to the job's timeout from now.

        Returns whether it was set: a job without a timeout has no deadline (DataQueue "prolong"). An event says so, at
        most every half second. Raises InvalidTimeout for what is not a positive length of time.
        """
        return self.deadline.prolong(seconds)

    def on_timeout(self, callback: Callable[[], Duration | None] | None) -> None:
        """Ask `callback` when the deadline is reached, before the abort signal (DataQueue "onTimeout").

        It returns for how many seconds (or a timedelta) to go on; nothing, zero and less let the deadline stand. It is
        called in a thread of its own, again at each new deadline, and has five seconds to answer. Only one is kept.
        """
        self.deadline.on_timeout(callback)

    # -- for the worker

    @property
    def history(self) -> History:
        """What is durable of this execution; most handlers never ask for it."""
        with self._lock:
            if self._history is None:
                self._history = History(self._queue, self._job, self._signal, self.reports, self._beginning)
                if self._closed:
                    self._history.close()
            return self._history

    @property
    def keeps_records(self) -> bool:
        """Whether what the handler logs by `logging` is kept."""
        return self._queue.settings.worker.job_logs

    @property
    def used_history(self) -> History | None:
        """The history if the handler has asked for it."""
        return self._history

    def close(self) -> None:
        """End the time in which the handler may use what is durable: it has ended."""
        with self._lock:
            self._closed = True
            if self._history is not None:
                self._history.close()

    def final_output(self, returned: Any) -> JSON:
        """Return what becomes the job's output when its handler has returned; UNSET for nothing."""
        if self._output is not UNSET:
            return self._output
        return UNSET if returned is None else checked_output(returned)


class JobContext(BaseContext):
    """The context of a synchronous handler.

    `run`, `run_atomic`, the waits, `create_token` and `spawn` are durable: when the handler runs again, after a wait, a
    failure or a crash, each does what it did before. None of them can be called inside `atomic()` (InTransaction).
    """

    def run(self, name: str, function: Callable[[], T]) -> T:
        """Run a step once: its result is recorded under `name`, and returned without running it in any later run.

        The result must be JSON; it comes back as JSON gives it back. Raises InvalidStep, before anything counts as
        done, for what is not; DuplicateStepName for a second step of this name; LeaseLost when the job is not ours any
        more.
        """
        _check_step(function, may_be_async=False)
        step = self.history.open_step(name)
        if step.is_recorded:
            return cast(T, step.result)
        with self.history.running_step():
            result = _not_async(function(), function)
        return cast(T, step.keep(result))

    def run_atomic(self, name: str, function: Callable[[], T]) -> T:
        """Run a step whose writes to the queue's database commit together with its record: exactly once.

        `function` is one synchronous call, inside one transaction. Writes to other databases are refused.
        """
        return cast(T, self.history.run_atomic(name, function))

    def atomic_finish(self, function: Callable[[], Any]) -> None:
        """Run a function whose writes to the queue's database commit together with the job's completion.

        What it returns is the job's output. The handler should return then: nothing can be stored any more.
        """
        self.history.atomic_finish(function, self.final_output)

    def wait_for(self, duration: Duration | None = None, /, **units: float) -> None:
        """Wait for a timedelta, for seconds, or for `seconds`, `minutes`, `hours`, `days`, `weeks`, `months`, `years`.

        The handler is left here; the job waits without holding anything, and the handler runs again from its top when
        the time has come (DataQueue "waitFor"). Raises InvalidWait.
        """
        self.history.wait_for(duration, units)

    def wait_until(self, moment: datetime) -> None:
        """Wait until a moment; a past one is no wait (DataQueue "waitUntil")."""
        self.history.wait_until(moment)

    def create_token(
        self, timeout: Duration | str | None = None, tags: Iterable[str] | None = None, answer: Answer | None = None
    ) -> Token:
        """Make a token that somebody else completes; a later run gets the same one here (DataQueue "createToken").

        `timeout` is seconds, a timedelta, or digits with s, m, h or d, as in "48h". `answer` is what it may be
        completed with: a JSON schema, or a type that has one.
        """
        return self.history.create_token(timeout, tags, answer)

    def wait_for_token(self, token: Token | str) -> TokenResult:
        """Wait until a token is completed or times out, and return what it brought (DataQueue "waitForToken")."""
        return self.history.wait_for_token(token)

    @overload
    def spawn(self, job: BoundJob[P], /, *args: P.args, **kwargs: P.kwargs) -> int: ...
    @overload
    def spawn(self, job: str, payload: JSON = None, /) -> int: ...
    def spawn(self, job: Any, /, *args: Any, **kwargs: Any) -> int:
        """Add a job, once whatever happens to this one, and return its id: a later run gets the same id here.

        `job` is what `@job` or `using` made, with its arguments, or a job type with a payload.
        """
        return self.history.spawn(job, args, kwargs)


class AsyncJobContext(BaseContext):
    """The context of an async handler: `JobContext` with coroutine methods, which leave the event loop free.

    What is synchronous and is given to one of them runs in the handler's own thread, where its ORM calls run.
    """

    @overload
    async def run(self, name: str, function: Callable[[], Awaitable[T]]) -> T: ...
    @overload
    async def run(self, name: str, function: Callable[[], T]) -> T: ...
    async def run(self, name: str, function: Callable[[], Any]) -> Any:
        """See JobContext.run; `function` may be async or not."""
        _check_step(function, may_be_async=True)
        step = await _here(self.history.open_step, name)
        if step.is_recorded:
            return step.result
        with self.history.running_step():
            called = function() if inspect.iscoroutinefunction(function) else await _here(function)
            return await _here(step.keep, await called if inspect.isawaitable(called) else called)

    async def run_atomic(self, name: str, function: Callable[[], T]) -> T:
        """See JobContext.run_atomic; `function` is synchronous, since a transaction belongs to one thread."""
        return cast(T, await _here(self.history.run_atomic, name, function))

    async def atomic_finish(self, function: Callable[[], Any]) -> None:
        """See JobContext.atomic_finish; `function` is synchronous, since a transaction belongs to one thread."""
        await _here(self.history.atomic_finish, function, self.final_output)

    async def wait_for(self, duration: Duration | None = None, /, **units: float) -> None:
        """See JobContext.wait_for."""
        await _here(self.history.wait_for, duration, units)

    async def wait_until(self, moment: datetime) -> None:
        """See JobContext.wait_until."""
        await _here(self.history.wait_until, moment)

    async def create_token(
        self, timeout: Duration | str | None = None, tags: Iterable[str] | None = None, answer: Answer | None = None
    ) -> Token:
        """See JobContext.create_token."""
        return await _here(self.history.create_token, timeout, tags, answer)

    async def wait_for_token(self, token: Token | str) -> TokenResult:
        """See JobContext.wait_for_token."""
        return await _here(self.history.wait_for_token, token)

    @overload
    async def spawn(self, job: BoundJob[P], /, *args: P.args, **kwargs: P.kwargs) -> int: ...
    @overload
    async def spawn(self, job: str, payload: JSON = None, /) -> int: ...
    async def spawn(self, job: Any, /, *args: Any, **kwargs: Any) -> int:
        """See JobContext.spawn."""
        return await _here(self.history.spawn, job, args, kwargs)


async def _here(function: Callable[..., T], *args: Any) -> T:
    """Call something synchronous in the handler's thread for that."""
    return await sync_to_async(function, thread_sensitive=True)(*args)


def _check_step(function: object, *, may_be_async: bool) -> None:
    if not callable(function):
        raise InvalidStep(f"run() got {shown(function)}; expected a function without parameters.")
    if not may_be_async and inspect.iscoroutinefunction(function):
        raise _is_async(function)


def _is_async(function: object) -> InvalidStep:
    return InvalidStep(f"run() got {shown(function)}, which is async; expected an async handler for async steps.")


def _not_async(result: T, function: object) -> T:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise _is_async(function)
    return result


def _percentage(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 100:
        raise InvalidProgress(f"progress is {shown(given)}; expected a number from 0 to 100.")
    return round(given)


def checked_output(output: Any) -> JSON:
    """Return a handler's output as portable JSON; raises InvalidOutput."""
    try:
        return portable(output, "output")
    except InvalidPayload as why:
        raise InvalidOutput(str(why)) from None
