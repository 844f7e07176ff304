"""One job → one outcome: fit the payload, call the handler, judge what comes back. Never raises."""

from __future__ import annotations

from typing import Any

from ..domain.records import ClaimedJob, FailureReason
from ..domain.transitions import UNSET, Fault
from ..handlers import Handler
from .context import JobContext, checked_output
from .outcomes import Completed, Failed, Outcome, fault_of, outcome_of_error


def run_sync(job: ClaimedJob, handler: Handler | None, context: JobContext) -> Outcome:
    """Run a synchronous handler in this thread. Whatever it raises, SystemExit included, is an outcome."""
    if handler is None:
        return no_handler(job)
    try:
        args, kwargs = _arguments(job, handler, context)
    except BaseException as error:  # a payload type's own code may raise anything
        return Failed(fault_of(error, FailureReason.INVALID_PAYLOAD), None, error)
    try:
        return _completed(handler.function(*args, **kwargs), context)
    except BaseException as error:
        return outcome_of_error(error, job, handler, context.signal.reason)


async def run_async(job: ClaimedJob, handler: Handler, context: JobContext) -> Outcome:
    """Run an async handler on this loop. Whatever it raises, cancellation included, is an outcome."""
    try:
        args, kwargs = _arguments(job, handler, context)
    except BaseException as error:  # a payload type's own code may raise anything
        return Failed(fault_of(error, FailureReason.INVALID_PAYLOAD), None, error)
    try:
        return _completed(await handler.function(*args, **kwargs), context)
    except BaseException as error:
        return outcome_of_error(error, job, handler, context.signal.reason)


def no_handler(job: ClaimedJob) -> Failed:
    """No function is registered for the job's type; another attempt here would end the same way."""
    message = f"no handler is registered for the job type {job.job_type!r}"
    return Failed(Fault(reason=FailureReason.NO_HANDLER, type="NoHandler", message=message), None)


def _arguments(job: ClaimedJob, handler: Handler, context: JobContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = handler.shape.arguments(job.payload)
    return ((context, *args) if handler.shape.takes_context else args), kwargs


def _completed(returned: Any, context: JobContext) -> Completed:
    if context.output is not UNSET:
        return Completed(context.output)
    return Completed() if returned is None else Completed(checked_output(returned))
