"""Random histories: the same steps on the store and on the memory store, compared after every one.

Each step has its own source of chance, so that a history from which steps are left out still makes sense: a failing
one is cut down to the few steps that matter before it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from ...domain.changes import SPAWNED, Add, After, Alternatives, Change, Committed, FieldOf, Verb
from ...domain.controls import limit_id, scope_id
from ...domain.filters import EVERYTHING, JobFilter, Order, TagMatch, TagMode, TimeRange
from ...domain.liveness import beat, expire, stop
from ...domain.pausing import pause, resume
from ...domain.records import (
    CancelRequest,
    Claim,
    EventType,
    Inserted,
    Job,
    JobEvent,
    JobLog,
    JobStatus,
    Kind,
    Limit,
    NewJob,
    Pause,
    Step,
    StepKind,
    Token,
    Worker,
)
from ...domain.steering import ask_to_stop, cancel, cancel_upcoming, catch_up, edit, edited_fields, retry
from ...domain.steps import recorded
from ...domain.tokens import all_awake, new_token, wake
from ...domain.tokens import complete as complete_token
from ...domain.tokens import expire as expire_token
from ...domain.transitions import (
    Execution,
    complete,
    fail,
    or_cancelled,
    park,
    prolong,
    reclaim,
    record,
    release,
    snooze,
    stopped,
    take_away,
    write_progress,
)
from ...domain.waits import Wait, WaitKind
from ...exceptions import GroupFull
from ...stores.base import Store
from ...stores.memory import MemoryStore
from .base import NOW, Contract, execution_of
from .finishing import BROKEN
from .lifecycle import waiting_for_time
from .watching import Check, Watched

HISTORIES = 10
STEPS = 70
MOST_JOBS = 12
GROUPS = ("g", "h", "i")
TOKENS = ("wp_a", "wp_b", "wp_B")
CHILD = "child"
"""The name of the steps whose result is the id of a job."""

Move = tuple[str, int]
"""The name of an action and the seed of its chance."""


@dataclass(slots=True)
class Side:
    """One of the two stores, seen through places (the n-th job, the n-th worker) where it has ids of its own."""

    store: Store
    jobs: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)

    def insert(self, jobs: Sequence[NewJob], now: datetime, *, bounded: bool = False) -> list[Inserted]:
        """Insert jobs; the answers name places."""
        answers = self.store.insert(jobs, now=now, bounded=bounded)
        return [replace(one, id=self.place_of(one.id, not one.existed)) for one in answers]

    def committed(self, answers: list[Committed]) -> list[Committed]:
        """Return the answers of a commit with places for ids."""
        known = set(self.jobs)
        return [
            a if a.spawned is None else replace(a, spawned=self.place_of(a.spawned, a.spawned not in known))
            for a in answers
        ]

    def items(self, items: Sequence[Alternatives]) -> list[Alternatives]:
        """Return items that name places as items that name ids."""
        return [tuple(self._change(change) for change in alternatives) for alternatives in items]

    def claim(self, claim: Claim) -> Claim:
        """Return a claim that names places as one that names ids."""
        ids = tuple(self.jobs[place] for place in claim.ids)
        return replace(claim, worker_id=self.workers[claim.worker_id], ids=ids)

    def place_of(self, job_id: int, new: bool = False) -> int:
        """Return the place of a job, the next one if it is new."""
        if new:
            self.jobs.append(job_id)
        return self.jobs.index(job_id)

    def job(self, job: Any) -> Any:
        """Return a record of a job with places for ids."""
        changes: dict[str, Any] = {"id": self.place_of(job.id)}
        if isinstance(job, Job):
            if job.worker_id is not None:
                changes["worker_id"] = self.workers.index(job.worker_id)
            if job.dead_letter_job_id is not None:
                changes["dead_letter_job_id"] = self.place_of(job.dead_letter_job_id)
        return replace(job, **changes)

    def event(self, event: JobEvent) -> JobEvent:
        """Return an event with places for ids, and without one of its own."""
        worker = None if event.worker_id is None else self.workers.index(event.worker_id)
        return replace(event, id=0, job_id=self.place_of(event.job_id), worker_id=worker)

    def shows(self) -> dict[str, Any]:
        """Return all that the store shows but the events."""
        return {
            "jobs": {job.id: job for job in map(self.job, self.store.query(EVERYTHING, limit=1000))},
            "workers": [replace(worker, id=self.workers.index(worker.id)) for worker in self.store.find(Kind.WORKER)],
            "counts": self.store.count(by=("queue", "status")),
            "tokens": [self.token(token) for token in self.store.find(Kind.TOKEN)],
            "requests": [self.request(request) for request in self.store.find(Kind.CANCEL)],
            "strays": [self.request(request) for request in self.store.stray_requests()],
        }

    def token(self, token: Token) -> tuple[Any, ...]:
        """Return what can be compared of a token: a deletion closes it by the store's own clock."""
        place = None if token.job_id is None else self.place_of(token.job_id)
        return (token.id, place, token.status, token.output, token.timeout_at, token.tags, token.due_at is None)

    def request(self, request: CancelRequest) -> CancelRequest:
        """Return a request to cancel with a place for its id."""
        return replace(request, id=self.place_of(request.id))

    def history(self, place: int) -> list[Any]:
        """Return the steps and the lines of the job at a place, with places for ids."""
        id = self.jobs[place]
        steps = [replace(step, job_id=place, result=self._result(step)) for step in self.store.steps(id)]
        return [*steps, *(replace(line, id=0, job_id=place) for line in self.store.logs(id))]

    def events(self, places: Iterable[int]) -> list[list[JobEvent]]:
        """Return the events of the jobs at these places."""
        return [[self.event(event) for event in self.store.events(self.jobs[place])] for place in places]

    def _result(self, step: Step) -> Any:
        return {"jobId": self.place_of(step.result["jobId"])} if step.name == CHILD else step.result

    def _change(self, change: Change) -> Change:
        then = tuple(self._change(one) for one in change.then)
        needs = tuple(replace(need, id=self._id(need.kind, need.id)) for need in change.needs)
        put = tuple(self._owned(one) for one in change.put)
        return replace(change, id=self._id(change.kind, change.id), then=then, needs=needs, put=put)

    def _owned(self, record: Any) -> Any:
        if isinstance(record, CancelRequest):
            return replace(record, id=self.jobs[record.id])
        return record if record.job_id is None else replace(record, job_id=self.jobs[record.job_id])

    def _id(self, kind: Kind, place: Any) -> Any:
        return place if kind is Kind.TOKEN else (self.workers if kind is Kind.WORKER else self.jobs)[place]


@dataclass(slots=True)
class History:
    """Two sides that live through the same steps. Everything chosen is in places, so that both understand it."""

    sides: tuple[Side, Side]
    check: Check
    now: datetime = NOW
    executions: list[Execution] = field(default_factory=list)

    def live(self, steps: Sequence[Move]) -> None:
        """Take the steps; raises AssertionError where the sides differ."""
        before: dict[int, Job] = {}
        for name, seed in steps:
            act, random = ACTIONS[name], Random(seed)
            choice = act.choose(self, random)
            if choice is not None:
                answers = [act.do(side, choice, self.now) for side in self.sides]
                assert answers[0] == answers[1], f"{name} {choice!r} was answered differently"
                act.learn(self, answers[0])
                shown = self.model.shows()
                assert shown == self.sides[1].shows(), f"after {name} {choice!r}"
                jobs = shown["jobs"]
                self.compare_events(place for place, job in jobs.items() if before.get(place) != job)
                before = jobs
                self.check(self.sides[1].store, name, self.now)
        self.compare_events(range(len(self.model.jobs)))

    def compare_events(self, places: Iterable[int]) -> None:
        """Assert that the jobs at these places have the same events and the same history on both sides."""
        some = list(places)
        for place in some:
            assert self.model.history(place) == self.sides[1].history(place), f"history of {place}"
        assert self.model.events(some) == self.sides[1].events(some), f"events of {some}"

    @property
    def model(self) -> Side:
        """The side of the memory store."""
        return self.sides[0]

    def any_place(self, random: Random) -> int:
        """Return the place of some job, gone or not."""
        return random.randrange(len(self.model.jobs))

    def fresh(self, run: Execution) -> Execution:
        """Return what an observer would read of a job now, who has `run`'s job in view."""
        found = self.model.store.get([self.model.jobs[run.job_id]])
        if not found:
            return run
        job = found[0]
        return Execution(run.job_id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can happen: choose what, do it to one side, learn from the answer. None chosen: not now."""

    choose: Callable[[History, Random], Any]
    do: Callable[[Side, Any, datetime], Any]
    learn: Callable[[History, Any], None] = lambda history, answer: None


# -- choices


def _some_jobs(history: History, random: Random) -> list[NewJob] | None:
    if len(history.model.jobs) >= MOST_JOBS:
        return None
    return [_some_job(history, random) for _ in range(random.choice((0, 1, 1, 2, 3)))]


def _some_job(history: History, random: Random) -> NewJob:
    return NewJob(
        job_type=random.choice(("a", "A", "b")),
        queue=random.choice(("q", "Q")),
        payload=random.choice((None, {"n": 1}, "x")),
        priority=random.choice((0, 0, 1, -1)),
        max_attempts=random.choice((1, 2, 3)),
        run_at=random.choice((None, None, history.now + timedelta(seconds=random.randrange(-5, 20)))),
        tags=random.choice(((), ("t", "T"))),
        idempotency_key=random.choice((None, None, "k", "K", "l")),
        group_id=random.choice((None, None, *GROUPS)),
    )


def _some_scope(random: Random) -> dict[str, Any]:
    return {"queue": random.choice(("", "q", "Q")), "job_type": random.choice(("", "a", "b"))}


def _some_pause(history: History, random: Random) -> Pause:
    scope = _some_scope(random)
    until = random.choice((None, history.now + timedelta(seconds=random.choice((0, 5)))))
    return Pause(id=scope_id(**scope), **scope, reason="why", until=until)


def _some_limit(history: History, random: Random) -> Limit:
    scope = _some_scope(random)
    of: dict[str, Any] = random.choice(({}, {"per_group": True}, {"group_id": "g"}))
    rate: dict[str, Any] = random.choice(({}, {"rate": 2, "per_ms": 5_000, "burst": random.choice((None, 1, 3))}))
    slots, size = random.choice((None, 0, 1, 2)), random.choice((None, 2)) if of else None
    return Limit(id=limit_id(**scope, **of), **scope, **of, **rate, concurrency=slots, max_size=size)


def _some_claim(history: History, random: Random) -> Claim | None:
    workers = history.model.workers
    if not workers:
        return None
    return Claim(
        limit=random.choice((0, 1, 2, 5)),
        worker_id=random.randrange(len(workers)),
        locked_by="w",
        queues=random.choice(((), (), ("q",), ("q", "Q"))),
        exclude_queues=random.choice(((), (), ("Q",))),
        job_types=random.choice(((), (), ("a",), ("a", "b"))),
        exclude_job_types=random.choice(((), (), ("A",))),
        ids=tuple(range(0, len(history.model.jobs), 2)) if random.random() < 0.1 else (),
        crashed=random.choice((None, False, False, True)),
        exclude_groups=random.choice(((), (), ("h",))),
        group_concurrency=random.choice((None, None, 1)),
    )


def _some_items(history: History, random: Random) -> list[Alternatives] | None:
    if not history.model.jobs:
        return None
    return [_some_item(history, random) for _ in range(random.choice((1, 1, 2, 4)))]


def _some_item(history: History, random: Random) -> Alternatives:
    if history.executions and random.random() < 0.3:
        return _some_stop(history, random)
    changes = [_some_change(history, random)]
    if random.random() < 0.2:
        changes.append(_some_change(history, random))
    if random.random() < 0.1:
        follow_up = replace(_some_change(history, random), spawn=None, link=None)
        changes[0] = replace(changes[0], then=(follow_up,))
    return tuple(changes)


def _some_stop(history: History, random: Random) -> Alternatives:
    """How an execution ends that a person may have asked to stop; without an end it is asked."""
    run = random.choice(history.executions[-4:])
    wait, progress = _some_wait(history, random), random.choice((None, {"progress": 7}))
    kinds: list[Callable[[], Alternatives]] = [
        lambda: park(run, wait, progress=progress),
        lambda: or_cancelled(park(run, wait, progress=progress)),
        lambda: or_cancelled((fail(run, BROKEN, retry_in=random.choice((None, 5)), progress=progress),)),
        lambda: or_cancelled((release(run, why="stopping"),)),
        lambda: stopped(run, progress=progress),
        lambda: ask_to_stop(run.job_id, run.claim_seq, actor="x", reason=random.choice(("", "why"))),
        lambda: ask_to_stop(run.job_id, run.claim_seq, actor="y"),
    ]
    return random.choice(kinds)()


def _some_catching_up(history: History, random: Random) -> list[Alternatives] | None:
    """What is done about the requests to cancel whose execution is over, and about others as if it were."""
    side = history.model
    requests = side.store.find(Kind.CANCEL) if random.random() < 0.2 else side.store.stray_requests()
    jobs = {job.id: side.job(job) for job in side.store.get([request.id for request in requests])}
    return [catch_up(side.request(request), jobs.get(request.id)) for request in requests] or None


def _some_change(history: History, random: Random) -> Change:
    if history.executions and random.random() < 0.8:
        return _some_end(history, random)
    return _some_order(history.any_place(random), random)


def _some_end(history: History, random: Random) -> Change:
    """What an execution writes, old or current, or what is done about one by an observer."""
    run = random.choice(history.executions[-8:] if random.random() < 0.8 else history.executions)
    ends: list[Callable[[], Change]] = [
        lambda: complete(run),
        lambda: complete(run, output=random.choice((None, [1], {"x": None})), progress={"progress": 100}),
        lambda: fail(run, BROKEN, retry_in=random.choice((None, 0, 5.5))),
        lambda: release(run, why="stopping"),
        lambda: snooze(run, random.choice((0, 7))),
        lambda: write_progress(run, {"progress": random.randrange(101), "progress_data": {"a": [1]}}),
        lambda: waiting_for_time(run, 5)[0],
        lambda: _some_record(run, random),
        lambda: record(run, recorded(run, StepKind.SPAWN, CHILD, {"jobId": SPAWNED}), spawn=NewJob(job_type="b")),
        lambda: prolong(run, 30, why="prolong"),
        lambda: take_away(history.fresh(run) if history.fresh(run).claim_seq % 2 else run, held_for=3),
        lambda: reclaim(history.fresh(run), backoff=3) if history.fresh(run).claim_seq % 2 else reclaim(run),
        lambda: replace(
            fail(run, BROKEN, retry_in=None),
            spawn=NewJob(job_type="b", queue="dead"),
            link="dead_letter_job_id",
        ),
    ]
    return random.choice(ends)()


def _some_wait(history: History, random: Random) -> Wait:
    place, later = random.randrange(2), history.now + timedelta(seconds=random.randrange(-3, 9))
    waits = (
        Wait(kind=WaitKind.FOR, place=place, until=After(random.choice((0.5, 5)))),
        Wait(kind=WaitKind.UNTIL, place=place, until=later),
        Wait(kind=WaitKind.TOKEN, place=place, token_id=random.choice(TOKENS)),
    )
    return random.choice((*waits, waits[-1]))


def _some_record(run: Execution, random: Random) -> Change:
    """What a handler has done beside its job."""
    line = JobLog(job_id=run.job_id, created_at=NOW, level="INFO", message="hi", claim_seq=run.claim_seq)
    token = new_token(UUID(int=random.getrandbits(128)), timeout=random.choice((None, 5)), job_id=run.job_id)
    kind, name = random.choice(list(StepKind)), str(random.randrange(2))
    put: list[Any] = [recorded(run, kind, name, random.choice((None, [1]))), line, token]
    return record(run, *random.sample(put, random.choice((1, 2, 3))))


def _some_tokens(history: History, random: Random) -> list[Token] | None:
    known = {token.id for token in history.model.store.find(Kind.TOKEN)}
    fresh = [id for id in TOKENS if id not in known]
    times = (None, After(random.choice((1, 8))))
    due = random.choice(times)
    return [Token(id=random.choice(fresh), timeout_at=due, due_at=due, tags=("t",))] if fresh else None


def _some_closings(history: History, random: Random) -> list[Alternatives] | None:
    """What people and upkeep do about tokens."""
    ids = [*TOKENS, *(token.id for token in history.model.store.find(Kind.TOKEN))]
    kinds: list[Callable[[str], Alternatives]] = [
        lambda id: complete_token(id, random.choice((None, {"a": 1})), actor="x"),
        expire_token,
        all_awake,
        lambda id: wake(history.any_place(random), id),
    ]
    if not history.model.jobs:
        return None
    return [random.choice(kinds)(random.choice(ids)) for _ in range(random.choice((1, 2, 4)))]


def _some_order(place: int, random: Random) -> Change:
    """What a person may do to a job."""
    orders: list[tuple[dict[str, Any], dict[str, Any], EventType]] = [
        ({"status": (JobStatus.PENDING,)}, {"priority": Add(1), "ready_at": After(4)}, EventType.EDITED),
        ({"status": (JobStatus.PENDING,)}, {"ready_at": FieldOf("run_at")}, EventType.EDITED),
    ]
    guard, fields, event = random.choice(orders)
    return Change(
        verb=Verb.OTHER, id=place, guard=guard, set=fields, event=event, actor="somebody", metadata={"a": [1]}
    )


def _some_askings(history: History, random: Random) -> list[Alternatives] | None:
    """What people ask of jobs."""
    if not history.model.jobs:
        return None
    asked: list[Callable[[int], Alternatives]] = [
        cancel,
        lambda place: cancel_upcoming(place, still=random.choice(({}, {"priority": (0,)}, {"tags": (("t", "T"),)}))),
        retry,
        lambda place: pause(place, until=random.choice((None, history.now + timedelta(seconds=5)))),
        resume,
        lambda place: edit(place, edited_fields(_some_updates(history, random), now=history.now), actor="x"),
    ]
    return [random.choice(asked)(history.any_place(random)) for _ in range(random.choice((1, 1, 3)))]


def _some_updates(history: History, random: Random) -> dict[str, Any]:
    updates: dict[str, Any] = {
        "priority": random.choice((0, 1)),
        "max_attempts": random.choice((1, 3)),
        "run_at": random.choice((None, history.now + timedelta(seconds=7))),
        "tags": random.choice((None, ["t"], ["u", "t"])),
        "payload": random.choice((None, [1])),
        "timeout": random.choice((None, 5)),
    }
    return {name: updates[name] for name in random.sample(sorted(updates), random.choice((1, 2, 6)))}


def _some_beats(history: History, random: Random) -> list[Alternatives] | None:
    workers = len(history.model.workers)
    if not workers:
        return None
    kinds = (beat, beat, beat, stop, expire, lambda id: expire(id, seen_beat=random.randrange(3)))
    return [(random.choice(kinds)(random.randrange(workers)),) for _ in range(random.choice((1, 1, 3)))]


def _some_deletion(history: History, random: Random) -> tuple[list[int], bool] | None:
    if not history.model.jobs:
        return None
    return [history.any_place(random) for _ in range(random.choice((1, 2)))], random.random() < 0.3


def _some_question(history: History, random: Random) -> dict[str, Any]:
    return {
        "where": JobFilter(
            statuses=random.choice(((), (JobStatus.PENDING,), (JobStatus.FAILED, JobStatus.COMPLETED))),
            queues=random.choice(((), ("q",))),
            job_types=random.choice(((), ("A", "b"))),
            idempotency_keys=random.choice(((), ("k", "l"))),
            priorities=random.choice(((), (), (0, -1))),
            run_at=random.choice((None, None, TimeRange(gt=history.now), TimeRange(lte=history.now))),
            tags=random.choice((None, None, *(TagMatch(("t",), mode) for mode in TagMode))),
        ),
        "order": random.choice(list(Order)),
        "limit": random.choice((1, 3, 50)),
        "after": history.any_place(random) if history.model.jobs and random.random() < 0.5 else None,
    }


# -- deeds


def _do_claim(side: Side, claim: Claim, now: datetime) -> Any:
    return [], [side.job(job) for job in side.store.claim(side.claim(claim), now=now)]


def _do_commit(side: Side, items: list[Alternatives], now: datetime) -> Any:
    return side.committed(side.store.commit(side.items(items), now=now))


def _do_exchange(side: Side, choice: tuple[list[Alternatives], Claim], now: datetime) -> Any:
    items, claim = choice
    results, jobs = side.store.exchange(side.items(items), side.claim(claim), now=now)
    return side.committed(results), [side.job(job) for job in jobs]


def _do_insert_bounded(side: Side, jobs: list[NewJob], now: datetime) -> Any:
    try:
        return side.insert(jobs, now, bounded=True)
    except GroupFull as why:
        return str(why)


def _do_delete(side: Side, choice: tuple[list[int], bool], now: datetime) -> int:
    places, force = choice
    return side.store.delete([side.jobs[place] for place in places], force=force)


def _do_put(side: Side, worker: Worker, now: datetime) -> Worker:
    stored = side.store.put(worker, now=now)
    side.workers.append(stored.id)
    return replace(stored, id=0)


def _do_remove(side: Side, places: list[int], now: datetime) -> int:
    return side.store.remove(Kind.WORKER, [side.workers[place] for place in places])


def _do_query(side: Side, question: dict[str, Any], now: datetime) -> Any:
    after = None if question["after"] is None else side.jobs[question["after"]]
    return [side.job(job) for job in side.store.query(**{**question, "after": after})]


def _do_outcome(side: Side, run: Execution, now: datetime) -> Any:
    event = side.store.outcome_of(side.jobs[run.job_id], run.claim_seq)
    return None if event is None else side.event(event)


def _learn_executions(history: History, answer: Any) -> None:
    history.executions += [execution_of(job) for job in answer[1]]


def _let_time_pass(history: History, random: Random) -> None:
    history.now += timedelta(seconds=random.choice((0.000001, 1, 5, 30)))


def _exchange_choice(history: History, random: Random) -> tuple[list[Alternatives], Claim] | None:
    claim = _some_claim(history, random)
    items = _some_items(history, random) if random.random() < 0.9 else []
    return None if claim is None or items is None else (items, claim)


ACTIONS = {
    "insert": Action(_some_jobs, Side.insert),
    "claim": Action(_some_claim, _do_claim, _learn_executions),
    "commit": Action(_some_items, _do_commit),
    "exchange": Action(_exchange_choice, _do_exchange, _learn_executions),
    "ask of jobs": Action(_some_askings, _do_commit),
    "catch up with requests": Action(_some_catching_up, _do_commit),
    "delete": Action(_some_deletion, _do_delete),
    "delete what has ended": Action(
        lambda history, random: (
            random.choice((JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED)),
            {
                "before": history.now - timedelta(seconds=random.choice((0, 20))),
                "since": random.choice((None, history.now - timedelta(seconds=40))),
                random.choice(("job_types", "exclude_job_types")): random.choice(((), ("a", "A"))),
            },
        ),
        lambda side, choice, now: side.store.delete_ended(choice[0], limit=2, **choice[1]),
    ),
    "register a worker": Action(lambda history, random: Worker(label=f"w{random.randrange(2)}"), _do_put),
    "beat and expire": Action(_some_beats, _do_commit),
    "remove workers": Action(lambda history, random: list(range(len(history.model.workers))), _do_remove),
    "let time pass": Action(_let_time_pass, _do_commit),
    "forget events": Action(
        lambda history, random: history.now - timedelta(seconds=random.choice((0, 20))),
        lambda side, before, now: side.store.delete_events(before=before),
    ),
    "ask": Action(_some_question, _do_query),
    "ask for an outcome": Action(
        lambda history, random: random.choice(history.executions) if history.executions else None, _do_outcome
    ),
    "make tokens": Action(_some_tokens, lambda side, tokens, now: [side.store.put(one, now=now) for one in tokens]),
    "close tokens": Action(_some_closings, _do_commit),
    "forget tokens": Action(
        lambda history, random: random.sample(TOKENS, 1),
        lambda side, ids, now: side.store.remove(Kind.TOKEN, ids),
    ),
    "look for due tokens": Action(
        lambda history, random: random.choice((1, 50)),
        lambda side, limit, now: [side.token(token) for token in side.store.due_tokens(limit=limit, now=now)],
    ),
    "pause": Action(_some_pause, lambda side, pause, now: side.store.put(pause, now=now)),
    "end pauses": Action(
        lambda history, random: [pause.id for pause in history.model.store.find(Kind.PAUSE) if random.random() < 0.7],
        lambda side, ids, now: side.store.remove(Kind.PAUSE, ids),
    ),
    "set a limit": Action(_some_limit, lambda side, limit, now: side.store.put(limit, now=now)),
    "remove limits": Action(
        lambda history, random: [limit.id for limit in history.model.store.find(Kind.LIMIT) if random.random() < 0.5],
        lambda side, ids, now: side.store.remove(Kind.LIMIT, ids),
    ),
    "close a rate": Action(
        lambda history, random: ["q/", "/a/=g"],
        lambda side, keys, now: side.store.close_rate(keys, until=now + timedelta(seconds=3), now=now),
    ),
    "insert within limits": Action(_some_jobs, _do_insert_bounded),
    "ask how limits stand": Action(
        lambda history, random: (random.choice("qQ"), random.choice("ab"), random.choice((None, *GROUPS))),
        lambda side, lane, now: (
            side.store.usage(*lane, now=now),
            [side.store.group_counts(group) for group in GROUPS],
        ),
    ),
    "take permits": Action(
        lambda history, random: random.randrange(4),
        lambda side, want, now: side.store.take("b", want=want, limit=3, window=timedelta(seconds=10), now=now),
    ),
}

USUAL = ["insert", "claim", "commit", "exchange", "ask of jobs", "let time pass"]
OFTEN = USUAL * 7 + ["make tokens", "close tokens", "catch up with requests"] * 2 + list(ACTIONS)


def some_steps(seed: int) -> list[Move]:
    """Return a random history; it begins with a worker."""
    random = Random(seed)
    names = ["register a worker", "insert", *(random.choice(OFTEN) for _ in range(STEPS))]
    return [(name, random.randrange(10**6)) for name in names]


def shortest(steps: list[Move], fails: Callable[[list[Move]], bool]) -> list[Move]:
    """Return a part of a failing history that still fails: ever smaller pieces are left out, the last ones first."""
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, -1, -size):
            fewer = steps[:start] + steps[start + size :]
            if fails(fewer):
                steps = fewer
        size //= 2
    return steps


class Histories(Contract):
    """The store does what the memory store does, whatever happens."""

    @pytest.mark.parametrize("seed", range(HISTORIES))
    def test_a_random_history(self, seed: int) -> None:
        steps = some_steps(seed)
        problem = self.problem_of(steps)
        if problem is not None:
            few = shortest(steps, lambda fewer: self.problem_of(fewer) is not None)
            pytest.fail(f"{self.problem_of(few) or problem}\nafter the steps {few}")

    def problem_of(self, steps: list[Move]) -> str | None:
        """Live through a history on an empty store; return what went wrong."""
        model: Any = Watched(MemoryStore(), lambda store, operation, now: None)
        try:
            History((Side(model), Side(self.make_store())), self.check_store).live(steps)
        except Exception as why:
            return f"{type(why).__name__}: {why}"
        return None
