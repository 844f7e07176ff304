"""Two who act on one job at once: what comes of it is what one of them after the other would have made.

The store in memory says what that is, for both orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, product
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connections, transaction

from dataqueue_django.conf import settings_for
from dataqueue_django.domain.changes import Change, Verdict
from dataqueue_django.domain.controls import limit_id, scope_id
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import Claim, EventType, FailureReason, Kind, Limit, NewJob, Pause, Worker
from dataqueue_django.domain.transitions import Execution, Fault, complete, fail, or_cancelled, release
from dataqueue_django.handlers import Registry
from dataqueue_django.notify.base import SilentNotifier
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.catching_up import catch_up_with
from dataqueue_django.stores import Store, stores
from dataqueue_django.stores.memory import MemoryStore
from tests.stores.tables import emptied_store, empty, real_transactions

BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="broken")
NUMBERS = count()


@dataclass(frozen=True)
class Scene:
    """One job of a queue of its own, the last execution it was in, and a worker that has nothing to do."""

    queue: JobQueue
    run: Execution
    name: str
    idle: int

    @property
    def store(self) -> Store:
        """The store it plays on."""
        return self.queue.store

    def claim(self, worker_id: int) -> list[Any]:
        """Let a worker ask for jobs of this scene."""
        return self.store.claim(Claim(limit=1, worker_id=worker_id, locked_by="w", queues=(self.name,), crashed=None))

    def limit(self, *, concurrency: int) -> bool:
        """Let no more jobs of this scene run at once."""
        return bool(self.store.put(Limit(id=limit_id(self.name), queue=self.name, concurrency=concurrency)))

    def end(self, *item: Change) -> bool | None:
        """Commit as workers do: without waiting, so that None says that somebody else has the job just now."""
        [answer], _ = self.store.exchange([item], None)
        return None if answer.verdict is Verdict.BUSY else answer.applied

    def seen(self) -> Any:
        """What can be seen of the job once upkeep has seen to requests that came too late, but for times and ids."""
        catch_up_with(self.store)
        # A request that came a moment too late is in the events, and what it asked for was done all the same.
        found = [e for e in self.store.events(self.run.job_id) if e.event_type is not EventType.CANCEL_REQUESTED]
        events = [(e.event_type.value, e.claim_seq, e.attempt) for e in found]
        jobs = self.store.get([self.run.job_id])
        if not jobs:
            return None, events
        job = jobs[0]
        times = [time is not None for time in (job.ready_at, job.finished_at, job.last_cancelled_at, job.locked_at)]
        facts = (job.status.value, job.attempts, job.max_attempts, job.claim_seq, job.resuming, job.crash_count)
        rest = (job.retried_count, job.priority, job.tags, job.failure_reason, job.worker_id == self.idle)
        return (*facts, *times, *rest, len(job.error_history)), events


Act = Callable[[Scene], Any]

ACTS: dict[str, Act] = {
    "claim": lambda scene: len(scene.claim(scene.idle)) or None,
    "finish": lambda scene: scene.end(complete(scene.run)),
    "fail": lambda scene: scene.end(*or_cancelled((fail(scene.run, BROKEN, retry_in=600),))),
    "reclaim": lambda scene: scene.queue.reclaim_stuck_jobs(observe=False) or None,
    "cancel": lambda scene: scene.queue.cancel_job(scene.run.job_id),
    "stop": lambda scene: scene.queue.cancel_job(scene.run.job_id, abort_running=True),
    "give back": lambda scene: scene.end(*or_cancelled((release(scene.run, why="stopping"),))),
    "retry": lambda scene: scene.queue.retry_job(scene.run.job_id),
    "edit": lambda scene: scene.queue.edit_job(scene.run.job_id, priority=7, tags=["new"]),
    "delete": lambda scene: scene.queue.delete_job(scene.run.job_id),
    "clean up": lambda scene: scene.queue.cleanup_old_jobs(
        0, statuses=("completed", "failed", "cancelled"), confirm_all=True
    ),
    "pause": lambda scene: scene.store.put(Pause(id=scope_id(scene.name), queue=scene.name)) and True,
    "resume": lambda scene: scene.store.remove(Kind.PAUSE, [scope_id(scene.name)]),
    "limit": lambda scene: scene.limit(concurrency=0),
}
"""What is done → its answer. None says that nothing was found or that somebody else has it: ask again."""

CONTROLS = {"pause", "resume", "limit"}
"""What is no business of the job's, but of who claims it."""

BEGINNINGS: dict[str, Act | None] = {
    "ready": lambda scene: scene.end(release(scene.run, why="stopping")),
    "processing": None,
    "failed": lambda scene: scene.end(fail(scene.run, BROKEN, retry_in=None)),
    "paused": lambda scene: [ACTS["pause"](scene), scene.end(release(scene.run, why="stopping"))],
    "limited": lambda scene: [scene.limit(concurrency=1), scene.end(release(scene.run, why="stopping"))],
}


@contextmanager
def scene_on(store: Store, beginning: str) -> Iterator[Scene]:
    """A job that was claimed by a worker that is gone, and what became of it since."""
    settings = settings_for("default")
    queue = JobQueue(store, settings, Registry(), SilentNotifier())
    gone, idle = store.put(Worker(label="gone")), store.put(Worker(label="idle"))
    name = f"q{next(NUMBERS)}"
    [job] = store.insert([NewJob(job_type="t", queue=name, max_attempts=2, tags=("old",))])
    blank = Scene(queue, Execution(job.id, 0, 0, 0), name, idle.id)
    [claimed] = blank.claim(gone.id)
    scene = replace(blank, run=Execution.of(claimed))
    store.commit([(expire(gone.id),)])
    arrive = BEGINNINGS[beginning]
    if arrive is not None:
        arrive(scene)
    yield scene
    store.delete([job.id], force=True)
    store.remove(Kind.PAUSE, [scope_id(name)])
    store.remove(Kind.LIMIT, [limit_id(name)])


def in_order(beginning: str, acts: tuple[str, ...]) -> tuple[list[Any], Any]:
    """The answers to a sequence and what is seen in the end, as the store in memory has it."""
    with scene_on(MemoryStore(), beginning) as scene:
        return [ACTS[name](scene) for name in acts], scene.seen()


def sequences(beginning: str, pair: tuple[str, str]) -> list[Any]:
    """What both orders lead to: the answers to the first and the second of the pair, and what is seen in the end."""
    (first, second), seen = in_order(beginning, pair)
    (late, early), seen_otherwise = in_order(beginning, pair[::-1])
    return [(first, second, seen), (early, late, seen_otherwise)]


def matters(beginning: str, pair: tuple[str, str]) -> bool:
    """Whether either of the two does anything."""
    _, nothing = in_order(beginning, ())
    return any(in_order(beginning, (name,))[1] != nothing for name in pair)


def pairs(beginning: str) -> list[tuple[str, str]]:
    """The pairs of which either does anything to a job that begins so."""
    of_claims = [pair for pair in product(ACTS, ACTS) if "claim" in pair and CONTROLS & {*pair}]
    if beginning == "limited":
        return [*of_claims, ("claim", "claim")]
    if beginning == "paused":
        return of_claims
    others = product(*[[name for name in ACTS if name not in CONTROLS]] * 2)
    return of_claims + [pair for pair in others if matters(beginning, pair)]


class Stage:
    """Two threads with a connection each, and a look at whether one waits for the other."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.is_postgres = connections[alias].vendor == "postgresql"
        self.pools = [ThreadPoolExecutor(1), ThreadPoolExecutor(1)]
        self.asked = Event()
        """On SQLite: the second has asked for the write lock, which the first has."""
        self.pid = self.pools[1].submit(self._prepare).result()

    def close(self) -> None:
        """End both threads."""
        for pool in self.pools:
            pool.submit(connections.close_all).result()
            pool.shutdown()

    def held(self, scene: Scene, pair: tuple[str, str]) -> list[Any]:
        """Let the second act while the first has acted and not yet committed; the answers of both."""
        acted, go_on = Event(), Event()
        self.asked.clear()
        first = self.pools[0].submit(self._act_and_hold, scene, pair[0], acted, go_on)
        assert acted.wait(30)
        second = self.pools[1].submit(ACTS[pair[1]], scene)
        while not (self._waits() or wait([second], timeout=0.001).done):
            pass
        go_on.set()
        return self._answers(scene, pair, [first, second])

    def raced(self, scene: Scene, pair: tuple[str, str]) -> list[Any]:
        """Let both act at once; the answers of both."""
        barrier = Barrier(2)

        def act(name: str) -> Any:
            barrier.wait(30)
            return ACTS[name](scene)

        return self._answers(scene, pair, [p.submit(act, name) for p, name in zip(self.pools, pair, strict=True)])

    def _answers(self, scene: Scene, pair: tuple[str, str], futures: list[Future[Any]]) -> list[Any]:
        """Whoever found nothing, since the other had the job, asks again, as workers do."""
        answers = [future.result(30) for future in futures]
        return [ACTS[name](scene) if found is None else found for name, found in zip(pair, answers, strict=True)]

    def _act_and_hold(self, scene: Scene, name: str, acted: Event, go_on: Event) -> Any:
        try:
            with transaction.atomic(using=self.alias):
                answer = ACTS[name](scene)
                acted.set()
                assert go_on.wait(30)
                return answer
        finally:
            acted.set()

    def _prepare(self) -> int:
        """Make the second thread's connection and return the id of its session."""
        connection = connections[self.alias]
        connection.ensure_connection()
        connection.execute_wrappers.append(self._note)
        return connection.connection.info.backend_pid if self.is_postgres else 0

    def _note(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("BEGIN"):
            self.asked.set()
        return execute(sql, params, many, context)

    def _waits(self) -> bool:
        """Whether the second waits for a lock of the first."""
        if not self.is_postgres:
            return self.asked.is_set()
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", [self.pid])
            return bool(cursor.fetchone()[0])


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    emptied_store(request.param)
    made = Stage(request.param)
    yield made
    made.close()
    empty(request.param)


ON_EACH = pytest.mark.parametrize(
    "stage",
    [pytest.param(alias, marks=real_transactions(alias)) for alias in ("default", "postgres")],
    indirect=True,
)


@ON_EACH
@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("way", ["held", "raced"])
def test_two_at_once_come_to_what_one_after_the_other_comes_to(stage: Stage, way: str, beginning: str) -> None:
    for pair in pairs(beginning):
        if way == "raced" and pair != tuple(sorted(pair)):
            continue  # nobody is first there
        with scene_on(stores[stage.alias], beginning) as scene:
            answers = getattr(stage, way)(scene, pair)
            seen = (*answers, scene.seen())
            assert seen in sequences(beginning, pair), (beginning, pair)
