"""Running jobs inside a test: in its own thread, on its own connection, inside its transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

from asgiref.sync import async_to_sync
from django.db import DatabaseError, connections, transaction

from ..conf import DEFAULT_ALIAS
from ..domain.lifecycle import State, state_of
from ..domain.records import Claim, ClaimedJob, Job, Kind, Worker
from ..exceptions import JobNotFound, JobStateError
from ..queue import JobQueue, get_queue, hooks
from ..worker.closing_rates import ClosingRates
from ..worker.context import AsyncJobContext, JobContext
from ..worker.executor import run_async, run_sync
from ..worker.outcomes import Failed, Finished, Outcome, change_for, rate_limited_for
from ..worker.signal import AbortSignal
from ..worker.transactions import Transactions

LABEL = "test"


def run_job(job: Job | int, *, alias: str = DEFAULT_ALIAS, raise_errors: bool = False) -> Job:
    """Run one job here and now and return it as it is afterwards.

    Works inside `TestCase`: no thread, no second connection. A job that is not due yet, backs off or waits for a time
    is run as if its time had come; one that waits for a token is not. What the handler raises is recorded as a worker
    would, and with `raise_errors` raised as well.
    Timeouts are not enforced. Raises JobNotFound, or JobStateError for a job that no worker could run.
    """
    queue = get_queue(alias)
    job_id = job if isinstance(job, int) else job.id
    worker = queue.store.put(Worker(label=LABEL))
    try:
        claimed = _claim(queue, job_id, worker)
        outcome = _run(queue, claimed)
    finally:
        queue.store.remove(Kind.WORKER, [worker.id])
    if raise_errors and isinstance(outcome, Failed) and outcome.error is not None:
        raise outcome.error
    return queue.store.get([job_id])[0]


@contextmanager
def inline(*, raise_errors: bool = False) -> Iterator[None]:
    """Run each job as soon as it is enqueued, in the caller's transaction, while the context is open.

    Also a decorator. Jobs with a later `run_at` stay where they are, and a failed one is not tried again; `run_job`
    does either. The record that `enqueue` returns is from before the run.
    """

    def run_now(alias: str, job_ids: Sequence[int]) -> None:
        now = datetime.now(UTC)
        for job in get_queue(alias).store.get(job_ids):
            if job.ready_at is not None and job.ready_at <= now:
                run_job(job, alias=alias, raise_errors=raise_errors)

    hooks.listeners.append(run_now)
    try:
        yield
    finally:
        hooks.listeners.remove(run_now)


def _claim(queue: JobQueue, job_id: int, worker: Worker) -> ClaimedJob:
    found = queue.store.get([job_id])
    if not found:
        raise JobNotFound(f"There is no job {job_id} in the queue {queue.alias!r}.")
    now = datetime.now(UTC)
    begun = [step.until for step in queue.store.steps(job_id) if step.until is not None]
    at = max([now, *begun, *([found[0].ready_at] if found[0].ready_at is not None else [])])
    claim = Claim(limit=1, worker_id=worker.id, locked_by=LABEL, ids=(job_id,), crashed=None)
    jobs = queue.store.claim(claim, now=at if at > now else None)
    if not jobs:
        state = state_of(found[0], now)
        raise JobStateError(f"Job {job_id} is {state.value}; expected one that is {State.READY.value} or comes due.")
    return jobs[0]


def _run(queue: JobQueue, job: ClaimedJob) -> Outcome:
    handler = queue.handlers.get(job.job_type)
    kind = AsyncJobContext if handler is not None and handler.is_async else JobContext
    with _mended():
        context = kind(queue, job, AbortSignal(), lambda: None, Transactions.around())
        if handler is not None and handler.is_async:
            outcome: Outcome = async_to_sync(run_async)(job, handler, context)
        else:
            outcome = run_sync(job, handler, context)
    if not isinstance(outcome, Finished):
        queue.store.commit([change_for(job, outcome, context)])
        if (seconds := rate_limited_for(outcome)) is not None:
            closing = ClosingRates(queue.store)
            closing.add(job, seconds)
            closing.close()
    return outcome


@contextmanager
def _mended() -> Iterator[None]:
    """In each open transaction, undo what a handler wrote if it left that transaction unusable.

    A worker's handler has a connection of its own to break; a test's would take the outcome, or the test, down with it.
    """
    with ExitStack() as transactions:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                transactions.enter_context(_mended_on(connection.alias))
        yield


@contextmanager
def _mended_on(database: str) -> Iterator[None]:
    with suppress(_Broken), transaction.atomic(using=database):
        yield
        if not _is_usable(database):
            raise _Broken


class _Broken(Exception):
    """Rolls back to the savepoint."""


def _is_usable(database: str) -> bool:
    try:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
