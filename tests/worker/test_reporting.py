"""What handlers tell while they run is stored, or kept for the next time: it is never forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dataqueue_django.domain.changes import Committed, Verdict
from dataqueue_django.domain.records import Claim, ClaimedJob, EventType, NewJob, Worker
from dataqueue_django.domain.transitions import Execution, complete
from dataqueue_django.stores.memory import MemoryStore
from dataqueue_django.worker import reporting
from dataqueue_django.worker.deadline import Deadline
from dataqueue_django.worker.outcomes import bringing_along
from dataqueue_django.worker.reporting import Reporting
from dataqueue_django.worker.reports import Reports


class Moody(MemoryStore):
    """A store that answers as it is told."""

    mood: Any = None

    def commit(self, items: Sequence[Any], **options: Any) -> list[Committed]:
        if isinstance(self.mood, Exception):
            raise self.mood
        if self.mood is Verdict.BUSY:
            return [Committed(verdict=Verdict.BUSY) for _ in items]
        return super().commit(items, **options)


class Running:
    """As much of a run as is reported of."""

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job
        self.context = self
        self.reports = Reports(job)
        self.deadline = Deadline(1000)
        self.deadline.begin(0.0)


@pytest.fixture
def store() -> Moody:
    return Moody()


@pytest.fixture
def runs(store: Moody) -> list[Any]:
    worker = store.put(Worker(label="w"))
    store.insert([NewJob(job_type="t", timeout_ms=1000)] * 2)
    return [Running(job) for job in store.claim(Claim(limit=2, worker_id=worker.id, locked_by="w"))]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "EVERY", 0.0)


@pytest.mark.parametrize("mood", [ConnectionError("gone"), Verdict.BUSY])
def test_what_could_not_be_stored_is_stored_the_next_time(store: Moody, runs: list[Any], mood: Any) -> None:
    told = Reporting(store, lambda *_, **__: None)
    for run in runs:
        run.reports.line("INFO", "hello")
        run.reports.progress(50, None, None)
        assert run.deadline.prolong(7)
        told.add(run)
    store.mood = mood
    if isinstance(mood, Exception):
        with pytest.raises(ConnectionError):
            told.save(runs)
    else:
        told.save(runs)
    store.mood = None
    told.save(runs)
    for run in runs:
        assert [line.message for line in store.logs(run.job.id)] == ["hello"]
        assert store.get([run.job.id])[0].progress == 50
        assert [e.event_type for e in store.events(run.job.id)][-1] is EventType.PROLONGED
    assert told.due_at == float("inf")


def test_a_record_is_left_alone_while_its_handler_is_in_a_transaction(store: Moody, runs: list[Any]) -> None:
    told = Reporting(store, lambda *_, **__: None)
    busy, other = runs
    for run in runs:
        assert run.deadline.prolong(7)
        told.add(run)
    busy.reports.hold()
    told.save(runs)
    prolonged = [[e.event_type for e in store.events(run.job.id)].count(EventType.PROLONGED) for run in (busy, other)]
    assert prolonged == [0, 1]
    assert told.due_at < float("inf")
    busy.reports.let_go()
    told.save(runs)
    assert EventType.PROLONGED in [event.event_type for event in store.events(busy.job.id)]
    assert told.due_at == float("inf")


def test_lines_that_came_back_after_the_outcome_was_made_go_with_it(store: Moody, runs: list[Any]) -> None:
    [run, _] = runs
    run.reports.line("INFO", "first")
    taken = run.reports.unsaved()
    run.reports.line("INFO", "last")
    item = bringing_along((complete(Execution.of(run.job)),), run.reports.final())
    run.reports.give_back(taken)
    store.commit([bringing_along(item, run.reports.unsaved())])
    assert [line.message for line in store.logs(run.job.id)] == ["first", "last"]


def test_a_deadline_that_has_passed_is_not_moved_any_more(runs: list[Any]) -> None:
    [run, _] = runs
    assert run.deadline.has_passed(2.0)
    assert not run.deadline.prolong(5)
