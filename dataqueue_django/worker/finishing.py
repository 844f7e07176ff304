"""Outcomes on their way into the store. None is dropped while the job is still ours.

They go in batches, together with the next claim. A record that somebody else holds is tried again by itself; a batch
that the store refuses is halved until the guilty outcome stands alone and becomes a failure with a cleaned error; after
a call whose answer never came the job's own event tells whether it had been stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..announcing import Announce, announcer, facts_of, is_heard
from ..domain.changes import Alternatives, Change, Committed, Verdict
from ..domain.records import Claim, ClaimedJob, FailureReason
from ..domain.transitions import Execution, Fault, fail
from ..logs import worker as logger
from ..stores import Store
from .begun import BegunTable

MOST = 100
"""Outcomes in one call."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before an outcome whose record is busy is tried again: the first time, and at most."""


@dataclass(eq=False, slots=True)
class Outgoing:
    """One outcome of an execution that took so many seconds, and how it has fared."""

    job: ClaimedJob
    item: Alternatives
    seconds: float = 0.0
    not_before: float = 0.0
    pauses: int = 0
    unsure: bool = False


class Finisher:
    """The outcomes that are not stored yet."""

    def __init__(
        self,
        store: Store,
        begun: BegunTable | None,
        announce: Announce | None = None,
        count: Callable[[ClaimedJob, Change, float], None] = lambda job, change, seconds: None,
    ) -> None:
        self._store = store
        self._begun = begun
        self._announce = announce or announcer(store)
        self._count = count
        self._outgoing: list[Outgoing] = []
        self.claim_unknown = False
        """Whether the last exchange may have claimed jobs that it did not return."""

    def add(self, job: ClaimedJob, item: Alternatives, seconds: float = 0.0) -> None:
        """Take charge of an outcome, after so many seconds."""
        self._outgoing.append(Outgoing(job, item, seconds))

    def was_stored(self, job: ClaimedJob, item: Alternatives, seconds: float) -> None:
        """Tell of an outcome that was stored already, in a transaction of the handler's own."""
        if self._begun is not None:
            self._begun.end(job.id, job.claim_seq)
        self._tell(Outgoing(job, item, seconds), 0)

    @property
    def empty(self) -> bool:
        """Whether every outcome is stored."""
        return not self._outgoing

    @property
    def due_at(self) -> float:
        """The monotonic time at which the next outcome should be tried; infinite when there is none."""
        return min((out.not_before for out in self._outgoing), default=float("inf"))

    def executions(self) -> set[tuple[int, int]]:
        """Return (job id, claim_seq) of the executions whose outcome is not stored yet."""
        return {(out.job.id, out.job.claim_seq) for out in self._outgoing}

    def exchange(self, claim: Claim | None) -> list[ClaimedJob]:
        """Store what is due and claim; returns the claimed jobs. Raises when the store cannot be used."""
        now = time.monotonic()
        self.claim_unknown = False
        batch = [out for out in self._outgoing if out.not_before <= now][:MOST]
        try:
            results, jobs = self._store.exchange([out.item for out in batch], claim)
        except Exception as error:
            self._mark_unsure(batch)
            if self._store.is_lost_connection(error):
                raise
            if not batch:
                raise
            logger.warning("a batch of %d outcomes was refused and is stored in parts", len(batch), exc_info=True)
            self.claim_unknown = claim is not None
            self._store_in_parts(batch)
            return []
        self._settle(batch, results)
        return jobs

    def _store_in_parts(self, batch: list[Outgoing]) -> None:
        if not batch:
            return
        try:
            results = self._store.commit([out.item for out in batch], wait=False)
        except Exception as error:
            self._mark_unsure(batch)
            if self._store.is_lost_connection(error):
                raise
            if len(batch) == 1:
                self._replace_or_wait(batch[0], error)
                return
            middle = len(batch) // 2
            self._store_in_parts(batch[:middle])
            self._store_in_parts(batch[middle:])
        else:
            self._settle(batch, results)

    def _replace_or_wait(self, out: Outgoing, error: Exception) -> None:
        """Only a value can be to blame on an outcome; anything else is the store's, and may pass."""
        if self._store.refuses_value(error):
            self._replace(out, error)
        else:
            logger.error("the outcome of job %d cannot be stored now", out.job.id, exc_info=error)
            self._postpone(out)

    def _replace(self, out: Outgoing, error: Exception) -> None:
        """Store a failure in the place of an outcome that cannot be stored.

        If that cannot be stored either, the outcome is not to blame but the store (read-only after a failover, say): it
        waits.
        """
        message = f"the outcome could not be stored ({type(error).__name__})"
        fault = Fault(reason=FailureReason.INVALID_OUTPUT, type="InvalidOutput", message=message)
        failure: Alternatives = (fail(Execution.of(out.job), fault, retry_in=None),)
        try:
            result = self._store.commit([failure], wait=False)[0]
        except Exception as why:
            if self._store.is_lost_connection(why):
                raise
            logger.warning("the store refuses any outcome of job %d", out.job.id, exc_info=why)
            self._postpone(out)
            return
        if result.verdict is Verdict.BUSY:
            self._postpone(out)
            return
        logger.error("the outcome of job %d could not be stored: %s", out.job.id, type(error).__name__)
        out.item = failure
        self._settle([out], [result])

    def _settle(self, batch: Iterable[Outgoing], results: Iterable[Committed]) -> None:
        settled = set()
        for out, result in zip(batch, results, strict=True):
            if result.verdict is Verdict.BUSY:
                self._postpone(out)
                continue
            settled.add(out)
            choice = result.choice if result.applied else self._stored_choice(out)
            if choice is not None:
                self._tell(out, choice)
            else:
                logger.info("job %d was lost: execution %d no longer owns it", out.job.id, out.job.claim_seq)
            if self._begun is not None:
                self._begun.end(out.job.id, out.job.claim_seq)
        self._outgoing = [out for out in self._outgoing if out not in settled]

    def _stored_choice(self, out: Outgoing) -> int | None:
        """Which alternative a call whose answer never came had stored, as the job's own event tells; None for none."""
        event = self._store.outcome_of(out.job.id, out.job.claim_seq) if out.unsure else None
        stored = None if event is None else event.event_type
        return next((n for n, change in enumerate(out.item) if stored and change.event is stored), None)

    @staticmethod
    def _mark_unsure(batch: Iterable[Outgoing]) -> None:
        for out in batch:
            out.unsure = True

    @staticmethod
    def _postpone(out: Outgoing) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**out.pauses)
        out.pauses += 1
        out.not_before = time.monotonic() + pause

    def _tell(self, out: Outgoing, choice: int) -> None:
        change, job = out.item[choice], out.job
        self._count(job, change, out.seconds)
        if change.event is not None and is_heard(change.event):
            facts = {"attempt": job.attempts, **facts_of(change)}
            self._announce(change.event, job_id=job.id, job_type=job.job_type, queue=job.queue, **facts)
