"""The server did it, and the answer never came: after each statement, of each kind of work.

The process lives on and has to find out by itself. Nothing may be lost, done twice, or charged to a job, and what this
worker did itself must not be taken for somebody else's doing.

`CRASH_TRIALS=all` loses the answer to every statement, `CRASH_TRIALS=each` to what writes, when it is sent first.
Without it some of the latter are drawn. CRASH_SEED repeats the choices of a run.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache

import pytest

from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.lifecycle import ENDINGS as ENDED_BY
from dataqueue_django.domain.records import EventType, JobEvent, JobStatus
from dataqueue_django.stores.base import Store
from tests.app.models import BusinessRow
from tests.crash.forkserver import ForkServer
from tests.crash.points import AFTER, BEFORE, LOSE, Point, Trap, shown
from tests.crash.scenarios import LOSSES
from tests.crash.test_every_statement import EACH, EVERY, START_UP, WRITING
from tests.harness.checkers import Snapshot, check_all, k6_events_replay, k10_claims_are_numbered, k11_effects_once
from tests.harness.databases import hang_up
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, Ledger

pytestmark = REAL

FIRST_TIMES = 1
AFTERWARDS, NEVER_DONE = 5, 1
"""How many answers and how many whole commits are lost in each kind of work, where some are drawn."""

UNEXPECTED = re.compile(
    "the worker's loop failed|the heartbeat failed|cannot be stored|no longer owns it|Exception ignored|Exception in"
)
"""What a lost answer must not lead to."""

BY_THE_HANDLER = {"steps", "atomic_finish"}
"""What only a handler's own answers matter to; the worker's are looked at elsewhere."""

ROLES = {"waits": ("handler", "main"), **dict.fromkeys(BY_THE_HANDLER, ("handler",))}
CHILDREN = {"steps": 2}

ENDINGS = {
    "final failure": {JobStatus.FAILED},
    "give-back": {JobStatus.PENDING},
    "stopping": {JobStatus.CANCELLED},
}


@pytest.mark.parametrize("name", LOSSES)
def test_an_answer_lost_at_any_statement_changes_nothing(
    name: str,
    alias: str,
    store: Store,
    fork_server: ForkServer,
    chance: random.Random,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials: Counter[str] = Counter()
    ledger = Ledger(fork_server.ledger)
    hang_up(alias)
    _survey(fork_server, START_UP)  # what the first worker of a database does, and no other, is nothing to lose
    for number, trap in enumerate(_traps(fork_server, name, chance)):
        queue, point = f"trial {number}", trap.point
        answer = fork_server.run("lost_answer", name=name, queue=queue, traps=[trap.to_json()])
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


def _traps(server: ForkServer, name: str, chance: random.Random) -> list[Trap]:
    """After every write, like those at which others are killed; and before a handler's COMMIT, which is never done."""
    points = _survey(server, name)
    roles = ROLES.get(name)
    mine = [point for point in points if roles is None or point.role in roles]
    commits = [point for point in points if point.role == "handler" and is_commit(point)]
    if EVERY:
        return [Trap(point, AFTER, LOSE) for point in mine] + [Trap(point, BEFORE, LOSE) for point in commits]
    elsewhere = _of_every_worker(server) if name != START_UP else set()
    first = (point for point in mine if point.n <= FIRST_TIMES and WRITING.match(point.text))
    chosen = [point for point in first if (point.role, point.text) not in elsewhere]
    never = commits[: 4 * FIRST_TIMES]
    if not EACH:
        chosen = chance.sample(chosen, min(AFTERWARDS, len(chosen)))
        never = chance.sample(never, min(NEVER_DONE, len(never)))
    return [Trap(point, AFTER, LOSE) for point in chosen] + [Trap(point, BEFORE, LOSE) for point in never]


@cache
def _of_every_worker(server: ForkServer) -> set[tuple[str, str]]:
    return {(point.role, point.text) for point in _survey(server, START_UP)}


def _survey(server: ForkServer, name: str) -> list[Point]:
    answer = server.run("lost_answer", name=name, queue=f"survey of {name}", traps=[])
    assert answer.status == 0, answer.log
    assert answer.result is not None
    return [Point(*one) for one in answer.result["passed"]]


def is_commit(point: Point) -> bool:
    """Whether a statement ends a transaction by storing it; its text goes on with what it stores."""
    return point.text.startswith("COMMIT")


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
    if trap.side == AFTER and is_commit(trap.point) and trap.point.role == "handler":
        assert {job.attempts for job in jobs} <= {1}, f"{where}\n{snapshot.describe(job.id for job in jobs)}"


def _check_claims(events: list[JobEvent], begun: set[tuple[int, int]], facts: str) -> None:
    """Every claim was begun, or given back because its answer was lost."""
    for event in events:
        if event.event_type is EventType.PROCESSING:
            ending = next(e for e in events if e.claim_seq == event.claim_seq and e.event_type in ENDED_BY)
            given_back = ending.event_type is EventType.RELEASED and ending.metadata == {"reason": "unknown_commit"}
            reclaimed = ending.event_type is EventType.RECLAIMED
            assert given_back or reclaimed or (event.job_id, event.claim_seq) in begun, facts
