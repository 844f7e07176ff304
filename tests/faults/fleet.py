"""What the tests with worker processes share: jobs that do as told, and what their events must say."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from dataqueue_django.domain.filters import JobFilter, Order
from dataqueue_django.domain.options import JobOptions, new_job
from dataqueue_django.domain.records import EventType, Job, JobEvent, Kind, Worker
from dataqueue_django.stores.base import Store
from tests.harness.ledger import BEGIN, END, Ledger
from tests.harness.workers import PATIENCE, WorkerProcess, Workers, wait_until

TRIALS = int(os.environ.get("FAULT_TRIALS", "4"))
"""How often each random or repeated fault is injected; `.ci/soak` injects more."""

TOGETHER = max(3, TRIALS // 4)
"""How many workers or supervisors a fault hits at once."""


def add(store: Store, *acts: str, count: int = 1, job_type: str = "harness.act", **options: object) -> list[int]:
    """Add jobs whose n-th claim does the n-th of `acts` (tests.app.jobs.act); a crash delays them by milliseconds."""
    given = {"retry_delay": 0.01, "retry_backoff": "fixed", **options}
    spec = new_job(job_type, {"acts": list(acts)}, JobOptions(**given))  # type: ignore[arg-type]
    return [answer.id for answer in store.insert([spec] * count)]


def begun(ledger: Ledger, ids: Iterable[int]) -> bool:
    """Return whether all these jobs have been begun."""
    return set(ids) <= ledger.jobs(BEGIN)


def ended(ledger: Ledger, ids: Iterable[int]) -> bool:
    """Return whether a handler of each of these jobs has ended."""
    return set(ids) <= ledger.jobs(END)


def wait_for_end(
    store: Store, ids: Iterable[int], *, what: Callable[[], str] = str, timeout: float = PATIENCE
) -> list[Job]:
    """Wait until jobs have ended for good and return them by id."""
    ids = list(ids)

    def open_jobs() -> list[Job]:
        return [job for job in store.get(ids) if not job.is_terminal]

    wait_until(lambda: not open_jobs(), timeout, what=lambda: f"{open_jobs()[:5]}\n{what()}")
    return store.get(ids)


def traces(store: Store, ids: Iterable[int]) -> dict[int, tuple[Job, list[JobEvent]]]:
    """Return jobs and their events, to compare with a later look."""
    return {job.id: (job, store.events(job.id)) for job in store.get(list(ids))}


def events_of(store: Store, ids: Iterable[int]) -> Counter[EventType]:
    """Return how many events of each type some jobs have."""
    return Counter(event.event_type for id in ids for event in store.events(id, limit=10_000))


def live_row(store: Store, pid: int) -> Worker | None:
    """Return the unexpired worker row of a process."""
    rows = [worker for worker in store.find(Kind.WORKER) if worker.pid == pid and worker.expired_at is None]
    assert len(rows) <= 1, rows
    return rows[0] if rows else None


def registered(store: Store, *processes: WorkerProcess) -> list[Worker]:
    """Wait until each process has a worker row and return these."""

    def rows() -> list[Worker | None]:
        return [live_row(store, process.pid) for process in processes]

    wait_until(lambda: all(rows()), what=lambda: "\n".join(process.output for process in processes))
    return [row for row in rows() if row is not None]


def beats_of(store: Store, worker: Worker) -> int:
    """Return how often a worker has renewed its lease."""
    found = store.fetch(Kind.WORKER, worker.id)
    return found.beat if found is not None else 0


def held_by(store: Store, worker: Worker) -> list[Job]:
    """Return the jobs of a worker row."""
    return store.query(JobFilter(worker_ids=(worker.id,)), order=Order.OLDEST, limit=1000)


def touch(path: Path) -> None:
    """Let the handlers go on that wait for this file."""
    path.touch()


def stop_all(workers: Workers) -> set[int]:
    """Stop workers and supervisors gracefully, started up or not yet, and return their exit codes."""
    running = workers.running
    for process in running:
        process.signal(signal.SIGTERM)
    return {process.wait() for process in running}
