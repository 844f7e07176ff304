"""Jobs put into a state, through the store, for tests of what people may do to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from dataqueue_django import job
from dataqueue_django.domain.changes import Add, After, Change, Verb
from dataqueue_django.domain.lifecycle import State
from dataqueue_django.domain.records import Claim, EventType, FailureReason, JobStatus, NewJob, Worker
from dataqueue_django.domain.steering import cancel
from dataqueue_django.domain.transitions import Execution, Fault, complete, fail
from dataqueue_django.queue import JobQueue

JOB_TYPE = "states.job"


@job(JOB_TYPE)
def handler(n: int) -> None:
    """Stands for the code of every job here; nothing runs it."""


BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="broken")
SOON = 600.0


def job_in(queue: JobQueue, state: State, *, job_type: str = JOB_TYPE, max_attempts: int = 3) -> int:
    """Return the id of a new job in `state`; for MISSING the id of none."""
    if state is State.MISSING:
        return 2**40
    run_at = queue.store.now() + timedelta(seconds=SOON) if state is State.DELAYED else None
    spec = NewJob(job_type=job_type, payload={"n": 1}, run_at=run_at, max_attempts=max_attempts, tags=("t",))
    job_id = queue.store.insert([spec])[0].id
    if state in ARRIVE:
        ARRIVE[state](queue, job_id)
    return job_id


def run_of(queue: JobQueue, job_id: int) -> Execution:
    """Claim a job and return its execution."""
    worker = queue.store.put(Worker(label="worker of a test", job_types=(JOB_TYPE,)))
    [job] = queue.store.claim(Claim(limit=1, worker_id=worker.id, locked_by=worker.label, ids=(job_id,), crashed=None))
    return Execution.of(job)


def finish(queue: JobQueue, job_id: int) -> None:
    """Run a job to its end, without its handler."""
    [done] = queue.store.commit([(complete(run_of(queue, job_id)),)])
    assert done.applied


def set_fields(queue: JobQueue, job_id: int, event: EventType, **fields: object) -> None:
    """Set fields of a job for which there is no operation yet."""
    [done] = queue.store.commit([(Change(verb=Verb.OTHER, id=job_id, set=fields, event=event),)])
    assert done.applied


def _ended(transition: Callable[[Execution], Change]) -> Callable[[JobQueue, int], None]:
    def arrive(queue: JobQueue, job_id: int) -> None:
        [done] = queue.store.commit([(transition(run_of(queue, job_id)),)])
        assert done.applied

    return arrive


def _park(run: Execution) -> Change:
    fields = {
        "status": JobStatus.WAITING,
        "claim_seq": Add(1),
        "ready_at": After(SOON),
        "wait_until": After(SOON),
        "resuming": True,
        "worker_id": None,
        "locked_by": None,
        "locked_at": None,
    }
    return Change(
        verb=Verb.OTHER, id=run.job_id, guard={"claim_seq": (run.claim_seq,)}, set=fields, event=EventType.WAITING
    )


ARRIVE: Mapping[State, Callable[[JobQueue, int], None]] = {
    State.BLOCKED: lambda q, id: set_fields(q, id, EventType.EDITED, open_dependencies=1, ready_at=None),
    State.PAUSED: lambda q, id: set_fields(q, id, EventType.PAUSED, paused_at=After(), ready_at=None),
    State.PROCESSING: lambda q, id: (run_of(q, id), None)[1],
    State.WAITING: _ended(_park),
    State.RETRYING: _ended(lambda run: fail(run, BROKEN, retry_in=SOON)),
    State.FAILED: _ended(lambda run: fail(run, BROKEN, retry_in=None)),
    State.COMPLETED: _ended(complete),
    State.CANCELLED: lambda q, id: (q.store.commit([cancel(id)]), None)[1],
}
