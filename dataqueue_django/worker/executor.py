"""One job → one outcome: fit the payload, call the handler, judge what comes back. Never raises."""

from __future__ import annotations

from typing import Any

from ..domain.records import ClaimedJob, FailureReason
from ..domain.transitions import Fault
from ..handlers import Handler
from .context import BaseContext
from .keeping_lines import begin, end
from .outcomes import Completed, Failed, Outcome, ended_early, fault_of, outcome_of_error


def run_sync(job: ClaimedJob, handler: Handler | None, context: BaseContext) -> Outcome:
    """Run a synchronous handler in this thread. Whatever it raises, SystemExit included, is an outcome."""
    if handler is None:
        return no_handler(job)
    try:
        args, kwargs = _arguments(job, handler, context)
    except BaseException as error:  # a payload type's own code may raise anything
        return Failed(fault_of(error, FailureReason.INVALID_PAYLOAD), None, error)
    begin(context)
    try:
        return _returned(handler.function(*args, **kwargs), context)
    except BaseException as error:
        return _raised(error, job, handler, context)
    finally:
        end(context)


async def run_async(job: ClaimedJob, handler: Handler, context: BaseContext) -> Outcome:
    """Run an async handler on this loop. Whatever it raises, cancellation included, is an outcome."""
    try:
        args, kwargs = _arguments(job, handler, context)
    except BaseException as error:  # a payload type's own code may raise anything
        return Failed(fault_of(error, FailureReason.INVALID_PAYLOAD), None, error)
    begin(context)
    try:
        return _returned(await handler.function(*args, **kwargs), context)
    except BaseException as error:
        return _raised(error, job, handler, context)
    finally:
        end(context)


def no_handler(job: ClaimedJob) -> Failed:
    """No function is registered for the job's type; another attempt here would end the same way."""
    message = f"no handler is registered for the job type {job.job_type!r}"
    return Failed(Fault(reason=FailureReason.NO_HANDLER, type="NoHandler", message=message), None)


def _arguments(job: ClaimedJob, handler: Handler, context: BaseContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = handler.shape.arguments(job.payload)
    return ((context, *args) if handler.shape.takes_context else args), kwargs


def _returned(value: Any, context: BaseContext) -> Outcome:
    return ended_early(context, None) or Completed(context.final_output(value))


def _raised(error: BaseException, job: ClaimedJob, handler: Handler, context: BaseContext) -> Outcome:
    return ended_early(context, error) or outcome_of_error(error, job, handler, context.signal.reason)
