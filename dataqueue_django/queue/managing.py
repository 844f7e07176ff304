"""Cancelling, retrying, editing, pausing and deleting one job.

Coming too late is normal: the methods return False and change nothing, unless they are asked to be strict.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from ..announcing import announce, is_heard
from ..domain.asking import flag_from, job_id_from
from ..domain.changes import Alternatives
from ..domain.controlling import as_control, end_of_pause
from ..domain.filters import JobFilter
from ..domain.lifecycle import Operation, allowed, refusal, state_of
from ..domain.pausing import is_so_already, pause, resume
from ..domain.records import EventType, JobStatus
from ..domain.steering import ask_to_stop, cancel, edit, edited_fields, retry
from ..exceptions import JobNotFound, JobStateError
from .aio import with_async_twins
from .base import QueueBase
from .catching_up import see_to

LOOKS = 3
"""How often a job is looked at that changes between being looked at and being changed."""


@with_async_twins
class Managing(QueueBase):
    """`cancel_job`, `retry_job`, `edit_job`, `pause_job`, `resume_job`, `delete_job`.

    Each joins the caller's transaction. `actor` says who did it and is kept with the event. Where the job is not in a
    state for it they return False; with `strict`, or the alias' setting STRICT, they raise JobStateError naming the
    state, and JobNotFound for an unknown id. In a transaction at REPEATABLE READ or above, a job that somebody else has
    changed since the transaction began to read makes PostgreSQL raise its serialization failure; nothing is done then.
    """

    def cancel_job(
        self,
        job_id: int,
        *,
        abort_running: bool = False,
        reason: str = "",
        actor: str = "",
        strict: bool | None = None,
    ) -> bool:
        """Cancel a job that has not started, that waits, or that failed and would be tried again.

        Returns whether it was cancelled (DataQueue "cancelJob"), or asked to stop. A running job is left alone, unless
        `abort_running` is given: then its handler is asked to stop, the job is cancelled once it has, and it does not
        run again; one whose handler completes it all the same is completed, and a last failure stays one. The job is
        kept; `reason`, at most 1,000 characters, is kept with the event. Raises InvalidJob for another reason.
        """
        id, who, why = job_id_from(job_id), self._actor(actor), self._reason(reason)
        strict, aborts = self._is_strict(strict), flag_from("abort_running", abort_running)
        item = cancel(id, actor=who, reason=why)
        if aborts:
            return self._cancel_or_stop(id, item, who, why, strict)
        return self._steer(Operation.CANCEL, EventType.CANCELLED, id, item, strict)

    def retry_job(self, job_id: int, *, actor: str = "", strict: bool | None = None) -> bool:
        """Make a failed or cancelled job ready now, with at least one more attempt (DataQueue "retryJob").

        Returns whether it was; a job that runs is never started a second time, a completed one not at all.
        """
        id, who = job_id_from(job_id), self._actor(actor)
        done = self._steer(Operation.RETRY, EventType.RETRIED, id, retry(id, actor=who), self._is_strict(strict))
        if done:
            self.store.on_commit(self.notifier.publish)
        return done

    def edit_job(self, job_id: int, *, actor: str = "", strict: bool | None = None, **updates: Any) -> bool:
        """Change a job that has not started, and return whether it was changed (DataQueue "editJob").

        `updates` are some of payload, priority, max_attempts, run_at, timeout, tags, retry_delay, retry_backoff and
        retry_delay_max; what is not given stays. None clears timeout, tags and the retry options; `run_at` None means
        now. Without updates nothing happens. Raises InvalidJob for a value, InvalidEdit for a name, and InvalidPayload
        for a payload that does not fit the job's handler; then nothing is changed.
        """
        id, who = job_id_from(job_id), self._actor(actor)
        strict, fields = self._is_strict(strict), edited_fields(updates, now=self.store.now())
        if not fields:
            return False
        known = self.store.values(JobFilter(ids=(id,)), ("job_type",))
        if not known:
            return self._too_late(Operation.EDIT, id, strict)
        item = edit(id, self._fitted(fields, known[0][0]), actor=who)
        done = self._steer(Operation.EDIT, EventType.EDITED, id, item, strict)
        if done and "run_at" in fields:
            self.store.on_commit(self.notifier.publish)
        return done

    def pause_job(
        self,
        job_id: int,
        *,
        reason: str = "",
        actor: str = "",
        until: datetime | None = None,
        strict: bool | None = None,
    ) -> bool:
        """Keep a job that has not started, that waits or that will be retried from being claimed.

        It stays so until it is resumed, or until `until`, an aware time in the next ten years; what it waits for may
        come meanwhile. Returns whether it is paused: True also for one that was, whose pause then stays as it is.
        A running job is refused, as is one that has ended. `reason`, at most 1,000 characters, is kept with the job.
        Raises InvalidControl for a value.
        """
        id, strict = job_id_from(job_id), self._is_strict(strict)
        with as_control():
            who, why = self._actor(actor), self._reason(reason)
        end = end_of_pause(until, self.store.now())
        item = pause(id, actor=who, reason=why, until=end)
        return self._pause_or_resume(Operation.PAUSE, EventType.PAUSED, id, item, strict)

    def resume_job(self, job_id: int, *, actor: str = "", strict: bool | None = None) -> bool:
        """Let a paused job be claimed again, from when it could have been without the pause.

        Returns whether there is such a job; True also for one that is not paused, which then stays as it is. Pauses of
        its queue or its type are others: see `resume_queue`. Raises InvalidControl for a value.
        """
        id, strict = job_id_from(job_id), self._is_strict(strict)
        with as_control():
            who = self._actor(actor)
        return self._pause_or_resume(Operation.RESUME, EventType.UNPAUSED, id, resume(id, actor=who), strict)

    def delete_job(self, job_id: int, *, force: bool = False, strict: bool | None = None) -> bool:
        """Delete a job with its events and tags, and return whether it was there to delete.

        A running job is only deleted with `force`; its handler runs on, and what it stores later is dropped.
        """
        id, force, strict = job_id_from(job_id), flag_from("force", force), self._is_strict(strict)
        if self.store.delete([id], force=force):
            return True
        return self._too_late(Operation.DELETE_FORCED if force else Operation.DELETE, id, strict)

    def _pause_or_resume(
        self, operation: Operation, event: EventType, job_id: int, item: Alternatives, strict: bool
    ) -> bool:
        """Pause or resume a job unless it is so already; one that is just changing is looked at again."""
        for _ in range(LOOKS):
            if self._applied(event, job_id, item):
                if operation is Operation.RESUME:
                    self.store.on_commit(self.notifier.publish)
                return True
            found, now = self.store.get([job_id]), self.store.now()
            if found and is_so_already(operation, found[0], now):
                return True
            if not found or not allowed(operation, state_of(found[0], now)):
                break
        return self._too_late(operation, job_id, strict)

    def _cancel_or_stop(self, job_id: int, item: Alternatives, who: str, why: str, strict: bool) -> bool:
        """Ask a running job to stop, or cancel one that does not run; one that is just changing is looked at again."""
        for _ in range(LOOKS):
            claim_seq = self._running_as(job_id)
            event, asked = EventType.CANCELLED, item
            if claim_seq is not None:
                event, asked = EventType.CANCEL_REQUESTED, ask_to_stop(job_id, claim_seq, actor=who, reason=why)
            if self._applied(event, job_id, asked):
                if claim_seq is not None:
                    self.store.on_commit(partial(self._request_is_visible, job_id, claim_seq))
                return True
        return self._too_late(Operation.CANCEL_RUNNING, job_id, strict)

    def _running_as(self, job_id: int) -> int | None:
        """The `claim_seq` of a job that runs; None for one that does not."""
        found = self.store.values(JobFilter(ids=(job_id,), statuses=(JobStatus.PROCESSING,)), ("claim_seq",))
        return int(found[0][0]) if found else None

    def _request_is_visible(self, job_id: int, claim_seq: int) -> None:
        """Let workers look; and see to a job that left its worker while the request was not visible yet."""
        self.notifier.publish()
        see_to(self.store, job_id, claim_seq)

    def _steer(self, operation: Operation, event: EventType, job_id: int, item: Alternatives, strict: bool) -> bool:
        return self._applied(event, job_id, item) or self._too_late(operation, job_id, strict)

    def _applied(self, event: EventType, job_id: int, item: Alternatives) -> bool:
        """Commit what was asked of a job, and tell of it; returns whether it was in a state for it."""
        [answer] = self.store.commit([item])
        if not answer.applied:
            return False
        if is_heard(event):
            for job_type, queue in self.store.values(JobFilter(ids=(job_id,)), ("job_type", "queue")):
                announce(self.store, event, job_id=job_id, job_type=job_type, queue=queue)
        return True

    def _too_late(self, operation: Operation, job_id: int, strict: bool) -> bool:
        """Return False, or say why in strict mode."""
        if not strict:
            return False
        found = self.store.get([job_id])
        if not found:
            raise JobNotFound(f"{operation.value} did nothing: there is no job {job_id}.")
        raise JobStateError(refusal(operation, job_id, state_of(found[0], self.store.now())))
