"""What a process is doing when it is killed. Each scenario runs in a queue of its own, so that many can share a calm.

`trial` runs in a fork (see `forkserver`); `Scenario.verify` runs in the test once a healthy worker has been.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from django.db import DatabaseError, connection, transaction
from django.db.backends.signals import connection_created

from dataqueue_django import Completion, get_queue
from dataqueue_django.domain.controls import limit_id, scope_id
from dataqueue_django.domain.filters import JobFilter, Order
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import (
    Claim,
    FailureReason,
    Job,
    JobStatus,
    Kind,
    Limit,
    NewJob,
    Pause,
    Resolution,
    StepKind,
    TickOutcome,
    Token,
    Worker,
)
from dataqueue_django.domain.statistics import FOUND_IN_EVENTS
from dataqueue_django.domain.tokens import new_token
from dataqueue_django.domain.transitions import Execution, Fault, fail, release, write_progress
from dataqueue_django.models import CronSchedule as ScheduleRow
from dataqueue_django.models import Job as JobRow
from dataqueue_django.models import JobTag as TagRow
from dataqueue_django.models import Token as TokenRow
from dataqueue_django.models import Worker as WorkerRow
from dataqueue_django.queue import JobQueue, waking
from dataqueue_django.queue.taking_back import take_back
from dataqueue_django.stores.base import Store
from dataqueue_django.testing.contract.watching import replay
from dataqueue_django.worker import cancelling
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.jobs import act, durable
from tests.app.models import BusinessRow
from tests.crash.points import UNSEEN, Trap, Watch, normalised
from tests.harness.checkers import Snapshot
from tests.harness.ledger import ACKNOWLEDGED, ASKED, Ledger

MANY = 1500
HALF_A_SECOND, HOUR, TOMORROW = timedelta(seconds=0.5), timedelta(hours=1), timedelta(days=1)
PATIENCE = 100.0
PEER_LEASE_MS = 100
ANSWER = "answered"
LONG_ENOUGH = 3.0
"""Seconds after which a token times out that is meant to be completed: only where nobody is left to do so."""

UNHURRIED = {"lease": 20.0}
"""A worker that lives on, on a busy machine, must not lose its lease by itself."""

RELEASE = "release"
"""Jobs that are to be given back wait for this file beside the ledger."""


class Trial:
    """One run of one scenario in this process."""

    def __init__(self, queue: str, watch: Watch, clocks: Mapping[str, float] = MappingProxyType({})) -> None:
        self.queue = queue
        self.clocks = clocks
        self.watch = watch
        self.ledger = Ledger.of_process() or Ledger("/dev/null")
        self.store = get_queue().store

    def arm(self) -> None:
        """From here on every statement counts."""
        held = JobRow.objects.exclude(worker_id=None).values("worker_id")
        WorkerRow.objects.exclude(expired_at=None).exclude(pk__in=held).delete()
        connection.close()
        self.watch.arm()

    def enqueue(self, *acts: str, **options: Any) -> int:
        """Add one job that does `acts`, on the record."""
        self.ledger.write(ASKED, note=self.queue)
        found = act.using(queue=self.queue, **options).enqueue(acts=list(acts))
        if not connection.in_atomic_block:
            self.ledger.write(ACKNOWLEDGED, job=found.id, note=self.queue)
        return found.id

    def work(
        self,
        *,
        label: str = "victim",
        until: Callable[[], bool] | None = None,
        at_once: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
        **clocks: float,
    ) -> None:
        """Run a worker here until this queue's jobs have ended, or another condition; `at_once` gives jobs back.

        What is done `meanwhile`, again and again, is somebody else's doing, and not looked at.
        """
        given = get_queue()
        settings = replace(given.settings, worker=replace(given.settings.worker, **{**self.clocks, **clocks}))
        queue = JobQueue(given.store, settings, given.handlers, given.notifier)
        processor = WorkerLoop(queue, ProcessorOptions(worker_id=label, queues=(self.queue,), concurrency=2))
        end = processor.give_back if at_once else processor.stop
        observer = threading.Thread(
            target=_observe, args=(until or self.all_ended, meanwhile, end), name=UNSEEN, daemon=True
        )
        observer.start()
        processor.run()

    def enqueue_durable(self, *acts: str, **options: Any) -> int:
        """Add one job that does `acts`, each claim the next of them, and is recorded."""
        found = durable.using(queue=self.queue, **{"max_attempts": 20, **options}).enqueue(acts=list(acts))
        self.ledger.write(ACKNOWLEDGED, job=found.id, note=self.queue)
        return found.id

    def jobs(self) -> list[Job]:
        """Return this queue's jobs."""
        return self.store.query(JobFilter(queues=(self.queue,)), order=Order.OLDEST, limit=MANY)

    def all_ended(self) -> bool:
        """Return whether nothing is left to do in this queue."""
        return all(job.is_terminal for job in self.jobs())

    def all_wait(self) -> bool:
        """Return whether nothing is left to do in this queue before a token is closed."""
        return all(job.status is JobStatus.WAITING or job.is_terminal for job in self.jobs())

    def tokens(self) -> list[Token]:
        """Return the open tokens for which jobs of this queue wait."""
        waiting = {job.wait_token_id for job in self.jobs() if job.status is JobStatus.WAITING}
        found = (self.store.fetch(Kind.TOKEN, id) for id in waiting if id is not None)
        return [token for token in found if token is not None and not token.is_closed]

    def ask_to_stop(self) -> None:
        """Ask the running jobs of this queue to stop, once each."""
        running = [job.id for job in self.jobs() if job.status is JobStatus.PROCESSING]
        asked = {request.id for request in self.store.cancel_requests(running)}
        for id in set(running) - asked if self.is_running() else ():
            get_queue().cancel_job(id, abort_running=True, actor="ann", reason="why")

    def complete_tokens(self) -> None:
        """Answer what this queue's jobs wait for."""
        for token in self.tokens():
            get_queue().complete_token(token, ANSWER)

    def is_running(self) -> bool:
        """Return whether a handler of this queue has begun."""
        ids = {job.id for job in self.jobs()}
        return bool(ids & self.ledger.jobs("begin"))


def _observe(condition: Callable[[], bool], meanwhile: Callable[[], object], then: Callable[[], None]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        meanwhile()
        time.sleep(0.01)
    connection.close()  # this thread's: left open, it would complain when it is collected
    then()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What is done, and what must be true of its jobs in the end, however far it got."""

    act: Callable[[Trial], None]
    verify: Callable[[str, list[Job], Snapshot], None]
    quick: Callable[[str, str], None] | None = None
    """A check right after the crash, given alias and queue, for what the calm would hide."""


def trial(name: str, queue: str, traps: list[str], survey: bool = False) -> dict[str, Any]:
    """Run a scenario in this process, under the eyes of a watch with traps; returns what it passed."""
    watch = Watch([Trap.from_json(text) for text in traps])
    seen, called = _survey(watch) if survey else (set(), set())
    return {**_watched(SCENARIOS[name].act, queue, watch), "orm": sorted(seen), "methods": sorted(called)}


def _watched(
    act: Callable[[Trial], None], queue: str, watch: Watch, clocks: Mapping[str, float] = MappingProxyType({})
) -> dict[str, Any]:
    watch.install()
    connection.close()
    act(Trial(queue, watch, clocks))
    return {
        "passed": [[point.role, point.text, point.n] for point in watch.passed],
        "undone": [[point.role, point.text, point.n] for point in watch.undone],
        "sprung": [str(trap.point) for trap in watch.sprung],
    }


def _survey(watch: Watch) -> tuple[set[str], set[str]]:
    """Record by other means, Django's wrapper and the store's methods, what this process does with its database."""
    seen: set[str] = set()
    called: set[str] = set()

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if watch.armed and threading.current_thread().name != UNSEEN:
            seen.add(normalised(sql))
        return execute(sql, params, many, context)

    def connected(connection: Any, **_: Any) -> None:
        if note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    connection_created.connect(connected, weak=False)
    store = get_queue().store
    for name in Store.__abstractmethods__:
        setattr(store, name, _noting(getattr(store, name), name, called))
    return seen, called


def _noting(method: Callable[..., Any], name: str, called: set[str]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        called.add(name)
        return method(*args, **options)

    return call


# -- the scenarios


def all_are(*statuses: JobStatus) -> Callable[[str, list[Job], Snapshot], None]:
    """Return a check that each job of a trial ended in one of these statuses."""

    def verify(_queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
        wrong = [job.id for job in jobs if job.status not in statuses]
        assert not wrong, snapshot.describe(wrong)

    return verify


def _success(trial: Trial) -> None:
    trial.arm()
    trial.enqueue("ok:done", tags=["a", "b"])
    trial.enqueue("ok")
    trial.work()


def _retry(trial: Trial) -> None:
    trial.enqueue("fail", "ok")
    trial.arm()
    trial.work()


def _final_failure(trial: Trial) -> None:
    trial.enqueue("give_up")
    trial.enqueue("fail", max_attempts=1)
    trial.arm()
    trial.work()


def _snooze(trial: Trial) -> None:
    trial.enqueue("snooze:0.01", "ok")
    trial.arm()
    trial.work()


def _give_back(trial: Trial) -> None:
    trial.enqueue(f"wait:{trial.ledger.path.parent / RELEASE}")
    trial.arm()
    trial.work(until=trial.is_running, drain=0.02)


def _give_back_at_once(trial: Trial) -> None:
    trial.enqueue(f"wait:{trial.ledger.path.parent / RELEASE}")
    trial.arm()
    trial.work(until=trial.is_running, at_once=True)


def _progress(trial: Trial) -> None:
    trial.enqueue("progress:50+sleep:0.05+ok")
    trial.arm()
    trial.work()


def _in_transaction(trial: Trial) -> None:
    trial.arm()
    with transaction.atomic():
        BusinessRow.objects.create(note=trial.queue, job_id=trial.enqueue("ok"))
        try:
            with transaction.atomic():
                BusinessRow.objects.create(note=trial.queue, job_id=trial.enqueue("ok"))
                raise LookupError("undo this savepoint")
        except LookupError:
            pass
        with transaction.atomic():
            BusinessRow.objects.create(note=trial.queue, job_id=trial.enqueue("ok"))


def _rows_and_jobs(alias: str, queue: str) -> None:
    rows = BusinessRow.objects.using(alias).filter(note=queue).values_list("job_id", flat=True)
    jobs = JobRow.objects.using(alias).filter(queue=queue).values_list("id", flat=True)
    assert sorted(rows) == sorted(jobs), f"business rows {sorted(rows)}, jobs {sorted(jobs)}"
    assert len(rows) in (0, 2), f"half a transaction: {sorted(rows)}"


def _many(trial: Trial) -> None:
    trial.arm()
    act.using(queue=trial.queue, run_at=datetime.now(UTC) + TOMORROW).enqueue_many(
        {"acts": ["ok"]} for _ in range(MANY)
    )


def _all_or_none(alias: str, queue: str) -> None:
    count = JobRow.objects.using(alias).filter(queue=queue).count()
    assert count in (0, MANY), f"{count} of {MANY} jobs"
    store = get_queue(alias).store
    for job in [*store.query(JobFilter(queues=(queue,)), limit=1)]:
        assert len(store.events(job.id)) == 1
    store.delete(list(JobRow.objects.using(alias).filter(queue=queue).values_list("id", flat=True)))


def _with_key(trial: Trial) -> None:
    trial.enqueue("ok", idempotency_key=f"{trial.queue} taken")
    trial.arm()
    trial.enqueue("ok", idempotency_key=trial.queue)
    trial.enqueue("ok", idempotency_key=f"{trial.queue} taken")


def _repeat(alias: str, queue: str) -> None:
    for key in (queue, f"{queue} taken", queue):
        act.using(alias=alias, queue=queue, idempotency_key=key).enqueue(acts=["ok"])


def _once_each(queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    keys = sorted(str(job.idempotency_key) for job in jobs)
    assert keys == [queue, f"{queue} taken"], keys
    all_are(JobStatus.COMPLETED)(queue, jobs, snapshot)


def _membership(trial: Trial) -> None:
    trial.arm()
    since = time.monotonic()
    trial.work(until=lambda: time.monotonic() > since + 0.15, heartbeat=0.05)


def _nothing(_queue: str, jobs: list[Job], _snapshot: Snapshot) -> None:
    assert not jobs


def _reclaim(trial: Trial) -> None:
    peer = trial.store.put(Worker(label="dead", lease_ms=PEER_LEASE_MS))
    trial.enqueue("ok")
    trial.enqueue("ok")
    taken = trial.store.claim(Claim(limit=2, worker_id=peer.id, locked_by="dead", queues=(trial.queue,)))
    assert len(taken) == 2
    trial.arm()
    trial.work(reap_every=0.05)


def _other_claims(trial: Trial) -> None:
    """The ways to claim and to finish that a lone worker with one queue has no use for."""
    store, other = trial.store, f"{trial.queue} b"
    ids = [trial.enqueue("ok") for _ in range(3)]
    for _ in range(2):
        act.using(queue=other).enqueue(acts=["ok"])
    peer, late = (store.put(Worker(label=label, lease_ms=PEER_LEASE_MS)) for label in ("picky", "late"))
    trial.arm()
    claim = Claim(limit=1, worker_id=peer.id, locked_by="picky", queues=(trial.queue, other), crashed=None)
    [named] = store.claim(replace(claim, ids=(ids[1],)))
    assert len(store.claim(replace(claim, limit=3))) == 3
    run = Execution(named.id, named.claim_seq, named.attempts, named.max_attempts, named.crash_count)
    [written], _ = store.exchange([(write_progress(run, {"progress": 5}),)], None)
    [failed], _ = store.exchange([(fail(run, BROKEN, retry_in=0.0),)], replace(claim, queues=(other,)))
    assert written.applied
    assert failed.applied
    store.commit([(expire(peer.id),)])
    take_back(store, peer.id)
    # In every lane there are jobs, and but one for this claim: it looks twice.
    picky = replace(claim, worker_id=late.id, locked_by="late", crashed=False, limit=5)
    assert [job.id for job in store.claim(picky)] == [named.id]


def _asked(trial: Trial) -> None:
    """What people ask of jobs, one by one and in bulk."""
    queue, mine = get_queue(), {"queue": trial.queue, "tags": ["x"]}
    later = act.using(queue=trial.queue, tags=["x"], run_at=datetime.now(UTC) + TOMORROW)
    ids = [later.enqueue(acts=["ok"]).id for _ in range(4)]
    trial.arm()
    queue.cancel_job(ids[0])
    queue.retry_job(ids[0])
    queue.edit_job(ids[1], tags=["y", "z"], run_at=None)
    queue.edit_all_pending_jobs(mine, priority=3)
    queue.delete_job(ids[3])
    queue.cancel_all_upcoming_jobs(mine)
    queue.cleanup_old_jobs(0, statuses=["cancelled"], confirm_all=True)


def _rows_agree(alias: str, queue: str) -> None:
    for job in get_queue(alias).get_jobs({"queue": queue}):
        tags = TagRow.objects.using(alias).filter(job_id=job.id).values_list("tag", flat=True)
        assert sorted(tags) == sorted(job.tags), f"job {job.id} has {job.tags}, its index says {sorted(tags)}"
        assert replay(get_queue(alias).get_job_events(job.id)) == (job.status, job.attempts), f"events of job {job.id}"


def _asked_or_not(queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    for job in jobs:
        untouched = job.status is JobStatus.PENDING and job.run_at > datetime.now(UTC)
        assert untouched or job.is_terminal, snapshot.describe([job.id])


def _steps(trial: Trial) -> None:
    """A step, what is reported beside it, a deadline that moves, a wait, and the replay."""
    trial.enqueue_durable("run:one+log:line+progress:30+prolong+sleep:0.05+pause:0.01+run:two+ok", timeout=30)
    trial.arm()
    trial.work()


def _late_again(trial: Trial) -> None:
    """Lines of a second execution, which are trimmed to the newest."""
    trial.enqueue_durable("log:first+run:one+fail", "log:second+sleep:0.05+run:one+ok")
    trial.arm()
    trial.work()


def _answered(trial: Trial) -> None:
    trial.enqueue_durable("run:one+token:2+ok")
    trial.arm()
    trial.work(meanwhile=trial.complete_tokens)


def _unanswered(trial: Trial) -> None:
    trial.enqueue_durable("token:0.02+run:one+ok")
    trial.arm()
    trial.work(reap_every=0.03)


def _spawning(trial: Trial) -> None:
    trial.enqueue_durable("spawn:ok+pause:0.01+spawn:ok+ok")
    trial.arm()
    trial.work()


def _spawned_once(queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    """The spawned jobs are those that their parents' steps name."""
    spawned = {job.id for job in jobs if job.job_type == act.handler.job_type}
    steps = [step for job in jobs for step in snapshot.steps.get(job.id, ()) if step.kind is StepKind.SPAWN]
    named = [step.result["jobId"] for step in steps]
    assert sorted(named) == sorted(spawned), snapshot.describe(job.id for job in jobs)
    assert len(named) == 2 * (len(jobs) - len(spawned))
    DONE(queue, jobs, snapshot)


def _answering(trial: Trial) -> None:
    """What a web request does: completes a token, alone and together with a row of its own."""
    waking.LOT = 1
    first = get_queue().create_token(timeout=LONG_ENOUGH)
    second = get_queue().create_token(timeout=LONG_ENOUGH)
    for token in (first, first, second, second):
        trial.enqueue_durable(f"await:{token.id}+run:one+ok")
    trial.work(until=trial.all_wait)
    trial.arm()
    get_queue().complete_token(first, ANSWER)
    with transaction.atomic():
        if get_queue().complete_token(second, ANSWER, actor=trial.queue):
            BusinessRow.objects.create(note=f"{trial.queue} {second.id}")


def _row_and_answer(alias: str, queue: str) -> None:
    """A row is there if and only if the token was completed with it."""
    rows = BusinessRow.objects.using(alias).filter(note__startswith=f"{queue} wp_").values_list("note", flat=True)
    tokens = get_queue(alias).store.find(Kind.TOKEN, completed_by=queue)
    assert sorted(rows) == sorted(f"{queue} {token.id}" for token in tokens)


def _timing_out(trial: Trial) -> None:
    """What a cron job does: closes the tokens whose time is up, one lot after the other."""
    waking.LOT = 1
    first, second = (get_queue().create_token(timeout=TOMORROW) for _ in range(2))
    for _ in range(2):
        trial.enqueue_durable(f"await:{first.id}+run:one+ok")
    trial.enqueue_durable(f"await:{second.id}+ok")
    trial.work(until=trial.all_wait, reap_every=60.0)
    # Up only once all wait: on a busy machine any short time is over before.
    now = trial.store.now()
    TokenRow.objects.filter(pk__in=(first.id, second.id)).update(timeout_at=now, due_at=now)
    trial.arm()
    until = time.monotonic() + PATIENCE
    while trial.tokens() and time.monotonic() < until:
        get_queue().expire_timed_out_tokens()


BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="broken")


def _stopping(trial: Trial) -> None:
    """A worker finds that jobs of its own are to stop: one hears, one comes to another end."""
    cancelling.LOOK_DEAF = cancelling.LOOK_LISTENING = 0.02
    path = trial.ledger.path.parent / RELEASE
    trial.enqueue(f"wait:{path}")
    trial.enqueue(f"wait:{path}")
    trial.arm()
    trial.work(meanwhile=trial.ask_to_stop)


def _asking(trial: Trial) -> None:
    """What a web request does: asks jobs to stop that run, that have just left their worker, and that have ended."""
    store, queue = trial.store, get_queue()
    ids = [trial.enqueue("ok") for _ in range(4)]
    peer = store.put(Worker(label="stopped", lease_ms=PEER_LEASE_MS))
    taken = store.claim(Claim(limit=4, worker_id=peer.id, locked_by="stopped", queues=(trial.queue,)))
    runs = {job.id: Execution.of(job) for job in taken}
    trial.arm()
    queue.cancel_job(ids[0], abort_running=True, actor="ann", reason="why")
    with transaction.atomic():
        for id in ids[1:]:
            queue.cancel_job(id, abort_running=True, actor="ann", reason="why")
        gone = [(release(runs[id], why="x"),) for id in (ids[1], ids[3])]
        store.commit([*gone, (fail(runs[ids[2]], BROKEN, retry_in=None),)])
        store.claim(Claim(limit=1, worker_id=peer.id, locked_by="stopped", ids=(ids[3],)))
    store.commit([(expire(peer.id),)])
    take_back(store, peer.id)


def _stopped_or_done(_queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    """No job runs again once it was asked to stop, by who asked; others have come to their end."""
    for job in jobs:
        events = snapshot.events[job.id]
        assert job.is_terminal, snapshot.describe([job.id])
        if job.status is JobStatus.CANCELLED:
            assert (events[-1].actor, events[-1].metadata) == ("ann", {"reason": "why"}), snapshot.describe([job.id])


def _housekeeping(trial: Trial) -> None:
    """What the store can do and no worker does by itself."""
    store, now = trial.store, datetime.now(UTC)
    later = act.using(queue=trial.queue, tags=["x"], run_at=now + TOMORROW)
    gone = [later.enqueue(acts=["ok"]).id for _ in range(2)]
    kept = act.using(queue=trial.queue).enqueue(acts=["ok"]).id
    peer = store.put(Worker(label="gone"))
    made, answered = (store.put(new_token(uuid4(), job_id=gone[0])) for _ in range(2))
    assert get_queue().complete_token(answered)
    trial.arm()
    claim = Claim(limit=1, worker_id=peer.id, locked_by="nobody", queues=(trial.queue,))
    store.would_find(claim)
    store.next_ready_in(claim)
    assert store.count(JobFilter(queues=(trial.queue,)))[()] == 3
    store.count(by=("status",))
    store.backlogs()
    head = store.last_event_id()
    store.count_events(FOUND_IN_EVENTS, after=max(0, head - 10), upto=head)
    store.stats(Resolution.MINUTE, since=now - HOUR, until=now)
    store.stats_written_at(Resolution.MINUTE)
    store.gauges(since=now - HOUR)
    store.fetch(Kind.TOKEN, made.id)
    store.delete(gone)
    store.delete([kept])
    store.delete_events(before=now - TOMORROW)
    store.fetch(Kind.WORKER, peer.id)
    store.remove(Kind.WORKER, [peer.id])
    store.take(trial.queue, want=1, limit=5, window=timedelta(seconds=1))
    store.get([kept])
    store.outcome_of(kept, 1)
    store.events(kept)
    store.steps(kept)
    store.logs(kept)


def _limited(trial: Trial) -> None:
    """Pauses, limits and groups: who sets them and asks how they stand, and claims under them.

    What is left of them when somebody dies keeps the jobs back for a moment at most.
    """
    store, queue, kind = trial.store, trial.queue, act.job_type
    ids = [trial.enqueue("ok", group_id=name) for name in ("a", "a", "b", None, None)]
    trial.enqueue("ok", run_at=datetime.now(UTC) + HALF_A_SECOND)
    peer = store.put(Worker(label="limited", lease_ms=PEER_LEASE_MS))
    trial.arm()
    of_groups = {"queue": queue, "per_group": True}
    many = {"rate": 900, "per_ms": 100}
    limits = (
        Limit(id=limit_id(queue), queue=queue, concurrency=3, **many),
        Limit(id=limit_id(queue, per_group=True), concurrency=2, max_size=9, **of_groups),
        Limit(id=limit_id(queue, kind, per_group=True), job_type=kind, burst=900, **of_groups, **many),
    )
    for limit in limits:
        store.put(limit)
    pause = store.put(Pause(id=scope_id(queue), queue=queue, until=store.now() + HALF_A_SECOND))
    claim = Claim(limit=2, worker_id=peer.id, locked_by="limited", queues=(queue,), crashed=None)
    store.claim(claim)
    store.next_ready_in(claim)
    store.would_find(claim)
    store.remove(Kind.PAUSE, [pause.id])
    first, _ = store.claim(claim)
    assert store.claim(replace(claim, ids=(ids[0], ids[1], ids[2])))
    store.exchange([(fail(Execution.of(first), BROKEN, retry_in=0.0),)], claim)
    store.insert([NewJob(job_type=kind, payload={"acts": ["ok"]}, queue=queue, group_id="a")], bounded=True)
    uses = store.usage(queue, kind, "a")
    assert len(uses) == len(limits)
    store.group_counts("a", queue=queue)
    store.close_rate([use.key for use in uses], until=store.now() + HALF_A_SECOND)
    store.claim(claim)
    store.next_ready_in(claim)
    store.commit([(expire(peer.id),)])
    take_back(store, peer.id)
    assert store.controls().limits
    store.remove(Kind.LIMIT, [limit.id for limit in limits])


DONE = all_are(JobStatus.COMPLETED)


def _scheduled(trial: Trial, name: str, **options: Any) -> int:
    """Add a schedule for this queue that is due since a moment, and for an hour not again."""
    given = {"every": HOUR, "queue": trial.queue, **options}
    id = get_queue().add_cron_job(name, None, act.job_type, {"acts": ["ok"]}, **given)
    at = datetime.now(UTC) - timedelta(seconds=1)
    ScheduleRow.objects.filter(pk=id).update(next_run_at=at, created_at=at - HOUR)
    return id


def _ticking(trial: Trial) -> None:
    """A worker fires a schedule, and runs what it added."""
    id = _scheduled(trial, trial.queue)
    trial.arm()
    trial.work(until=lambda: bool(trial.store.ticks(id)) and trial.all_ended())


def _skipping(trial: Trial) -> None:
    """A schedule is due while its last job has not ended, and another replaces what it added last."""
    held = act.using(queue=trial.queue, run_at=datetime.now(UTC) + TOMORROW).enqueue(acts=["ok"]).id
    for overlap in ("skip", "replace"):
        id = _scheduled(trial, f"{trial.queue} {overlap}", overlap=overlap)
        ScheduleRow.objects.filter(pk=id).update(last_job_id=held)
    trial.arm()
    get_queue().enqueue_due_cron_jobs()


def _as_many_as_ticks(alias: str, queue: str) -> None:
    """Each tick has its job and each job its tick, and the schedule knows of them."""
    store = get_queue(alias).store
    jobs = store.values(JobFilter(queues=(queue,)), ("id", "cron_schedule_id"), limit=MANY)
    for name in (queue, f"{queue} skip", f"{queue} replace"):
        for schedule in store.find(Kind.SCHEDULE, schedule_name=name):
            ticks = store.ticks(schedule.id)
            added = {tick.job_id for tick in ticks if tick.outcome is not TickOutcome.SKIPPED}
            assert added == {id for id, of in jobs if of == schedule.id}, f"{ticks}, {jobs}"
            assert schedule.runs == sum(tick.outcome is TickOutcome.ENQUEUED for tick in ticks)
            timely = [tick.tick_at for tick in ticks if tick.outcome is not TickOutcome.BY_HAND]
            assert [schedule.last_tick_at] == (timely or [None])


def _once(queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    assert len(jobs) == 1
    DONE(queue, jobs, snapshot)


def _replaced(_queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    """The job of one schedule took the place of what was there; the other skipped its tick, unless it came later."""
    first, *others = [job.status for job in jobs]
    assert first is JobStatus.CANCELLED, snapshot.describe(job.id for job in jobs)
    assert set(others) == {JobStatus.COMPLETED}, snapshot.describe(job.id for job in jobs)
    assert len(others) <= 2


def _scheduling(trial: Trial) -> None:
    """What people do with schedules."""
    queue = get_queue()
    trial.arm()
    id = queue.add_cron_job(trial.queue, None, act.job_type, {"acts": ["ok"]}, every=HOUR, queue=trial.queue)
    queue.edit_cron_job(id, every=2 * HOUR, priority=2)
    queue.pause_cron_job(id, reason="why")
    queue.resume_cron_job(id)
    queue.run_cron_job(id, actor="ann")
    queue.declare_cron_jobs()
    queue.store.delete_ticks(before=datetime.now(UTC) - 365 * TOMORROW)
    gone = queue.add_cron_job(f"{trial.queue} gone", "@daily", act.job_type, {"acts": ["ok"]})
    queue.remove_cron_job(gone)


def lost_answer(name: str, queue: str, traps: list[str]) -> dict[str, Any]:
    """Run one of LOSSES in this process, which has to cope by itself with answers that never come."""
    return _watched(LOSSES[name], queue, Watch([Trap.from_json(text) for text in traps]), UNHURRIED)


def _lost_while_enqueueing(trial: Trial) -> None:
    trial.arm()
    for _ in range(3):
        try:
            found = act.using(queue=trial.queue, idempotency_key=trial.queue).enqueue(acts=["ok"])
            trial.ledger.write(ACKNOWLEDGED, job=found.id)
            break
        except DatabaseError:
            connection.close()
    trial.work()


def _lost_while_retrying(trial: Trial) -> None:
    trial.enqueue("fail", "ok:last")
    trial.enqueue("retry_later:0", "ok:last")
    trial.arm()
    trial.work()


def _lost_while_snoozing(trial: Trial) -> None:
    """Snoozed for no time at all, a job can be claimed by the call that stores the snooze."""
    trial.enqueue("snooze:0", "snooze:0", "ok:last")
    trial.arm()
    trial.work()


def _lost_while_completing(trial: Trial) -> None:
    for n in range(3):
        trial.enqueue(f"progress:{10 * n}+ok:last")
    trial.arm()
    trial.work()


def _lost_while_giving_back(trial: Trial) -> None:
    trial.enqueue(f"wait:{trial.ledger.path.parent / RELEASE}")
    trial.arm()
    trial.work(until=trial.is_running, drain=0.02)


def _lost_while_recording(trial: Trial) -> None:
    """Steps of every kind, whose answers are lost in a first and in a second execution."""
    trial.enqueue_durable(f"{RECORDING}+pause:0.01+{RECORDING.replace('1', '2')}+ok:last")
    trial.arm()
    trial.work()


def _lost_while_waiting(trial: Trial) -> None:
    trial.enqueue_durable("run:before1+token:3+run:between1+token:3+pause:0.01+ok:last")
    trial.arm()
    trial.work(meanwhile=trial.complete_tokens)


def _lost_while_finishing(trial: Trial) -> None:
    trial.enqueue_durable("atomic:a1+log:line+progress:9+finish:f1")
    trial.arm()
    trial.work()


def _lost_while_answering(trial: Trial) -> None:
    """Whoever completes a token and hears nothing does it again."""
    token = get_queue().create_token(timeout=60)
    for _ in range(2):
        trial.enqueue_durable(f"await:{token.id}+ok:last")
    trial.work(until=trial.all_wait)
    trial.arm()
    for _ in range(3):
        try:
            assert get_queue().complete_token(token, ANSWER) in (Completion.COMPLETED, Completion.ALREADY_COMPLETED)
            break
        except DatabaseError:
            connection.close()
    trial.work()


def _lost_while_stopping(trial: Trial) -> None:
    """Where the answer to the cancellation is lost, the worker knows by its own event that it was stored."""
    cancelling.LOOK_DEAF = cancelling.LOOK_LISTENING = 0.02
    trial.enqueue(f"wait:{trial.ledger.path.parent / RELEASE}")
    trial.arm()
    trial.work(meanwhile=trial.ask_to_stop)


RECORDING = "run:r1+atomic:a1+spawn:ok+log:line+progress:5"

LOSSES: dict[str, Callable[[Trial], None]] = {
    "enqueue with a key": _lost_while_enqueueing,
    "error and retry": _lost_while_retrying,
    "snooze": _lost_while_snoozing,
    "completion": _lost_while_completing,
    "final failure": _final_failure,
    "give-back": _lost_while_giving_back,
    "registration and heartbeat": _membership,
    "stopping": _lost_while_stopping,
    "reclaim": _reclaim,
    "steps": _lost_while_recording,
    "waits": _lost_while_waiting,
    "atomic_finish": _lost_while_finishing,
    "complete_token": _lost_while_answering,
    "a schedule is due": _ticking,
}


def _left_or_gone(queue: str, jobs: list[Job], snapshot: Snapshot) -> None:
    assert len(jobs) in (0, 1, 3), snapshot.describe(job.id for job in jobs)
    for job in jobs:
        assert job.status is (JobStatus.PENDING if job.tags else JobStatus.COMPLETED), snapshot.describe([job.id])


SCENARIOS: dict[str, Scenario] = {
    "registration and heartbeat": Scenario(act=_membership, verify=_nothing),
    "success": Scenario(act=_success, verify=DONE),
    "error and retry": Scenario(act=_retry, verify=DONE),
    "final failure": Scenario(act=_final_failure, verify=all_are(JobStatus.FAILED)),
    "snooze": Scenario(act=_snooze, verify=DONE),
    "give-back at stop": Scenario(act=_give_back, verify=DONE),
    "give-back at once": Scenario(act=_give_back_at_once, verify=DONE),
    "progress": Scenario(act=_progress, verify=DONE),
    "enqueue in a transaction": Scenario(act=_in_transaction, verify=DONE, quick=_rows_and_jobs),
    "enqueue many": Scenario(act=_many, verify=_nothing, quick=_all_or_none),
    "enqueue with a key": Scenario(act=_with_key, verify=_once_each, quick=_repeat),
    "reclaim": Scenario(act=_reclaim, verify=DONE),
    "other claims": Scenario(act=_other_claims, verify=DONE),
    "what people ask": Scenario(act=_asked, verify=_asked_or_not, quick=_rows_agree),
    "steps and a wait": Scenario(act=_steps, verify=DONE),
    "lines of two executions": Scenario(act=_late_again, verify=DONE),
    "token answered": Scenario(act=_answered, verify=DONE),
    "token unanswered": Scenario(act=_unanswered, verify=DONE),
    "spawn": Scenario(act=_spawning, verify=_spawned_once),
    "complete_token": Scenario(act=_answering, verify=DONE, quick=_row_and_answer),
    "expire_timed_out_tokens": Scenario(act=_timing_out, verify=DONE),
    "stopping": Scenario(act=_stopping, verify=_stopped_or_done),
    "asking to stop": Scenario(act=_asking, verify=_stopped_or_done),
    "a schedule is due": Scenario(act=_ticking, verify=_once, quick=_as_many_as_ticks),
    "a schedule that overlaps": Scenario(act=_skipping, verify=_replaced, quick=_as_many_as_ticks),
    "what people ask of schedules": Scenario(act=_scheduling, verify=DONE, quick=_as_many_as_ticks),
    "housekeeping": Scenario(act=_housekeeping, verify=_left_or_gone),
    "pauses and limits": Scenario(act=_limited, verify=DONE),
}


def durable_trial(queue: str, traps: list[str], again: bool = False) -> dict[str, Any]:
    """Work on durable jobs with others around; `again` goes on with those that a killed process left."""
    return _watched(_go_on if again else _begin_durable, queue, Watch([Trap.from_json(text) for text in traps]))


def _begin_durable(trial: Trial) -> None:
    trial.enqueue_durable(EFFECTS)
    trial.enqueue("fail", "ok")
    trial.arm()
    _work_durably(trial)


def _go_on(trial: Trial) -> None:
    """As upkeep does once the lease of the dead is over; its jobs are known to be theirs by the label."""
    for dead in trial.store.find(Kind.WORKER, label=_label(trial), expired_at=None):
        trial.store.commit([(expire(dead.id),)])
        take_back(trial.store, dead.id)
    trial.arm()
    _work_durably(trial)


def _work_durably(trial: Trial) -> None:
    trial.work(label=_label(trial), meanwhile=trial.complete_tokens)


def _label(trial: Trial) -> str:
    return f"victim {trial.queue}"


EFFECTS = "run:r1+atomic:a1+log:line+pause:0.01+run:r2+atomic:a2+spawn:ok+token:2+progress:50+atomic:a3+finish:f"
"""Three executions, with effects in each of them."""


def dies_at_work(name: str) -> None:
    """A worker with a name that is killed by its job, in a queue of that name."""
    act.using(queue=name).enqueue(acts=["die", "ok"])
    WorkerLoop(get_queue(), ProcessorOptions(worker_id=name, queues=(name,))).run()


def comes_back(name: str) -> None:
    """The same again: it must take back what it left."""
    Trial(name, Watch()).work(label=name)


__all__ = [
    "EFFECTS",
    "LOSSES",
    "SCENARIOS",
    "Scenario",
    "Trial",
    "comes_back",
    "dies_at_work",
    "durable_trial",
    "lost_answer",
    "trial",
]
