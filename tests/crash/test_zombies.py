"""An execution that has lost its job can change nothing, even when the same worker has the job again.

The orders are those that a bounded search of the fence model finds against weaker fences: the status, the holder, the
attempt, or holder and attempt together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from uuid import UUID

import pytest

from dataqueue_django.domain.changes import SPAWNED, Add, After, Change, Committed, Verb, Verdict
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.records import (
    Claim,
    EventType,
    FailureReason,
    JobLog,
    JobStatus,
    Kind,
    NewJob,
    StepKind,
    Worker,
)
from dataqueue_django.domain.steps import recorded
from dataqueue_django.domain.tokens import new_token
from dataqueue_django.domain.transitions import (
    Execution,
    Fault,
    complete,
    fail,
    park,
    prolong,
    reclaim,
    record,
    release,
    snooze,
    write_progress,
)
from dataqueue_django.domain.waits import Wait, WaitKind
from dataqueue_django.queue.adding import AddedJob
from dataqueue_django.stores.base import Store
from tests.app.jobs import act, durable
from tests.app.models import BusinessRow
from tests.harness.checkers import Snapshot, check_all, k6_events_replay, k10_claims_are_numbered, overlaps
from tests.harness.databases import emptied
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, NOTE, Ledger
from tests.harness.workers import Workers, wait_until, workers_on

pytestmark = REAL

BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="broken")
Loses = Callable[[Execution], tuple[Change, ...]]


def _retried_by_hand(run: Execution) -> tuple[Change, ...]:
    """Fail for good, then start over with another attempt, as an operator does."""
    again = {"status": JobStatus.PENDING, "ready_at": After(), "finished_at": None, "max_attempts": Add(1)}
    retry = Change(verb=Verb.OTHER, id=run.job_id, set=again, event=EventType.RETRIED)
    return fail(run, BROKEN, retry_in=None), retry


def _parked(run: Execution) -> tuple[Change, ...]:
    """Wait for a time that has come already; a handler that swallows the wait's signal runs on."""
    waits = {
        **release(run, why="").set,
        "status": JobStatus.WAITING,
        "resuming": True,
    }
    guard = {"claim_seq": (run.claim_seq,)}
    return (Change(verb=Verb.OTHER, id=run.job_id, guard=guard, set=waits, event=EventType.WAITING),)


WAYS_TO_LOSE: dict[str, Loses] = {
    "reclaimed": lambda run: (reclaim(run, crash_limit=99),),
    "given back": lambda run: (release(run, why="shutdown"),),
    "snoozed": lambda run: (snooze(run, 0.0),),
    "failed": lambda run: (fail(run, BROKEN, retry_in=0.0),),
    "retried by hand": _retried_by_hand,
    "parked": _parked,
}


def _step(run: Execution) -> Change:
    return record(run, recorded(run, StepKind.STEP, "late", 1))


def _token(run: Execution) -> Change:
    token = new_token(UUID(int=run.job_id), timeout=60, job_id=run.job_id)
    return record(run, token, recorded(run, StepKind.TOKEN, "0", token.id))


def _spawned(run: Execution) -> Change:
    step = recorded(run, StepKind.SPAWN, "0", {"jobType": "late", "jobId": SPAWNED})
    return record(run, step, spawn=NewJob(job_type="late"))


def _lines(run: Execution) -> Change:
    line = JobLog(
        job_id=run.job_id, created_at=datetime.now(UTC), level="INFO", message="late", claim_seq=run.claim_seq
    )
    return replace(write_progress(run, {"progress": 99}), put=(line,))


LATE_WRITES: dict[str, Callable[[Execution], Change]] = {
    "complete": lambda run: complete(run, output="zombie"),
    "complete with progress": lambda run: complete(run, progress={"progress": 99}),
    "fail": lambda run: fail(run, BROKEN, retry_in=0.0),
    "fail for good": lambda run: fail(run, BROKEN, retry_in=None),
    "give back": lambda run: release(run, why="shutdown"),
    "snooze": lambda run: snooze(run, 60.0),
    "reclaim": reclaim,
    "progress": lambda run: write_progress(run, {"progress": 99}),
    "lines of the log": _lines,
    "step": _step,
    "token": _token,
    "spawn": _spawned,
    "wait": lambda run: park(run, Wait(kind=WaitKind.FOR, place=0, until=After(60.0)))[0],
    "deadline": lambda run: prolong(run, 60.0, why="prolong"),
}

ONCE = [(way,) for way in WAYS_TO_LOSE]
TWICE = list(product(WAYS_TO_LOSE, repeat=2))
SAME, OTHER = "the same worker", "another worker"
AGAIN, NOT_YET = "claimed again", "not claimed yet"


@pytest.mark.parametrize(
    ("owner", "moment", "orders"),
    [(SAME, AGAIN, ONCE + TWICE), (OTHER, AGAIN, ONCE), (SAME, NOT_YET, ONCE)],
    ids=["the same worker has it again", "another worker has it", "nobody has it"],
)
def test_a_late_write_is_refused_whatever_went_before(
    alias: str, store: Store, owner: str, moment: str, orders: list[tuple[str, ...]]
) -> None:
    with store.private_session():
        first = store.put(Worker(label="first"))
        second = first if owner == SAME else store.put(Worker(label="second"))
        trials = 0
        for order in orders:
            job_id = store.insert([NewJob(job_type="send", max_attempts=50)])[0].id
            runs = [_claim(store, job_id, first)]
            for number, way in enumerate(order):
                for change in WAYS_TO_LOSE[way](runs[-1]):
                    assert store.commit([(change,)])[0].applied, (order, way)
                if number < len(order) - 1 or moment == AGAIN:
                    runs.append(_claim(store, job_id, second))
            zombies = runs[: len(order)]
            for zombie, (name, write) in product(zombies, LATE_WRITES.items()):
                _refuses(store, write(zombie), SENDERS[trials % 3], f"{order}, then {name} by #{zombie.claim_seq}")
                trials += 1
        assert trials >= 20
        snapshot = Snapshot.of(store)
        k6_events_replay(snapshot)
        k10_claims_are_numbered(snapshot)


def _claim(store: Store, job_id: int, worker: Worker) -> Execution:
    claim = Claim(limit=1, worker_id=worker.id, locked_by=worker.label, ids=(job_id,), crashed=None)
    [job] = store.claim(claim)
    return Execution(job.id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count)


SENDERS: tuple[Callable[[Store, Change], Committed], ...] = (
    lambda store, change: store.commit([(change,)])[0],
    lambda store, change: store.commit([(change,)], wait=False)[0],
    lambda store, change: store.exchange([(change,)], None)[0][0],
)
"""The ways in which a worker can send a write."""


def _refuses(store: Store, change: Change, send: Callable[[Store, Change], Committed], where: str) -> None:
    """Try a write; nothing that the store shows may change."""
    before = _all_of(store, change.id)
    assert send(store, change).verdict is Verdict.LOST, where
    assert _all_of(store, change.id) == before, where


def _all_of(store: Store, job_id: int) -> tuple[object, ...]:
    beside = store.count(JobFilter(job_types=("late",))), store.find(Kind.TOKEN)
    return store.get([job_id]), store.events(job_id), store.steps(job_id), store.logs(job_id), *beside


def test_a_worker_that_has_its_own_lost_job_again_stores_only_the_second_result(
    alias: str, store: Store, workers: Workers, ledger: Ledger, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    added = act.using(alias=alias).enqueue(acts=[f"stubborn:{old}+ok:old", f"stubborn:{new}+ok:new"])
    worker = workers.start("--concurrency", "2").ready()
    [first] = wait_until(lambda: ledger.read(BEGIN), what=workers.output)

    [job] = store.get([added.id])
    run = Execution(job.id, job.claim_seq, job.attempts, job.max_attempts)
    assert store.commit([(release(run, why="shutdown"),)])[0].applied
    wait_until(lambda: len(ledger.read(BEGIN)) == 2, what=workers.output)
    second = ledger.read(BEGIN)[1]
    assert (second.pid, second.claim_seq) == (first.pid, first.claim_seq + 2)

    old.touch()
    wait_until(lambda: f"execution {first.claim_seq} no longer owns it" in worker.output, what=workers.output)
    [job] = store.get([added.id])
    assert (job.status, job.claim_seq, job.output) == (JobStatus.PROCESSING, second.claim_seq, None)

    new.touch()
    wait_until(lambda: store.count(JobFilter(statuses=(JobStatus.COMPLETED,)))[()] == 1, what=workers.output)
    [job] = store.get([added.id])
    assert job.output == "new"
    assert workers.stop() == [0]
    assert len(overlaps(ledger.read())) == 1
    check_all(store, ledger)


REFUSED = "refused: run, atomic, finish, token, spawn"


def test_a_durable_handler_that_has_lost_its_job_changes_nothing(
    alias: str, store: Store, workers: Workers, ledger: Ledger, tmp_path: Path
) -> None:
    added = _durable_job(alias, tmp_path / "old")
    workers.start("--concurrency", "2", clocks=PATIENT)
    _has_recorded(store, ledger, workers, added.id)
    [job] = store.get([added.id])
    assert store.commit([(release(Execution.of(job), why="shutdown"),)])[0].applied
    _comes_back_too_late(alias, store, workers, ledger, added.id, tmp_path / "old")


def test_a_durable_handler_of_a_frozen_worker_changes_nothing(db: None, tmp_path: Path) -> None:
    """On PostgreSQL: a process that is frozen on SQLite may be holding the one write lock."""
    alias, store = "postgres", emptied("postgres")
    with workers_on(alias, tmp_path) as workers:
        ledger, added = Ledger(workers.ledger), _durable_job(alias, tmp_path / "old")
        frozen = workers.start("--worker-id", "frozen")
        _has_recorded(store, ledger, workers, added.id)
        frozen.pause()
        workers.start("--worker-id", "other")
        wait_until(lambda: store.get([added.id])[0].is_terminal, what=workers.output)
        frozen.resume()
        _comes_back_too_late(alias, store, workers, ledger, added.id, tmp_path / "old")


PATIENT = {"LEASE": 20.0}
"""For a worker that nothing is to happen to, on a busy machine."""


def _durable_job(alias: str, path: Path) -> AddedJob:
    acts = [f"run:one+stubborn:{path}+zombie+ok", "run:one+ok:new"]
    return durable.using(alias=alias, timeout=60).enqueue(acts=acts)


def _has_recorded(store: Store, ledger: Ledger, workers: Workers, job_id: int) -> None:
    wait_until(lambda: store.steps(job_id), what=workers.output)
    assert [entry.note for entry in ledger.read(NOTE)] == ["one"]


def _comes_back_too_late(alias: str, store: Store, workers: Workers, ledger: Ledger, job_id: int, path: Path) -> None:
    """The second execution ends; then the first goes on, and everything that it tries is refused."""
    wait_until(lambda: store.get([job_id])[0].is_terminal, what=workers.output)
    before = _all_of(store, job_id)
    path.touch()
    notes = wait_until(lambda: [e.note for e in ledger.read(NOTE) if e.note.startswith("refused")], what=workers.output)
    assert set(workers.stop()) == {0}
    assert notes == [REFUSED]
    assert _all_of(store, job_id) == before
    [job] = store.get([job_id])
    assert (job.status, job.output, job.progress) == (JobStatus.COMPLETED, "new", None)
    assert not BusinessRow.objects.using(alias).exists()
    assert store.count() == {(): 1}
    check_all(store, ledger)
