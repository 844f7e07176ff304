"""What must be true of the queue after any fault, once it has come to rest.

Each checker K… takes what it judges and raises AssertionError naming the jobs that are wrong. `check_all` runs those
that need nothing but the store and the ledger.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psutil
from django.db import connections

from dataqueue_django.domain.filters import EVERYTHING, JobFilter, Order
from dataqueue_django.domain.lifecycle import ENDINGS, LEGAL_MOVES
from dataqueue_django.domain.records import EventType, Job, JobEvent, JobStatus, Kind, Step, StepKind, Token
from dataqueue_django.stores.base import Store
from dataqueue_django.testing.contract.watching import STATUS_AFTER, check_fields, replay
from tests.harness.ledger import ACKNOWLEDGED, BEGIN, END, NOTE, Entry, Ledger
from tests.harness.workers import PATIENCE, wait_until

EVERYTHING_AT_ONCE = 100_000
UNCHARGED = frozenset({EventType.RELEASED, EventType.SNOOZED, EventType.WAITING})
"""Events after which the next claim is the same attempt."""

TAKEN_AWAY = frozenset({EventType.RECLAIMED, EventType.RELEASED})
"""Events by which a job leaves an execution that may still be running."""


@dataclass
class Snapshot:
    """All jobs of a store with their events and steps, and its tokens, read once for all checkers."""

    jobs: dict[int, Job]
    events: dict[int, list[JobEvent]] = field(default_factory=dict)
    steps: dict[int, list[Step]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store) -> Snapshot:
        """Read everything."""
        jobs = {job.id: job for job in store.query(EVERYTHING, order=Order.OLDEST, limit=EVERYTHING_AT_ONCE)}
        events = {id: store.events(id, limit=EVERYTHING_AT_ONCE) for id in jobs}
        steps = {id: store.steps(id) for id, job in jobs.items() if job.claim_seq}
        return cls(jobs, events, steps, {token.id: token for token in store.find(Kind.TOKEN)})

    def ending(self, job_id: int, claim_seq: int) -> JobEvent | None:
        """Return the event that ended an execution."""
        found = [e for e in self.events.get(job_id, []) if e.claim_seq == claim_seq and e.event_type in ENDINGS]
        assert len(found) <= 1, f"execution {claim_seq} of job {job_id} ended {len(found)} times: {found}"
        return found[0] if found else None

    def describe(self, ids: Iterable[int]) -> str:
        """Return the rows and events of some jobs, for the text of a failure."""
        lines = []
        for id in sorted(ids)[:5]:
            job = self.jobs.get(id)
            lines.append(f"job {id}: {job}")
            lines += [
                f"    {e.event_type} #{e.claim_seq} attempt {e.attempt} {e.metadata}" for e in self.events.get(id, [])
            ]
        return "\n".join(lines)


def check_all(store: Store, ledger: Ledger | None = None, *, at_rest: bool = True) -> Snapshot:
    """Run every checker that fits and return what was judged; `at_rest` says that no worker runs any more."""
    snapshot = Snapshot.of(store)
    k2_nothing_stranded(store, snapshot, at_rest=at_rest)
    k2_no_token_overlooked(snapshot)
    k6_events_replay(snapshot)
    k10_claims_are_numbered(snapshot)
    if ledger is not None:
        entries = ledger.read()
        k1_conservation(snapshot, entries)
        k3_started(snapshot, entries)
        k4_no_overlap(snapshot, entries)
        k5_finished_by_the_last(snapshot, entries)
    return snapshot


def k1_conservation(snapshot: Snapshot, entries: Iterable[Entry]) -> None:
    """Every job whose enqueuing was acknowledged is there; the store read its status, so it is a legal one."""
    missing = {e.job for e in entries if e.act == ACKNOWLEDGED} - set(snapshot.jobs)
    assert not missing, f"acknowledged and gone: {sorted(missing)}"


def stranded(store: Store, snapshot: Snapshot, *, at_rest: bool) -> dict[int, str]:
    """Return the jobs that nothing will ever move again although they have not ended, each with the reason."""
    alive = set() if at_rest else {w.id for w in store.find(Kind.WORKER) if w.expired_at is None}
    now = datetime.now(UTC)
    found = {}
    for job in snapshot.jobs.values():
        if job.status is JobStatus.PROCESSING and job.worker_id not in alive:
            found[job.id] = "processing without a worker"
        elif job.status is JobStatus.PENDING and job.ready_at is None:
            found[job.id] = "pending and never ready"
        elif job.ready_at is not None and job.ready_at < now - timedelta(seconds=0.5):
            found[job.id] = f"{job.status} and due since {job.ready_at}"
        elif job.status is JobStatus.WAITING and (why := _waits_in_vain(job, snapshot.tokens)):
            found[job.id] = f"waiting {why}"
    strays = store.stray_requests() if at_rest else []
    return found | {request.id: "asked to stop, and not seen to" for request in strays}


def _waits_in_vain(job: Job, tokens: Mapping[str, Token]) -> str:
    """Return why a waiting job is never going to wake; nothing if it will."""
    if job.wait_token_id is None:
        return "" if job.ready_at is not None else "for neither a time nor a token"
    token = tokens.get(job.wait_token_id)
    if token is None:
        return f"for {job.wait_token_id}, which is gone"
    return f"for {token.id}, which is {token.status}" if token.is_closed else ""


def k2_no_token_overlooked(snapshot: Snapshot) -> None:
    """No token stays due: neither one whose time is up, nor a closed one, which may have waiters that sleep on."""
    now = datetime.now(UTC) - timedelta(seconds=0.5)
    due = [token for token in snapshot.tokens.values() if token.due_at is not None and token.due_at < now]
    assert not due, f"due and not seen to: {due}"


def k2_nothing_stranded(store: Store, snapshot: Snapshot, *, at_rest: bool = True) -> None:
    """No job is due and untouched, or processing without a live cause."""
    found = stranded(store, snapshot, at_rest=at_rest)
    assert not found, f"stranded: {found}\n{snapshot.describe(found)}"


def k3_started(snapshot: Snapshot, entries: Iterable[Entry]) -> None:
    """Every job that has completed was begun, and the handler was begun for no more claims than there were."""
    begun = defaultdict(set)
    for entry in entries:
        if entry.act == BEGIN:
            begun[entry.job].add(entry.claim_seq)
    acting = {id: job for id, job in snapshot.jobs.items() if job.job_type.startswith("harness.act")}
    never = [id for id, job in acting.items() if job.status is JobStatus.COMPLETED and not begun[id]]
    assert not never, f"completed and never begun: {never}\n{snapshot.describe(never)}"
    for id, seqs in begun.items():
        claims = {e.claim_seq for e in snapshot.events.get(id, []) if e.event_type is EventType.PROCESSING}
        assert not snapshot.events.get(id) or seqs <= claims, f"job {id} began without a claim: {seqs - claims}"


def intervals(entries: Iterable[Entry]) -> dict[int, list[tuple[Entry, Entry | None]]]:
    """Return each job's executions as (begin, end or None) in the order of their beginning."""
    entries = list(entries)
    ends = {(e.execution, e.pid): e for e in entries if e.act == END}
    found = defaultdict(list)
    for entry in sorted((e for e in entries if e.act == BEGIN), key=lambda e: e.at):
        found[entry.job].append((entry, ends.get((entry.execution, entry.pid))))
    return found


def overlaps(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    """Return the pairs of executions of one job of which the second began before the first had ended.

    An execution without an end is taken to have ended only if its process has.
    """
    found = []
    for runs in intervals(entries).values():
        for (first, end), (second, _) in pairwise(runs):
            ended_at = end.at if end else _death(first.pid, second.at)
            if second.at < ended_at:
                found.append((first, second))
    return found


def _death(pid: int, otherwise: int) -> int:
    return otherwise + 1 if psutil.pid_exists(pid) else 0


def k4_no_overlap(snapshot: Snapshot, entries: Iterable[Entry], *, strict: bool = False) -> None:
    """No two executions of one job overlap, unless the first had lost its job before the second began.

    With `strict` not even then: nothing happened that could cost a worker its lease.
    """
    wrong = []
    seen: set[tuple[int, int]] = set()
    for entry in entries if isinstance(entries, Sequence) else list(entries):
        if entry.act == BEGIN:
            assert entry.execution not in seen, f"execution {entry.execution} began twice"
            seen.add(entry.execution)
    for first, second in overlaps(entries):
        ending = snapshot.ending(first.job, first.claim_seq)
        if strict or ending is None or not _was_taken_away(ending):
            wrong.append((first, second, ending))
    assert not wrong, f"ran twice at once: {wrong}\n{snapshot.describe(first.job for first, _, _ in wrong)}"


def _was_taken_away(ending: JobEvent) -> bool:
    reason = ending.metadata.get("failureReason") if isinstance(ending.metadata, Mapping) else None
    return ending.event_type in TAKEN_AWAY or reason in ("worker_lost", "timeout")


def k5_finished_by_the_last(snapshot: Snapshot, entries: Iterable[Entry]) -> None:
    """A job that has ended was ended by its last execution, whose handler, if the job completed, returned."""
    returned = {e.execution for e in entries if e.act == END and not e.note}
    for job in snapshot.jobs.values():
        if not job.is_terminal or job.status is JobStatus.CANCELLED or not job.claim_seq:
            continue
        ending = snapshot.ending(job.id, job.claim_seq - 1)
        assert ending is not None, f"nothing ended {snapshot.describe([job.id])}"
        assert STATUS_AFTER[ending.event_type] is job.status, snapshot.describe([job.id])
        if job.status is JobStatus.COMPLETED and job.job_type.startswith("harness.act"):
            assert (job.id, job.claim_seq - 1) in returned, f"completed by nobody: {snapshot.describe([job.id])}"


def k6_events_replay(snapshot: Snapshot) -> None:
    """A job's events replay to its status and attempts by legal moves, and its fields fit together."""
    for job in snapshot.jobs.values():
        check_fields(job)
        events = snapshot.events[job.id]
        assert events, f"job {job.id} has no events"
        assert events[0].event_type is EventType.ADDED, snapshot.describe([job.id])
        assert replay(events) == (job.status, job.attempts), snapshot.describe([job.id])
        status = JobStatus.PENDING
        for event in events[1:]:
            after = STATUS_AFTER.get(event.event_type, status)
            assert after is status or after in LEGAL_MOVES[status], snapshot.describe([job.id])
            status = after


def k10_claims_are_numbered(snapshot: Snapshot) -> None:
    """The claims of a job have the fences 1, 3, 5, … without a gap, each ended once, and attempts are counted right."""
    for job in snapshot.jobs.values():
        claims = [e for e in snapshot.events[job.id] if e.event_type is EventType.PROCESSING]
        expected = list(range(1, job.claim_seq + 1, 2))
        assert [e.claim_seq for e in claims] == expected, snapshot.describe([job.id])
        attempts = 0
        for event in claims:
            before = snapshot.ending(job.id, event.claim_seq - 2)
            attempts += before is None or before.event_type not in UNCHARGED
            assert event.attempt == attempts, f"attempts: {snapshot.describe([job.id])}"


def k11_effects_once(snapshot: Snapshot, entries: Iterable[Entry], rows: Iterable[tuple[str, int]]) -> None:
    """What durable handlers did is what they recorded.

    `rows` are (note, job id) of what `run_atomic` and `atomic_finish` wrote: one for each step of that name and for
    each job that so completed, and none else. The function of a `run` is not called again once it was recorded.
    """
    found = Counter(rows)
    expected = Counter(
        (step.name, id)
        for id, job in snapshot.jobs.items()
        for step in snapshot.steps.get(id, ())
        if step.kind is StepKind.STEP and f"atomic:{step.name}" in str(job.payload)
    )
    for id, job in snapshot.jobs.items():
        if job.status is JobStatus.COMPLETED:
            expected.update((name, id) for name in re.findall(r"finish:(\w+)", str(job.payload)))
    wrong = {id for _, id in (found - expected) + (expected - found)}
    assert not wrong, f"rows {found - expected}, but lacking {expected - found}\n{snapshot.describe(wrong)}"
    for entry in entries:
        recorded = [step for step in snapshot.steps.get(entry.job, ()) if step.name == entry.note]
        if entry.act == NOTE and recorded:
            assert entry.claim_seq <= recorded[0].claim_seq, f"{entry} after {recorded}"


def k10_nothing_left(pids: Collection[int], alias: str) -> None:
    """None of the processes is left, and on PostgreSQL none of the workers' connections."""
    left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert not left, f"still running: {left}"
    if connections[alias].vendor == "postgresql":
        wait_until(lambda: not worker_sessions(alias), 10, what=lambda: f"left: {worker_sessions(alias)}")


def worker_sessions(alias: str) -> list[tuple[int, str]]:
    """Return the server processes that serve workers' connections to the database of `alias`."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT pid, query FROM pg_stat_activity "
            "WHERE application_name = 'dataqueue worker' AND datname = current_database()"
        )
        return list(cursor.fetchall())


NOT_ENDED = tuple(status for status in JobStatus if status not in (JobStatus.COMPLETED, JobStatus.CANCELLED))


def at_rest(store: Store) -> bool:
    """Return whether no job is running, none will become claimable within the hour, and no closed token is due."""
    far = datetime.now(UTC) + timedelta(hours=1)
    # One query: between two, a job could go from what the second sees to what the first saw none of.
    return all(
        job.is_terminal or (job.ready_at is not None and job.ready_at > far)
        for job in store.query(JobFilter(statuses=NOT_ENDED), limit=EVERYTHING_AT_ONCE)
    ) and not store.due_tokens(limit=1)


def wait_for_rest(store: Store, *, timeout: float = PATIENCE, failing: Callable[[], str] = str) -> None:
    """Wait until nothing is left to do; a failure shows what is, and the text of `failing`."""

    def what() -> str:
        snapshot = Snapshot.of(store)
        left = [id for id, job in snapshot.jobs.items() if not job.is_terminal]
        return f"{len(left)} jobs never came to rest\n{snapshot.describe(left)}\n{failing()}"

    wait_until(lambda: at_rest(store), timeout, what=what, every=0.05)
