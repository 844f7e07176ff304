"""One job in a child, seen from the worker's thread that stands for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event
from typing import Any

from ...domain.records import FailureReason
from ...domain.retry import Backoff
from ...domain.transitions import Fault
from ..outcomes import Cancelled, Crashed, Failed, Outcome, Released, default_delay, not_begun, timed_out
from ..signal import AbortReason
from ..slots import Run
from .child import CannotStart, ChildLost, ChildProcess
from .pool import Children
from .wire import Message, Say, from_job, from_report, to_outcome, to_report

LOOK_EVERY = 0.25
"""The longest that the lease and the signal are not looked at, in seconds."""

ANSWER_WITHIN = 0.5
"""Seconds in which a child has to say whether it needs more time: it may be unable to answer, and must die in time."""


class IsolatedRunner:
    """Runs jobs in children. Never raises; whatever becomes of a child is an outcome."""

    def __init__(
        self, children: Children, crash_limit: int, cancel_grace: float, lease_is_over: Callable[[], bool]
    ) -> None:
        self._children = children
        self._crash_limit = crash_limit
        self._cancel_grace = cancel_grace
        self._lease_is_over = lease_is_over

    def run(self, run: Run, begin: Callable[[], bool], end: Callable[[Outcome], None]) -> None:
        """Run a job in a child: `begin` is called when one is ready for it, `end` with how it ended.

        `end` is called before a child that has run its number of jobs ends, which takes its time.
        """
        try:
            child = self._children.take()
        except CannotStart as why:
            return end(_not_started(run, why))
        try:
            if begin():
                end(_Talk(run, child, self._crash_limit, self._cancel_grace, self._lease_is_over).outcome())
            else:
                end(not_begun(run.signal.asked))
        finally:
            child.jobs += 1
            self._children.put_back(child)


class _Talk:
    """What is said between a worker and a child about one job."""

    def __init__(
        self,
        run: Run,
        child: ChildProcess,
        crash_limit: int,
        cancel_grace: float,
        lease_is_over: Callable[[], bool],
    ) -> None:
        self._run = run
        self._child = child
        self._crash_limit = crash_limit
        self._cancel_grace = cancel_grace
        self._lease_is_over = lease_is_over
        self._told_to_stop = False
        self._answer: Any = None
        self._answered = Event()

    def outcome(self) -> Outcome:
        """Send the job and listen until it has ended or must end."""
        self._run.cancel = self._child.ring
        try:
            if (end := self._must_end()) is None:
                handler = self._run.handler
                module = "" if handler is None else handler.function.__module__
                self._child.send(Say.RUN, job=from_job(self._run.job), module=module)
            while end is None:
                message = self._child.next(self._patience())
                ended = None if message is None else self._hear(message)
                if ended is not None:
                    return ended
                end = self._must_end()
                self._pass_on_abort()
        except (ChildLost, KeyError, TypeError, ValueError) as why:
            end = self._must_end()
            self._child.kill()
            return end or self._crashed(why)
        self._child.kill()
        return end

    def _patience(self) -> float:
        if self._run.signal.asked is AbortReason.CANCELLED:
            return min(LOOK_EVERY, self._cancel_grace)
        at = self._run.deadline.look_at
        return LOOK_EVERY if at is None else min(LOOK_EVERY, max(0.0, at - time.monotonic()))

    def _must_end(self) -> Outcome | None:
        """Return how the job ends if it has to end now, whatever the child does."""
        run = self._run
        reason = run.signal.asked
        if reason is AbortReason.TIMEOUT or run.deadline.has_passed(time.monotonic()):
            return timed_out(run.job, run.handler)
        if reason in (AbortReason.SHUTDOWN, AbortReason.LEASE_LOST):
            return Released(reason.value)
        if run.signal.ignored_for(self._cancel_grace):
            return Cancelled()
        return Released(AbortReason.LEASE_LOST.value) if self._lease_is_over() else None

    def _pass_on_abort(self) -> None:
        reason = self._run.signal.reason
        if reason is not None and not self._told_to_stop:
            self._told_to_stop = True
            self._child.send(Say.ABORT, reason=reason.value)

    def _hear(self, message: Message) -> Outcome | None:
        run = self._run
        match message["say"]:
            case Say.ENDED:
                run.context.reports.receive(to_report(message["report"]))
                return to_outcome(message["outcome"], run.job)
            case Say.REPORT:
                run.context.reports.receive(to_report(message["report"]))
            case Say.RETURN_REPORTS:
                self._child.send(Say.REPLY, answer=from_report(run.context.reports.unsaved()))
            case Say.PROLONG:
                self._child.send(Say.REPLY, answer=run.deadline.prolong(message["seconds"]))
            case Say.WATCH:
                run.deadline.on_timeout(self._ask if message["on"] else None, within=ANSWER_WITHIN)
            case Say.ANSWER:
                self._answer = message["seconds"]
                self._answered.set()
        return None

    def _ask(self) -> float | None:
        """Ask the child whether it needs more time; called in a thread of the deadline's."""
        self._answered.clear()
        self._child.send(Say.ASK)
        return self._answer if self._answered.wait(ANSWER_WITHIN) else None

    def _crashed(self, why: Exception) -> Crashed:
        text = str(why) if isinstance(why, ChildLost) else f"said what cannot be understood: {why!r}"
        return Crashed(f"the process of the handler {text}", self._crash_limit, _crash_delay(self._run))


def _crash_delay(run: Run) -> float:
    return Backoff.of(run.job).seconds_after(run.job.crash_count + 1, random.random())


def _not_started(run: Run, why: CannotStart) -> Failed:
    fault = Fault(
        reason=FailureReason.WORKER_LOST, type="CannotStart", message=f"the handler could not be isolated: {why}"
    )
    return Failed(fault, default_delay(run.job))
