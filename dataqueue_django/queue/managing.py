"""Cancelling, retrying, editing and deleting one job.

Coming too late is normal: the methods return False and change nothing, unless they are asked to be strict.
"""

from __future__ import annotations

from typing import Any

from ..announcing import announce, is_heard
from ..domain.asking import flag_from, job_id_from
from ..domain.changes import Alternatives
from ..domain.filters import JobFilter
from ..domain.lifecycle import Operation, refusal, state_of
from ..domain.records import EventType
from ..domain.steering import cancel, edit, edited_fields, retry
from ..exceptions import JobNotFound, JobStateError
from .aio import with_async_twins
from .base import QueueBase


@with_async_twins
class Managing(QueueBase):
    """`cancel_job`, `retry_job`, `edit_job`, `delete_job`.

    Each joins the caller's transaction. `actor` says who did it and is kept with the event. Where the job is not in a
    state for it they return False; with `strict`, or the alias' setting STRICT, they raise JobStateError naming the
    state, and JobNotFound for an unknown id. In a transaction at REPEATABLE READ or above, a job that somebody else has
    changed since the transaction began to read makes PostgreSQL raise its serialization failure; nothing is done then.
    """

    def cancel_job(self, job_id: int, *, actor: str = "", strict: bool | None = None) -> bool:
        """Cancel a job that has not started, that waits, or that failed and would be tried again.

        Returns whether it was cancelled (DataQueue "cancelJob"). A running job is left alone. The job is kept.
        """
        id, who = job_id_from(job_id), self._actor(actor)
        return self._steer(Operation.CANCEL, EventType.CANCELLED, id, cancel(id, actor=who), self._is_strict(strict))

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

    def delete_job(self, job_id: int, *, force: bool = False, strict: bool | None = None) -> bool:
        """Delete a job with its events and tags, and return whether it was there to delete.

        A running job is only deleted with `force`; its handler runs on, and what it stores later is dropped.
        """
        id, force, strict = job_id_from(job_id), flag_from("force", force), self._is_strict(strict)
        if self.store.delete([id], force=force):
            return True
        return self._too_late(Operation.DELETE_FORCED if force else Operation.DELETE, id, strict)

    def _steer(self, operation: Operation, event: EventType, job_id: int, item: Alternatives, strict: bool) -> bool:
        [answer] = self.store.commit([item])
        if not answer.applied:
            return self._too_late(operation, job_id, strict)
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
