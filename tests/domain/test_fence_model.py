"""Why `claim_seq` alone guards what an execution writes: every other rule lets an old execution through.

An exhaustive search over everything that can happen to one job with two workers, up to a few claims. An execution
lives on after it lost its job: its code still runs and may try to write at any later moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

WORKERS = ("a", "b")
CLAIMS = 4
ATTEMPTS = 2
MOST_ATTEMPTS = 4


@dataclass(frozen=True)
class Execution:
    """A run of the job that is still going on somewhere, whether or not it still owns the job."""

    worker: str
    attempt: int
    number: int
    claim_seq: int


@dataclass(frozen=True)
class World:
    """The job as stored, and the executions whose code still runs. `owner` is the truth that no rule may look at."""

    status: str = "pending"
    attempts: int = 0
    max_attempts: int = ATTEMPTS
    claims: int = 0
    claim_seq: int = 0
    holder: str | None = None
    owner: int | None = None
    resuming: bool = False
    running: tuple[Execution, ...] = ()


Rule = Callable[[World, Execution], bool]
"""Whether the store accepts a write of an execution."""

RULES: dict[str, Rule] = {
    "it is processing": lambda job, run: job.status == "processing",
    "the worker holds it": lambda job, run: job.holder == run.worker,
    "the attempt is the same": lambda job, run: job.status == "processing" and job.attempts == run.attempt,
    "worker and attempt are the same": lambda job, run: job.holder == run.worker and job.attempts == run.attempt,
}
FENCE: Rule = lambda job, run: job.claim_seq == run.claim_seq  # noqa: E731 - a rule like the others

Step = tuple[str, World, bool]
"""What happens, what it leads to, and whether it was a write by an execution that did not own the job."""


def steps(rule: Rule, job: World) -> Iterator[Step]:
    """Yield everything that can happen next."""
    if job.status == "pending" and (job.resuming or job.attempts < job.max_attempts) and job.claims < CLAIMS:
        for worker in WORKERS:
            yield f"claim by {worker}", claimed(job, worker), False
    if job.status == "processing":
        retries = job.attempts < job.max_attempts
        yield "reclaim", left(job, "pending" if retries else "failed"), False
        yield "cancel by force", left(job, "cancelled"), False
    if job.status == "waiting":
        yield "the wait ends", replace(job, status="pending", resuming=True), False
    if job.status in ("failed", "cancelled") and job.max_attempts < MOST_ATTEMPTS:
        most = max(job.max_attempts, job.attempts + 1)
        yield "retry by hand", replace(job, status="pending", max_attempts=most), False
    for run in job.running:
        if rule(job, run):
            stale = run.number != job.owner
            for name, after in writes(job, run):
                yield f"{name} by execution {run.number}", after, stale


def claimed(job: World, worker: str) -> World:
    """Return the world after a worker claimed the job."""
    attempts = job.attempts + (not job.resuming)
    number = job.claims + 1
    run = Execution(worker, attempts, number, job.claim_seq + 1)
    return replace(
        job,
        status="processing",
        attempts=attempts,
        claims=number,
        claim_seq=run.claim_seq,
        holder=worker,
        owner=number,
        resuming=False,
        running=(*job.running, run),
    )


def left(job: World, status: str, *, resuming: bool = False) -> World:
    """Return the world after the job left processing, whoever moved it."""
    return replace(job, status=status, claim_seq=job.claim_seq + 1, holder=None, owner=None, resuming=resuming)


def writes(job: World, run: Execution) -> Iterator[tuple[str, World]]:
    """Yield what an accepted execution can write. After parking or giving back, its code may run on."""
    ended = replace(job, running=tuple(other for other in job.running if other != run))
    yield "completion", left(ended, "completed")
    yield "failure", left(ended, "failed" if job.attempts >= job.max_attempts else "pending")
    yield "parking", left(job, "waiting")
    yield "giving back", left(job, "pending", resuming=True)


def search(rule: Rule) -> tuple[list[str] | None, list[World]]:
    """Return the shortest way to a write by an execution that lost its job, if there is one, and all worlds seen."""
    start = World()
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        job = queue.popleft()
        for name, after, stale in steps(rule, job):
            if stale:
                return [*way_to(job, came_from), name], list(came_from)
            if after not in came_from:
                came_from[after] = job, name
                queue.append(after)
    return None, list(came_from)


def way_to(job: World, came_from: dict[World, tuple[World, str] | None]) -> list[str]:
    """Return the steps from the start to a world."""
    names: list[str] = []
    while (before := came_from[job]) is not None:
        job, name = before
        names.append(name)
    return names[::-1]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_other_rules_let_an_old_execution_through_after_four_steps(rule: Rule) -> None:
    way, _ = search(rule)
    assert way is not None
    assert len(way) == 4
    assert [name.split(" by ")[0] for name in way[::2]] == ["claim", "claim"]
    assert way[-1].endswith("by execution 1")


def test_claim_seq_lets_nobody_through() -> None:
    way, worlds = search(FENCE)
    assert way is None
    assert len(worlds) > 1000
    assert {world.claims for world in worlds} == set(range(CLAIMS + 1))


def test_claim_seq_is_odd_exactly_while_processing() -> None:
    _, worlds = search(FENCE)
    assert all((world.claim_seq % 2 == 1) == (world.status == "processing") for world in worlds)


def test_without_a_step_on_leaving_an_ended_execution_could_write_again() -> None:
    """Were it raised at claims only, parked and given-back jobs would still take their last execution's word."""

    def raised_at_claims_only(job: World, run: Execution) -> bool:
        return run.claim_seq in (job.claim_seq, job.claim_seq - 1)

    way, _ = search(raised_at_claims_only)
    assert way is not None
    assert len(way) == 3
