"""A store behind a check: after every write, everything it shows must keep the promises that hold at all times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import wraps
from itertools import pairwise
from typing import Any

from ...domain.filters import EVERYTHING
from ...domain.lifecycle import LEGAL_MOVES
from ...domain.records import EventType, Job, JobEvent, JobStatus
from ...stores.base import Store

WRITES = frozenset({"insert", "claim", "commit", "exchange", "delete", "delete_ended", "delete_events", "delete_logs"})
MANY = 20_000
SOME = 20
"""Of how many of the jobs that a call changed the events are read."""

STATUS_AFTER = {
    EventType.ADDED: JobStatus.PENDING,
    EventType.PROCESSING: JobStatus.PROCESSING,
    EventType.COMPLETED: JobStatus.COMPLETED,
    EventType.FAILED: JobStatus.FAILED,
    EventType.CANCELLED: JobStatus.CANCELLED,
    EventType.RETRIED: JobStatus.PENDING,
    EventType.WAITING: JobStatus.WAITING,
    EventType.RESUMED: JobStatus.PENDING,
    EventType.RELEASED: JobStatus.PENDING,
    EventType.RECLAIMED: JobStatus.PENDING,
    EventType.SNOOZED: JobStatus.PENDING,
}
"""The status that an event leads to; the others leave it as it was."""

Check = Callable[[Store, str, datetime], None]


def replay(events: Iterable[JobEvent]) -> tuple[JobStatus | None, int]:
    """Return the status and the attempts that follow from a job's events alone."""
    status, attempts = None, 0
    for event in events:
        status = STATUS_AFTER.get(event.event_type, status)
        attempts = event.attempt
    return status, attempts


class Watched:
    """Stands for a store: hands every call on to it and checks it after each one that writes."""

    def __init__(self, store: Store, check: Check) -> None:
        self.store = store
        self._check = check
        self._seen: dict[int, Job] = {}
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._forgets_events = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.store, name)
        return self._then_check(name, value) if name in WRITES else value

    def _then_check(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def checked(*args: Any, **options: Any) -> Any:
            answer = call(*args, **options)
            self._latest = max(self._latest, options.get("now") or datetime.now(UTC))
            self._forgets_events |= name == "delete_events"
            self._check_all(name)
            return answer

        return checked

    def _check_all(self, operation: str) -> None:
        jobs = self.store.query(EVERYTHING, limit=MANY)
        changed = [job for job in jobs if self._seen.get(job.id) != job]
        for job in changed:
            check_job(job, self._seen.get(job.id))
        for job in changed[:SOME]:
            self._check_events(job)
        self._seen = {job.id: job for job in jobs}
        self._check(self.store, operation, self._latest)

    def _check_events(self, job: Job) -> None:
        if not self._forgets_events:
            events = self.store.events(job.id, limit=MANY)
            assert replay(events) == (job.status, job.attempts), "events do not replay to the job"
            assert all(old.id < new.id for old, new in pairwise(events))


def check_job(job: Job, before: Job | None) -> None:
    """Assert what must be true of any stored job, and of how it came from what it was."""
    check_fields(job)
    if before is not None:
        check_move(before, job)


def check_fields(job: Job) -> None:
    """Assert what the fields of any stored job say together."""
    processing = job.status is JobStatus.PROCESSING
    assert (job.claim_seq % 2 == 1) == processing, "claim_seq is odd exactly while processing"
    for held in (job.worker_id, job.locked_by, job.locked_at):
        assert (held is not None) == processing, "a job is held exactly while processing"
    if processing or job.status in (JobStatus.COMPLETED, JobStatus.CANCELLED):
        assert job.ready_at is None, "what runs or has ended cannot be claimed"
    assert 0 <= job.attempts <= job.max_attempts
    assert (job.started_at is None) == (job.last_started_at is None)
    if job.attempts:
        assert job.started_at is not None
    if job.is_terminal:
        assert job.finished_at is not None, "what has ended says when"


def check_move(before: Job, after: Job) -> None:
    """Assert that a job went from one condition to the other in a way it may."""
    if after.status is not before.status:
        assert after.status in LEGAL_MOVES[before.status], f"{before.status} → {after.status} is no legal move"
    assert after.claim_seq >= before.claim_seq, "claim_seq never falls"
    assert after.attempts >= before.attempts, "attempts never fall"
    assert after.created_at == before.created_at
    assert after.job_type == before.job_type
