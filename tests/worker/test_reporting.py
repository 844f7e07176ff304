"""What handlers tell is stored in the background, and not forgotten when the store fails in the middle."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from dataqueue_django import JobContext, get_queue
from dataqueue_django.domain.changes import Committed, Verb, Verdict
from dataqueue_django.domain.records import Claim, EventType, Worker
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.reporting import Reporting
from dataqueue_django.worker.signal import AbortSignal
from dataqueue_django.worker.slots import Run

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def running(queue: JobQueue) -> Run:
    """A job that was claimed and has begun, and has moved its deadline and told something."""
    store = queue.store
    job_id = queue.add_job("reports", {}, timeout=60, allow_unknown=True)
    worker = store.put(Worker(label="reports"))
    [job] = store.claim(Claim(limit=1, worker_id=worker.id, locked_by="reports", ids=(job_id,)))
    signal = AbortSignal()
    run = Run(job, None, signal, JobContext(queue, job, signal, lambda: None))
    run.deadline.begin(0.0)
    run.deadline.prolong(60)
    run.context.set_progress(30)
    run.context.log("told")
    return run


class Refusing:
    """A store that does not take the first change of one sort."""

    def __init__(self, queue: JobQueue, verb: Verb, answer: Verdict | None) -> None:
        self._store, self._verb, self._answer = queue.store, verb, answer

    def commit(self, items: Any, **options: Any) -> list[Committed]:
        if items[0][0].verb is not self._verb:
            return self._store.commit(items, **options)
        self._verb = Verb.OTHER
        if self._answer is None:
            raise OperationalError("the store is away")
        return [Committed(verdict=self._answer) for _ in items]


@pytest.mark.parametrize("verb", [Verb.PROLONG, Verb.PROGRESS])
@pytest.mark.parametrize("answer", [None, Verdict.BUSY])
def test_nothing_that_was_told_is_forgotten(queue: JobQueue, verb: Verb, answer: Verdict | None) -> None:
    run = running(queue)
    reporting = Reporting(Refusing(queue, verb, answer), lambda *_, **__: None)  # type: ignore[arg-type]
    reporting.add(run)
    if answer is None:
        with pytest.raises(OperationalError):
            reporting.save([run])
    else:
        reporting.save([run])
    assert reporting.due_at < float("inf")
    reporting._next_at = 0.0
    reporting.save([run])
    [job] = queue.store.get([run.job.id])
    assert job.progress == 30
    assert [line.message for line in queue.get_job_logs(job.id)] == ["told"]
    assert [e.event_type for e in queue.get_job_events(job.id)].count(EventType.PROLONGED) == 1
    assert reporting.due_at == float("inf")
