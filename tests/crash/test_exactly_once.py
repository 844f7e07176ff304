"""SIGKILL around every statement of handlers whose effects are in the queue's database: each effect happens once.

A trial is a chain of up to three processes that work on the same jobs: the first is killed in the first, second or
third execution, the next ones, which go on with what it left, in theirs. Afterwards a healthy worker brings everything
to rest, and the rows that `run_atomic` and `atomic_finish` wrote must be those that the jobs and their steps tell of.

`CRASH_TRIALS=all` kills at every repetition of every statement of a handler, before and after; without it every kind of
statement is killed a few times. Every run prints its seed; CRASH_SEED repeats the choices of one.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataqueue_django.domain.records import Job, JobStatus
from dataqueue_django.stores.base import Store
from tests.app.models import BusinessRow
from tests.crash.forkserver import Answer, ForkServer
from tests.crash.points import AFTER, BEFORE, Point, Trap, shown
from tests.crash.test_every_statement import EVERY, WRITING
from tests.database_urls import url_of
from tests.harness.checkers import Snapshot, check_all, k11_effects_once, wait_for_rest
from tests.harness.databases import hang_up
from tests.harness.fixtures import REAL
from tests.harness.ledger import Ledger
from tests.harness.workers import Workers

pytestmark = REAL

SEVERAL = 8
"""Chains of a run that does not kill everywhere."""

ROUNDS = 2
"""How often a run that kills everywhere begins a chain at each place."""

CALM = 4
"""Healthy workers in the end: what has crashed runs alone in its process."""

COMMIT = "COMMIT"
LONGEST_CHAIN = 3
GIVES_UP = 0.5
"""How often what a killed process left is left to the healthy worker."""


@dataclass
class Chains:
    """What was surveyed, and who was killed where."""

    alias: str
    server: ForkServer
    chance: random.Random
    points: list[Point] = field(default_factory=list)
    kills: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    count: int = 0

    def survey(self) -> None:
        """Run once without a kill to find where a handler touches the database."""
        answer = self._run(None, again=False)
        assert answer.status == 0, answer.log
        assert answer.result is not None
        self.points = [Point(*one) for one in answer.result["passed"] if one[0] == "handler"]

    def try_one(self, first: Trap) -> None:
        """Kill a process at a trap, and often those that go on with its jobs."""
        self.count += 1
        trap = first
        for link in range(LONGEST_CHAIN):
            answer = self._run(trap, again=link > 0)
            assert answer.killed or answer.status == 0, f"{trap.side} {trap.point}: {answer}"
            if not answer.killed:
                break
            self.kills[link, trap.point.text, trap.side] += 1
            if self.chance.random() < GIVES_UP:
                break
            trap = Trap(self.chance.choice(self.points), self.chance.choice((BEFORE, AFTER)))

    def _run(self, trap: Trap | None, *, again: bool) -> Answer:
        hang_up(self.alias)
        traps = [trap.to_json()] if trap else []
        return self.server.run("durable_trial", queue=f"chain {self.count}", traps=traps, again=again)


def test_every_effect_of_a_durable_handler_happens_exactly_once(
    alias: str,
    store: Store,
    workers: Workers,
    tmp_path: Path,
    chance: random.Random,
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    with ForkServer(url_of(alias), tmp_path) as server:
        chains = Chains(alias, server, chance)
        chains.survey()
        for trap in _traps(chains):
            chains.try_one(trap)
    for _ in range(CALM):
        workers.start("--concurrency", "4")
    wait_for_rest(store, timeout=900, failing=workers.autopsy)
    assert set(workers.stop()) == {0}
    snapshot = check_all(store, Ledger(workers.ledger))
    rows = list(BusinessRow.objects.using(alias).values_list("note", "job_id"))
    k11_effects_once(snapshot, Ledger(workers.ledger).read(), rows)
    _judge_endings(snapshot)
    with capsys.disabled():
        print(f"\n{_told(chains, snapshot, len(rows), time.monotonic() - began)}")
    assert any(text.startswith(COMMIT) for _, text, _ in chains.kills)


def _traps(chains: Chains) -> list[Trap]:
    """Where the chains begin."""
    traps = [Trap(point, side) for point in chains.points for side in (BEFORE, AFTER)]
    if EVERY:
        return traps * ROUNDS
    once = [trap for trap in traps if trap.point.n == 1 and WRITING.match(trap.point.text)]
    others = [trap for trap in traps if trap not in once]
    commits = [trap for trap in others if trap.point.text.startswith(COMMIT)]
    chosen = chains.chance.sample(commits, min(len(commits), SEVERAL // 4))
    chosen += chains.chance.sample(once, min(len(once), SEVERAL // 2))
    return chosen + chains.chance.sample(others, SEVERAL - len(chosen))


def _judge_endings(snapshot: Snapshot) -> None:
    """Nothing has failed but what was in three crashes, and what has completed has all its effects."""
    for job in snapshot.jobs.values():
        lost = (
            job.status is JobStatus.FAILED and job.failure_reason == "worker_lost" and job.crash_count >= LONGEST_CHAIN
        )
        assert job.status is JobStatus.COMPLETED or lost, snapshot.describe([job.id])
        if job.status is JobStatus.COMPLETED and "finish:f" in str(job.payload):
            names = {step.name for step in snapshot.steps[job.id]}
            assert {"a1", "a2", "a3", "r1", "r2"} <= names, snapshot.describe([job.id])


def _told(chains: Chains, snapshot: Snapshot, rows: int, seconds: float) -> str:
    kills = chains.kills
    links = [sum(n for (link, _, _), n in kills.items() if link == number) for number in range(LONGEST_CHAIN)]
    ended = Counter(job.status.value for job in snapshot.jobs.values() if _is_durable(job))
    lines = [
        f"{chains.alias}: {kills.total()} kills in {chains.count} chains in {seconds:.0f} s "
        f"({' + '.join(map(str, links))} in first, second and third processes)",
        f"{chains.alias}: {dict(ended)} durable jobs, {rows} effects, each exactly once",
        f"{chains.alias}: by statement, before and after:",
    ]
    for text in sorted({text for _, text, _ in kills}, key=shown):
        before, after = (sum(n for (_, t, s), n in kills.items() if (t, s) == (text, side)) for side in (BEFORE, AFTER))
        lines.append(f"  {before:4} {after:4}  {shown(text)[:150]}")
    return "\n".join(lines)


def _is_durable(job: Job) -> bool:
    return job.job_type == "harness.durable"
