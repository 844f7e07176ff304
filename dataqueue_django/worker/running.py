"""One run, from its claim to the letter that tells how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from ..domain.records import ClaimedJob
from ..handlers import Handler
from ..logs import handler_error
from ..queue.base import QueueBase
from . import mail
from .begun import BegunTable
from .context import AsyncJobContext, JobContext
from .executor import run_async, run_sync
from .isolation.isolated_run import IsolatedRunner
from .outcomes import Failed, Finished, Outcome, change_for, not_begun, rate_limited_for
from .signal import AbortReason, AbortSignal
from .slots import Run, Slots


class Runner:
    """Makes runs of claimed jobs, and runs them in whatever thread or event loop calls it."""

    def __init__(
        self,
        queue: QueueBase,
        slots: Slots,
        begun: BegunTable | None,
        *,
        isolated: IsolatedRunner,
        isolates: Callable[[str], bool],
        must_stop: Callable[[], bool],
        post: Callable[[mail.Letter], None],
        count: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._queue = queue
        self._slots = slots
        self._begun = begun
        self._isolated = isolated
        self._isolates = isolates
        self._must_stop = must_stop
        self._post = post
        self._count = count

    def new_run(self, job: ClaimedJob) -> Run:
        """Return the run of a job that was just claimed."""
        handler, signal = self._queue.handlers.get(job.job_type), AbortSignal(self._must_stop)
        kind = AsyncJobContext if handler is not None and handler.is_async else JobContext
        context = kind(self._queue, job, signal, lambda: self._post(mail.Reported(run)))
        run: Run = Run(job, handler, signal, context, isolated=self._is_isolated(job, handler))
        return run

    def run_in_thread(self, run: Run) -> None:
        """Call a sync handler in this thread and post its outcome."""
        if run.isolated:
            self._isolated.run(run, lambda: self._begin(run), lambda outcome: self._end(run, outcome))
        else:
            self._end(run, self._run_here(run))

    async def run_on_loop(self, run: Run) -> None:
        """Call an async handler on this event loop and post its outcome."""
        if run.handler is not None and self._begin(run):
            self._end(run, await run_async(run.job, run.handler, run.context, partial(_log, run)))
        else:
            self._end(run, not_begun(run.signal.asked))

    def _run_here(self, run: Run) -> Outcome:
        if self._begin(run):
            return run_sync(run.job, run.handler, run.context, partial(_log, run))
        return not_begun(run.signal.asked)

    def _is_isolated(self, job: ClaimedJob, handler: Handler | None) -> bool:
        """Whether the job, its handler or this worker asks for a process of its own."""
        by_handler = handler is not None and handler.isolates
        return job.isolate or by_handler or self._isolates(job.queue)

    def _begin(self, run: Run) -> bool:
        """Note that a handler starts; refused while this worker may not act for its jobs, or when nobody wants it."""
        if self._must_stop() or run.signal.asked is AbortReason.CANCELLED:
            return False
        if self._begun is not None:
            self._begun.begin(run.job.id, run.job.claim_seq)
        run.began_at = time.monotonic()
        self._count(run)
        if run.deadline.begin(run.began_at):
            self._post(mail.Started(run))
        return True

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Post a handler's outcome, unless its deadline has decided already."""
        run.ended_at = time.monotonic()
        letter: mail.Letter
        if isinstance(outcome, Finished):
            letter = mail.Finished(run, (outcome.change,))
        else:
            letter = mail.Ended(run, change_for(run.job, outcome, run.context), rate_limited_for(outcome))
        self._slots.decide(run, lambda: self._post(letter))


def log_failure(job: ClaimedJob, outcome: Failed) -> None:
    """Log what a handler raised, if it did, with the job."""
    if outcome.error is not None:
        final = outcome.retry_in is None or job.attempts >= job.max_attempts
        handler_error(outcome.error, job_id=job.id, job_type=job.job_type, attempt=job.attempts, final=final)


def _log(run: Run, outcome: Failed) -> None:
    """Log a failure, unless the deadline of the run has decided already."""
    if not run.decided:
        log_failure(run.job, outcome)
