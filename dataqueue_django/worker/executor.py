"""One job → one outcome: fit the payload, call the handler, judge what comes back. Never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..carrying import restored
from ..domain.records import ClaimedJob, FailureReason
from ..domain.transitions import Fault
from ..handlers import Handler
from ..logs import worker as logger
from .context import BaseContext
from .keeping_lines import begin, end
from .outcomes import Completed, Failed, Outcome, ended_early, fault_of, outcome_of_error

Tell = Callable[[Failed], None]
"""Told of a failure while what was carried to the handler is still in place."""


def run_sync(job: ClaimedJob, handler: Handler | None, context: BaseContext, tell: Tell = lambda _: None) -> Outcome:
    """Run a synchronous handler in this thread. Whatever it raises, SystemExit included, is an outcome."""
    if handler is None:
        return no_handler(job)
    verdict = _Verdict(job, handler, context, tell)
    begin(context)
    try:
        with restored(job), verdict:
            args, kwargs = verdict.arguments()
            verdict.returned(handler.function(*args, **kwargs))
    except BaseException as error:
        verdict.raised(error)
    finally:
        end(context)
    return verdict.outcome


async def run_async(job: ClaimedJob, handler: Handler, context: BaseContext, tell: Tell = lambda _: None) -> Outcome:
    """Run an async handler on this loop. Whatever it raises, cancellation included, is an outcome."""
    verdict = _Verdict(job, handler, context, tell)
    begin(context)
    try:
        with restored(job), verdict:
            args, kwargs = verdict.arguments()
            verdict.returned(await handler.function(*args, **kwargs))
    except BaseException as error:
        verdict.raised(error)
    finally:
        end(context)
    return verdict.outcome


class _Verdict:
    """How one run ends: judged once, by the first that is known, and inside of what surrounds the handler."""

    def __init__(self, job: ClaimedJob, handler: Handler, context: BaseContext, tell: Tell) -> None:
        self._job = job
        self._handler = handler
        self._context = context
        self._tell = tell
        self._outcome: Outcome | None = None
        self._judged: BaseException | None = None

    @property
    def outcome(self) -> Outcome:
        """The verdict."""
        if self._outcome is None:
            raise AssertionError("a run has neither returned nor raised")
        return self._outcome

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to call the handler with; a payload that does not fit is judged here."""
        shape = self._handler.shape
        try:
            args, kwargs = shape.arguments(self._job.payload)
        except BaseException as error:  # a payload type's own code may raise anything
            self._judge(Failed(fault_of(error, FailureReason.INVALID_PAYLOAD), None, error), error)
            raise
        return ((self._context, *args) if shape.takes_context else args), kwargs

    def returned(self, value: Any) -> None:
        """Judge what the handler returned."""
        self._judge(ended_early(self._context, None) or Completed(self._context.final_output(value)))

    def raised(self, error: BaseException) -> None:
        """Judge an error; one that comes from what surrounds the handler changes nothing any more once it has ended."""
        if self._outcome is not None:
            if error is not self._judged:
                logger.error("what DATAQUEUE_CONTEXT names failed after job %d had ended", self._job.id, exc_info=error)
            return
        early = ended_early(self._context, error)
        self._judge(early or outcome_of_error(error, self._job, self._handler, self._context.signal.reason), error)

    def __enter__(self) -> None:
        """Begin to watch the handler."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Judge what it raised, and let that through."""
        if error is not None:
            self.raised(error)

    def _judge(self, outcome: Outcome, error: BaseException | None = None) -> None:
        self._outcome, self._judged = outcome, error
        if isinstance(outcome, Failed):
            self._tell(outcome)


def no_handler(job: ClaimedJob) -> Failed:
    """No function is registered for the job's type; another attempt here would end the same way."""
    message = f"no handler is registered for the job type {job.job_type!r}"
    return Failed(Fault(reason=FailureReason.NO_HANDLER, type="NoHandler", message=message), None)
