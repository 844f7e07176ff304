"""Batches of outcomes of which one cannot be stored, or whose claim half fails: the others are stored all the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from dataqueue_django.domain.portable import is_plain_text
from dataqueue_django.domain.records import (
    Claim,
    ClaimedJob,
    EventType,
    FailureReason,
    JobStatus,
    Kind,
    NewJob,
    Worker,
)
from dataqueue_django.domain.transitions import Execution, Fault, complete, fail, release, snooze
from dataqueue_django.models import Job as JobRow
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker import context
from dataqueue_django.worker.finishing import Finisher
from tests.faults.fleet import TRIALS
from tests.faults.inprocess import Workshop
from tests.harness.checkers import check_all
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, wait_until

pytestmark = REAL
SIZE, FULL = 100, 5
"""Outcomes in a batch, and how many of the trials are that large; the others have a fifth of it."""

NEW = NewJob(job_type="t")

NOT_JSON: dict[str, Any] = {"no JSON": object(), "NaN": float("nan"), "infinite": float("-inf"), "bytes": b"x"}
REFUSED_BY = {
    "sqlite": NOT_JSON,
    "postgresql": {**NOT_JSON, "NUL": "a\x00b", "NUL in a key": {"a\x00": 1}, "a lone surrogate": ["\ud800"]},
}


def claimed(store: PortableStore, count: int, worker_id: int | None = None) -> list[ClaimedJob]:
    """Add jobs and claim them."""
    worker = worker_id or store.put(Worker(label="a test")).id
    store.insert([NEW for _ in range(count)])
    return store.claim(Claim(limit=count, worker_id=worker, locked_by="a test"))


def outcome(job: ClaimedJob, kind: str) -> Any:
    """Return the change of an ordinary outcome."""
    run = Execution.of(job)
    fault = Fault(reason=FailureReason.HANDLER_ERROR, type="E", message="m")
    return {
        "complete": lambda: complete(run, output={"n": job.id}),
        "fail": lambda: fail(run, fault, retry_in=None),
        "retry": lambda: fail(run, fault, retry_in=3600),
        "snooze": lambda: snooze(run, 3600),
        "release": lambda: release(run, why="a test"),
    }[kind]()


EXPECTED = {
    "complete": EventType.COMPLETED,
    "fail": EventType.FAILED,
    "retry": EventType.FAILED,
    "snooze": EventType.SNOOZED,
    "release": EventType.RELEASED,
}


def store_all(finisher: Finisher) -> None:
    """Exchange until nothing is left, as the worker's loop does."""
    wait_until(lambda: finisher.exchange(None) == [] and finisher.empty)


def last_event(store: PortableStore, id: int) -> Any:
    return store.events(id)[-1]


def test_one_output_that_the_database_refuses_fails_alone(store: PortableStore, tally: Callable[[str], None]) -> None:
    refused = REFUSED_BY[connections[store.database].vendor]
    names = sorted(refused)
    for trial in range(TRIALS):
        name = names[trial % len(names)]
        chance, size = random.Random(trial), SIZE if trial < FULL else SIZE // 5
        jobs = claimed(store, size)
        guilty = chance.choice(jobs)
        finisher = Finisher(store, None)
        kinds = {job.id: chance.choice([*EXPECTED] if trial % 2 else ["complete"]) for job in jobs}
        for job in jobs:
            bad = complete(Execution.of(job), output=refused[name])
            finisher.add(job, (bad if job is guilty else outcome(job, kinds[job.id]),))
        finisher.exchange(None)
        stored = [job for job in jobs if job is not guilty and job.id not in {id for id, _ in finisher.executions()}]
        assert len(stored) == size - 1, f"{name}: only {len(stored)} others were stored by the first call"
        store_all(finisher)
        for job in stored:
            assert last_event(store, job.id).event_type == EXPECTED[kinds[job.id]], name
        found = store.get([guilty.id])[0]
        assert (found.status, found.failure_reason, found.will_retry) == (JobStatus.FAILED, "invalid_output", False)
        [entry] = found.error_history
        assert all(is_plain_text(value) for value in entry.values() if isinstance(value, str))
        JobRow._default_manager.using(store.database).filter(id__in=[job.id for job in jobs]).delete()
    tally(f"{TRIALS} batches with one refused output: all others stored by the first call")


@contextmanager
def locked(store: PortableStore, ids: list[int]) -> Iterator[None]:
    """Hold rows as a request does that has read them FOR UPDATE and has not ended."""
    holding, let_go = Event(), Event()

    def hold() -> None:
        try:
            with transaction.atomic(using=store.database):
                rows = JobRow._default_manager.using(store.database)
                assert len(rows.select_for_update().filter(id__in=ids)) == len(ids)
                holding.set()
                let_go.wait(PATIENCE)
        finally:
            connections[store.database].close()

    thread = Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(PATIENCE)
        yield
    finally:
        let_go.set()
        thread.join()


def test_a_row_that_a_request_holds_is_finished_when_it_lets_go(
    store: PortableStore, tally: Callable[[str], None]
) -> None:
    if connections[store.database].vendor == "sqlite":
        pytest.skip("SQLite locks files, not rows")
    for trial in range(TRIALS):
        chance = random.Random(trial)
        jobs = claimed(store, SIZE if trial < FULL else SIZE // 5)
        held = chance.sample(jobs, chance.choice([1, 1, 3]))
        kinds = {job.id: chance.choice([*EXPECTED] if trial % 2 else ["complete"]) for job in jobs}
        finisher = Finisher(store, None)
        for job in jobs:
            finisher.add(job, (outcome(job, kinds[job.id]),))
        with locked(store, [job.id for job in held]):
            finisher.exchange(None)
            assert {id for id, _ in finisher.executions()} == {job.id for job in held}
            assert {job.status for job in store.get([job.id for job in held])} == {JobStatus.PROCESSING}
        store_all(finisher)
        for job in jobs:
            assert last_event(store, job.id).event_type == EXPECTED[kinds[job.id]]
        JobRow._default_manager.using(store.database).filter(id__in=[job.id for job in jobs]).delete()
    tally(f"{TRIALS} batches with rows held by a request: all others stored by the first call")


def test_a_real_worker_with_one_refused_output_and_one_held_row(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hundred async handlers return in the same turn of the loop."""
    store = workshop.store
    refused = REFUSED_BY[connections[store.database].vendor]["NaN"]
    checked = context.checked_output
    monkeypatch.setattr(context, "checked_output", lambda output: refused if output == "bad" else checked(output))
    everybody, go = asyncio.Barrier(SIZE), Event()

    async def meets(bad: bool) -> str:
        await everybody.wait()
        while not go.is_set():
            await asyncio.sleep(0.01)
        return "bad" if bad else "good"

    workshop.handle("meets", meets)
    ids = [workshop.add("meets", {"bad": n == 41}) for n in range(SIZE)]
    held = [] if connections[store.database].vendor == "sqlite" else [ids[17]]
    with workshop.working(concurrency=SIZE):
        wait_until(lambda: store.count()[()] == SIZE and all_processing(store, ids))
        if held:
            with locked(store, held):
                go.set()
                workshop.until_ended(*[id for id in ids if id not in held])
                assert workshop.job(held[0]).status == JobStatus.PROCESSING
        go.set()
        jobs = dict(zip(ids, workshop.until_ended(*ids), strict=True))
    bad = jobs.pop(ids[41])
    assert (bad.status, bad.failure_reason) == (JobStatus.FAILED, "invalid_output")
    assert {(job.status, job.output, job.attempts) for job in jobs.values()} == {(JobStatus.COMPLETED, "good", 1)}
    check_all(store)


def all_processing(store: PortableStore, ids: list[int]) -> bool:
    return {job.status for job in store.get(ids)} == {JobStatus.PROCESSING}


def test_an_error_in_the_claim_half_does_not_lose_the_finish_half(
    store: PortableStore, tally: Callable[[str], None]
) -> None:
    """The claim names a worker that no column can hold (SQLite: in a text that is none), so the database refuses it."""
    sqlite = store.connection.vendor == "sqlite"
    for trial in range(TRIALS):
        chance = random.Random(trial)
        jobs = claimed(store, chance.choice([1, 7, SIZE // 2]))
        store.insert([NEW])
        kinds = {job.id: chance.choice([*EXPECTED] if trial % 2 else ["complete"]) for job in jobs}
        finisher = Finisher(store, None)
        for job in jobs:
            finisher.add(job, (outcome(job, kinds[job.id]),))
        worker_id = store.find(Kind.WORKER)[-1].id
        impossible = Claim(limit=1, worker_id=worker_id if sqlite else 2**80, locked_by="\ud800" if sqlite else "w")
        with suppress(DatabaseError, UnicodeEncodeError):
            assert finisher.exchange(impossible) == []
        assert len(finisher.executions()) in (0, len(jobs))
        store_all(finisher)
        for job in jobs:
            assert last_event(store, job.id).event_type == EXPECTED[kinds[job.id]]
            assert [e.event_type for e in store.events(job.id)].count(EXPECTED[kinds[job.id]]) == 1
        JobRow._default_manager.using(store.database).all().delete()
    tally(f"{TRIALS} exchanges whose claim failed, 0 outcomes lost")


def test_a_store_that_refuses_everything_for_a_while_turns_no_success_into_a_failure(
    store: PortableStore, tally: Callable[[str], None]
) -> None:
    """A server in read-only mode, say: the outcomes are not to blame and have to wait."""
    for trial in range(TRIALS):
        chance = random.Random(trial)
        jobs = claimed(store, chance.choice([1, 2, 20]))
        kinds = {job.id: chance.choice([*EXPECTED] if trial % 2 else ["complete"]) for job in jobs}
        finisher = Finisher(store, None)
        for job in jobs:
            finisher.add(job, (outcome(job, kinds[job.id]),))
        with read_only(store):
            for _ in range(3):
                with suppress(DatabaseError):
                    finisher.exchange(None)
            assert len(finisher.executions()) == len(jobs)
        store_all(finisher)
        for job in jobs:
            assert last_event(store, job.id).event_type == EXPECTED[kinds[job.id]]
        JobRow._default_manager.using(store.database).all().delete()
    tally(f"{TRIALS} spells of a read-only store, 0 outcomes lost or changed")


@contextmanager
def read_only(store: PortableStore) -> Iterator[None]:
    """Make every write on this thread's connection fail."""
    text = "PRAGMA query_only = {}" if store.connection.vendor == "sqlite" else "SET default_transaction_read_only = {}"
    with store.connection.cursor() as cursor:
        cursor.execute(text.format("on"))
        yield
        cursor.execute(text.format("off"))
