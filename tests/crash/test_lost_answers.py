"""The server did it, and the answer never came: after each statement, of each kind of work.

The process lives on and has to find out by itself. Nothing may be lost, done twice, or charged to a job, and what this
worker did itself must not be taken for somebody else's doing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.lifecycle import ENDINGS as ENDED_BY
from dataqueue_django.domain.records import EventType, JobEvent, JobStatus
from dataqueue_django.stores.base import Store
from tests.app.models import BusinessRow
from tests.crash.forkserver import ForkServer
from tests.crash.points import AFTER, BEFORE, LOSE, Point, Trap, shown
from tests.crash.scenarios import LOSSES
from tests.crash.test_every_statement import WRITING
from tests.database_urls import url_of
from tests.harness.checkers import Snapshot, check_all, k6_events_replay, k10_claims_are_numbered, k11_effects_once
from tests.harness.databases import hang_up
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, Ledger

pytestmark = REAL

EVERY = os.environ.get("CRASH_TRIALS") == "all"
FIRST_TIMES = 2

UNEXPECTED = re.compile(
    "the worker's loop failed|the heartbeat failed|cannot be stored|no longer owns it|Exception ignored|Exception in"
)
"""What a lost answer must not lead to."""

CLOCKS = {"LEASE": 20.0}
"""A worker on a busy machine must not lose its lease by itself here."""

BY_THE_HANDLER = {"steps", "atomic_finish"}
"""What only a handler's own answers matter to; the worker's are looked at elsewhere."""

ROLES = {"waits": ("handler", "main"), **dict.fromkeys(BY_THE_HANDLER, ("handler",))}
CHILDREN = {"steps": 2}

ENDINGS = {
    "final failure": {JobStatus.FAILED},
    "give-back": {JobStatus.PENDING},
}


@pytest.mark.parametrize("name", LOSSES)
def test_an_answer_lost_at_any_statement_changes_nothing(
    name: str, alias: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials: Counter[str] = Counter()
    ledger = Ledger(tmp_path / "ledger.jsonl")
    hang_up(alias)
    with ForkServer(url_of(alias), tmp_path, CLOCKS) as server:
        survey = server.run("lost_answer", name=name, queue="survey", traps=[])
        assert survey.status == 0, survey.log
        assert survey.result is not None
        for number, trap in enumerate(_traps(name, survey.result["passed"])):
            queue, point = f"trial {number}", trap.point
            answer = server.run("lost_answer", name=name, queue=queue, traps=[trap.to_json()])
            where = f"{name}: the connection was lost {trap.side} {point}\n{answer.log}"
            assert answer.status == 0, where
            assert answer.result is not None
            if not answer.result["sprung"]:
                continue
            trials[point.text] += 1
            assert not UNEXPECTED.search(answer.log), where
            snapshot = _verify(name, store, queue, ledger, where)
            _verify_durable(name, alias, snapshot, trap, ledger, where)
            hang_up(alias)
    if name != "give-back":  # there, nobody comes to run what was given back
        check_all(store, ledger)
    with capsys.disabled():
        print(f"\n{alias}, {name}: {trials.total()} answers lost")
        for text, count in sorted(trials.items(), key=lambda item: shown(item[0])):
            print(f"  {count:4}  {shown(text)[:150]}")
    assert trials


def _traps(name: str, passed: list[list[object]]) -> list[Trap]:
    """After every write; and before a handler's COMMIT, which then never comes to anything."""
    points = [Point(*one) for one in passed]  # type: ignore[arg-type]
    roles = ROLES.get(name)
    chosen = [
        point
        for point in points
        if (EVERY or (WRITING.match(point.text) and point.n <= FIRST_TIMES)) and (roles is None or point.role in roles)
    ]
    commits = [point for point in points if point.role == "handler" and point.text == "COMMIT"]
    never = commits if EVERY else commits[: 4 * FIRST_TIMES]
    return [Trap(point, AFTER, LOSE) for point in chosen] + [Trap(point, BEFORE, LOSE) for point in never]


def _verify(name: str, store: Store, queue: str, ledger: Ledger, where: str) -> Snapshot:
    jobs = store.query(JobFilter(queues=(queue,)), limit=100)
    snapshot = Snapshot(
        {job.id: job for job in jobs},
        {job.id: store.events(job.id) for job in jobs},
        {job.id: store.steps(job.id) for job in jobs},
    )
    assert len(jobs) == {"enqueue with a key": 1, "registration and heartbeat": 0}.get(name, len(jobs)), where
    k6_events_replay(snapshot)
    k10_claims_are_numbered(snapshot)
    begun = {entry.execution for entry in ledger.read(BEGIN)}
    for job in jobs:
        facts = f"{where}\n{snapshot.describe([job.id])}"
        assert job.status in ENDINGS.get(name, {JobStatus.COMPLETED}), facts
        assert job.crash_count == (name == "reclaim"), facts
        _check_claims(snapshot.events[job.id], begun, facts)
    return snapshot


def _verify_durable(name: str, alias: str, snapshot: Snapshot, trap: Trap, ledger: Ledger, where: str) -> None:
    """Each effect and each spawned job is there once, and a handler whose work was stored has gone on."""
    jobs = [job for job in snapshot.jobs.values() if job.job_type == "harness.durable"]
    rows = list(BusinessRow.objects.using(alias).filter(job_id__in=snapshot.jobs).values_list("note", "job_id"))
    k11_effects_once(snapshot, ledger.read(), rows)
    assert len(snapshot.jobs) - len(jobs) == CHILDREN.get(name, 0) or not jobs, where
    if trap.side == AFTER and trap.point.text == "COMMIT" and trap.point.role == "handler":
        assert {job.attempts for job in jobs} <= {1}, f"{where}\n{snapshot.describe(job.id for job in jobs)}"


def _check_claims(events: list[JobEvent], begun: set[tuple[int, int]], facts: str) -> None:
    """Every claim was begun, or given back because its answer was lost."""
    for event in events:
        if event.event_type is EventType.PROCESSING:
            ending = next(e for e in events if e.claim_seq == event.claim_seq and e.event_type in ENDED_BY)
            given_back = ending.event_type is EventType.RELEASED and ending.metadata == {"reason": "unknown_commit"}
            reclaimed = ending.event_type is EventType.RECLAIMED
            assert given_back or reclaimed or (event.job_id, event.claim_seq) in begun, facts
