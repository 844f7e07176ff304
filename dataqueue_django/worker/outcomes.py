"""How an execution can end, and the Change that each ending means."""

from __future__ import annotations

import asyncio
import random
import traceback
from dataclasses import dataclass, replace
from datetime import timedelta

from ..domain.changes import Alternatives, Change
from ..domain.records import JSON, ClaimedJob, FailureReason
from ..domain.retry import Backoff
from ..domain.transitions import (
    UNSET,
    Execution,
    Fault,
    complete,
    fail,
    or_cancelled,
    park,
    reclaim,
    release,
    snooze,
    stopped,
)
from ..domain.waits import Wait
from ..exceptions import (
    GiveUp,
    InTransaction,
    InvalidOutput,
    InvalidStep,
    InvalidWait,
    JobAborted,
    LeaseLost,
    NonDeterministicHandler,
    RateLimited,
    RetryLater,
    Snooze,
)
from ..handlers import Handler
from ..logs import worker as logger
from .context import BaseContext
from .reports import Report
from .signal import AbortReason
from .suspension import is_suspend

FOR_GOOD = {
    InvalidOutput: FailureReason.INVALID_OUTPUT,
    NonDeterministicHandler: FailureReason.NON_DETERMINISTIC,
    InvalidStep: FailureReason.INVALID_STEP,
    InvalidWait: FailureReason.INVALID_STEP,
    InTransaction: FailureReason.INVALID_STEP,
}
"""What only another handler could do better: no further attempt is made, but the history is kept for one."""

LONGEST_DELAY = 365 * 24 * 3600.0
TRACEBACK_LINES = 40


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned."""

    output: JSON = UNSET


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; `retry_in` seconds, or None when no further attempt makes sense.

    `error` is what the handler raised, for whoever called it in this thread; it is never stored.
    """

    fault: Fault
    retry_in: float | None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The handler said "not now"; `rate_limited`, that for so long nothing else may begin under the job's rates."""

    seconds: float
    rate_limited: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The execution ended without a result of its own; the job is given back."""

    why: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The handler stopped, or was stopped, because somebody asked that its job is cancelled."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The process of the handler died, in the way that `message` says; `delay` is for the second crash on."""

    message: str
    crash_limit: int
    delay: float


@dataclass(frozen=True, slots=True)
class Parked:
    """The handler waits."""

    wait: Wait


@dataclass(frozen=True, slots=True)
class Finished:
    """The handler has completed its job in a transaction of its own; nothing is left to commit."""

    change: Change


Ending = Completed | Failed | Snoozed | Released | Cancelled | Crashed | Parked
Outcome = Ending | Finished


def change_for(job: ClaimedJob, outcome: Ending, context: BaseContext) -> Alternatives:
    """Return what to commit for an outcome, with the latest progress and the lines of the log that are not stored.

    A job that would run again is cancelled instead, if somebody has asked for that by then.
    """
    report = context.reports.final()
    return bringing_along(or_cancelled(_change_for(Execution.of(job), outcome, report.progress)), report)


def rate_limited_for(outcome: Outcome) -> float | None:
    """Return for how many seconds nothing may begin under the rates over the job, if its handler said so."""
    return outcome.seconds if isinstance(outcome, Snoozed) and outcome.rate_limited else None


def not_begun(asked: AbortReason | None) -> Outcome:
    """Return how an execution ends whose handler must not start: `asked` says why, None that the lease is in doubt."""
    return Cancelled() if asked is AbortReason.CANCELLED else Released(AbortReason.LEASE_LOST.value)


def bringing_along(item: Alternatives, report: Report) -> Alternatives:
    """Return an outcome with the lines of a report before its own: those that were taken earlier and came back."""
    if not report.lines:
        return item
    return tuple(replace(change, put=(*report.lines, *change.put)) for change in item)


def _change_for(run: Execution, outcome: Ending, progress: dict[str, JSON] | None) -> Alternatives:
    match outcome:
        case Completed(output):
            return (complete(run, output=output, progress=progress),)
        case Failed(fault=fault, retry_in=retry_in):
            return (fail(run, fault, retry_in=retry_in, progress=progress),)
        case Snoozed(seconds, rate_limited):
            return (snooze(run, seconds, progress=progress, rate_limited=rate_limited),)
        case Released(why):
            return (release(run, why=why),)
        case Cancelled():
            return stopped(run, progress=progress)
        case Crashed(message, crash_limit, delay):
            return (reclaim(run, crash_limit=crash_limit, backoff=delay, message=message, progress=progress),)
        case Parked(wait):
            return park(run, wait, progress=progress)


def ended_early(context: BaseContext, error: BaseException | None) -> Outcome | None:
    """Return how a handler has ended if its context knows better than what it returned or raised; None if not.

    A handler that waits has to be left by its suspension, and one that broke the rules of replay has failed whatever it
    caught. One that was cut off meanwhile has been cut off.
    """
    history = context.used_history
    if history is None:
        return None
    if history.finished is not None:
        if error is not None:
            logger.error("a handler raised after atomic_finish(): its job has completed", exc_info=error)
        return Finished(history.finished)
    if error is not None and _stopped_by(error, context.signal.reason) is not None:
        return None
    if history.suspension is not None:
        return Parked(history.suspension) if is_suspend(error) else Failed(SWALLOWED, None, error)
    if history.violation is not None and error is not history.violation:
        return Failed(fault_of(history.violation, _reason(history.violation, None, None)), None, history.violation)
    return None


SWALLOWED = Fault(
    reason=FailureReason.WAIT_SWALLOWED,
    type="WaitSwallowed",
    message="the handler waits, but went on: it caught the exception by which a wait leaves it, or raised another one",
)


def outcome_of_error(
    error: BaseException, job: ClaimedJob, handler: Handler | None, abort: AbortReason | None
) -> Outcome:
    """Return what a handler's exception means: not now, given back, or failed with or without another attempt.

    Never raises: an exception that cannot even be looked at is a plain failure.
    """
    try:
        return _judged(error, job, handler, abort)
    except BaseException as why:
        message = f"<the exception could not be examined: {type(why).__name__}>"
        fault = Fault(reason=FailureReason.HANDLER_ERROR, type=type(error).__name__, message=message)
        return Failed(fault, default_delay(job), error)


def _judged(error: BaseException, job: ClaimedJob, handler: Handler | None, abort: AbortReason | None) -> Outcome:
    if isinstance(error, Snooze) and (seconds := _seconds(error.delay)) is not None:
        return Snoozed(seconds, isinstance(error, RateLimited))
    why = _stopped_by(error, abort)
    if why is not None:
        return Cancelled() if why is AbortReason.CANCELLED else Released(why.value)
    if isinstance(error, LeaseLost):
        return Released(AbortReason.LEASE_LOST.value)
    return Failed(fault_of(error, _reason(error, handler, abort)), _retry_in(error, job, handler), error)


def _stopped_by(error: BaseException, abort: AbortReason | None) -> AbortReason | None:
    """Return why the handler was cut off, if it was for reasons that are not its own.

    What raise_if_aborted() saw counts, even if the lease has been renewed since.
    """
    if isinstance(error, JobAborted):
        abort = AbortReason(error.reason)
    elif not isinstance(error, asyncio.CancelledError):
        return None
    return None if abort is AbortReason.TIMEOUT else abort


def fault_of(error: BaseException, reason: FailureReason) -> Fault:
    """Describe an exception for the error history, whatever its str() does."""
    return Fault(reason=reason, type=type(error).__name__, message=_text_of(error), traceback=_traceback_of(error))


def timed_out(job: ClaimedJob, handler: Handler | None) -> Failed:
    """The attempt ran past its deadline; it is retried like any failure."""
    limit = (job.timeout_ms or 0) / 1000
    fault = Fault(reason=FailureReason.TIMEOUT, type="TimeoutError", message=f"ran longer than {limit:g} s")
    return Failed(fault, default_delay(job))


def default_delay(job: ClaimedJob) -> float:
    """Return the delay that the job's own backoff rule gives after this attempt."""
    return Backoff.of(job).seconds_after(job.attempts, random.random())


def _reason(error: BaseException, handler: Handler | None, abort: AbortReason | None) -> FailureReason:
    for kind, reason in FOR_GOOD.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, GiveUp) or (handler is not None and isinstance(error, handler.give_up_on)):
        return FailureReason.GIVEN_UP
    return FailureReason.TIMEOUT if abort is AbortReason.TIMEOUT else FailureReason.HANDLER_ERROR


def _retry_in(error: BaseException, job: ClaimedJob, handler: Handler | None) -> float | None:
    if isinstance(error, (GiveUp, *FOR_GOOD)):
        return None
    if isinstance(error, RetryLater):
        seconds = _seconds(error.delay)
        return default_delay(job) if seconds is None else seconds
    if handler is None:
        return default_delay(job)
    if isinstance(error, handler.give_up_on) or (handler.retry_on and not isinstance(error, handler.retry_on)):
        return None
    return _ruled_delay(error, job, handler)


def _ruled_delay(error: BaseException, job: ClaimedJob, handler: Handler) -> float:
    """The delay that the handler's `backoff` gives, or the job's own when it gives none or is itself broken."""
    if handler.backoff is not None:
        try:
            given = handler.backoff(error, job.attempts)
        except Exception:
            logger.exception("the backoff rule of %s raised; the job's own delay is used", handler.where)
        else:
            seconds = None if given is None else _seconds(given)
            if seconds is not None:
                return seconds
            if given is not None:
                logger.error("the backoff rule of %s returned %r; the job's own delay is used", handler.where, given)
    return default_delay(job)


def _seconds(delay: object) -> float | None:
    """Return a delay in seconds, or None for one that makes no sense."""
    number = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= LONGEST_DELAY:
        return None
    return float(number)


def _text_of(error: BaseException) -> str:
    try:
        return str.__str__(str(error))
    except BaseException as why:
        return f"<the exception's own text raised {type(why).__name__}>"


def _traceback_of(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-TRACEBACK_LINES)
    except Exception:
        return ""
    return "".join(lines)[-8 * 1024 :]
