"""Every order in which two acts on a wait can meet, up to two switches between them: no wake-up is lost.

Each act runs in a thread with a connection of its own, one at a time; it stops before whatever it asks the database
that another session could change the answer to, and before its commits. What a transaction writes on records that it
has locked is seen by nobody before that, so it does not stop there.

`SWITCHES=3` takes several times as long.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from threading import Condition, get_ident
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction

from dataqueue_django.conf import settings_for
from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.records import Claim, JobStatus, Kind, NewJob, Token, Worker
from dataqueue_django.domain.tokens import Completion, complete
from dataqueue_django.domain.transitions import Execution, park
from dataqueue_django.domain.waits import Wait, WaitKind
from dataqueue_django.exceptions import JobStateError
from dataqueue_django.handlers import Registry
from dataqueue_django.notify.base import SilentNotifier
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.waking import close_due, wake_all
from dataqueue_django.stores import Store
from tests.stores.tables import emptied_store, empty, real_transactions

SWITCHES = int(os.environ.get("SWITCHES", "2"))
FEWER_SWITCHES = 1
"""Between acts neither of which parks; more find nothing more there, and take some minutes."""


class Undone(Exception):
    """Rolls a transaction of the caller's back."""


@dataclass
class Scene:
    """A token, the jobs that wait for it or are about to, and what the acts have answered."""

    stage: Stage
    token: str
    maker: int
    runs: tuple[Execution, Execution]
    completions: list[Completion] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The store it plays on."""
        return self.stage.queue.store

    def park(self, which: int) -> None:
        """Let a handler that has unwound wait, as workers store that: without waiting for locks, again and again."""
        item = park(self.runs[which], Wait(kind=WaitKind.TOKEN, place=0, token_id=self.token))
        while self.store.exchange([item], None)[0][0].is_busy:
            self.stage.let_the_other_go_on()

    def complete(self, answer: int) -> Completion:
        """Complete the token."""
        return self.stage.queue.complete_token(self.token, answer)

    def complete_and(self, answer: int, *, commit: bool) -> None:
        """Complete the token in a transaction of the caller's."""
        try:
            with transaction.atomic(using=self.stage.alias):
                given = self.complete(answer)
                if not commit:
                    raise Undone
        except Undone:
            return
        self.completions.append(given)

    def delete(self, job_id: int) -> None:
        """Delete a job, unless its handler runs."""
        with suppress(JobStateError):
            self.stage.queue.delete_job(job_id)


ACTS: dict[str, Callable[[Scene], Any]] = {
    "park": lambda scene: scene.park(0),
    "another parks": lambda scene: scene.park(1),
    "complete": lambda scene: scene.completions.append(scene.complete(1)),
    "complete in atomic": lambda scene: scene.complete_and(2, commit=True),
    "complete, rolled back": lambda scene: scene.complete_and(3, commit=False),
    "expire": lambda scene: close_due(scene.store),
    "cancel": lambda scene: scene.stage.queue.cancel_job(scene.runs[0].job_id),
    "wake": lambda scene: wake_all(scene.store, scene.token),
    "delete the maker, which waits": lambda scene: scene.delete(scene.runs[0].job_id),
    "delete the maker": lambda scene: scene.delete(scene.maker),
}

TWICE = {"complete", "complete in atomic", "expire", "wake"}
"""What two may do at once."""

PAIRS = [
    pair
    for pair in combinations_with_replacement(ACTS, 2)
    if (pair[0] != pair[1] or pair[0] in TWICE) and (pair[0] != "another parks" or pair[1] == "park")
]


STOPS = ("SELECT", "BEGIN", 'DELETE FROM "dataqueue_token"')
"""How statements begin before which an actor stops."""


class Actor:
    """A thread with a connection of its own, which goes on from point to point as it is told."""

    stops = STOPS

    def __init__(self, alias: str, changed: Condition) -> None:
        self.alias = alias
        self.pool = ThreadPoolExecutor(1)
        self.changed = changed
        self.at: str | None = None
        """The point where it stands; None while it runs."""
        self.error: BaseException | None = None
        self.plays = False
        self.writes = False
        """On SQLite: whether it has the write lock, so that nothing it reads can change."""
        self.thread = self.pool.submit(get_ident).result(30)
        self.pid: int = self.pool.submit(self._prepare).result(30)

    def play(self, act: Callable[[], Any]) -> None:
        """Begin an act, up to its first point."""
        self.plays, self.error, self.at = True, None, None
        self.pool.submit(self._act, act)

    def stop(self, at: str) -> None:
        """Stand at a point until told to go on; called in the thread itself."""
        with self.changed:
            self.at = at
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.at is None, 60)

    def go_on(self) -> None:
        """Leave the point."""
        with self.changed:
            self.at = None
            self.changed.notify_all()

    def look_again(self) -> None:
        """Let it ask once more for what the other held."""
        if self.at == "busy":
            self.at = "again"

    def _act(self, act: Callable[[], Any]) -> None:
        try:
            self.stop("begin")
            act()
        except BaseException as error:
            self.error = error
        finally:
            self.plays = False
            with self.changed:
                self.at = "end"
                self.changed.notify_all()

    def _prepare(self) -> int:
        connection: Any = connections[self.alias]
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            connection.cursor().execute("PRAGMA synchronous = OFF")
        connection.execute_wrappers.append(self._before_statement)
        for name in ("_commit", "_rollback"):
            setattr(connection, name, self._stopping(name, getattr(connection, name)))
        return connection.connection.info.backend_pid if connection.vendor == "postgresql" else 0

    def _before_statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.plays and not self.writes and sql.startswith(self.stops):
            self.stop("BEGIN" if sql.startswith("BEGIN") else sql)
        self.writes = self.writes or sql.startswith("BEGIN")
        return execute(sql, params, many, context)

    def _stopping(self, name: str, end: Callable[[], Any]) -> Callable[[], Any]:
        def stopping() -> Any:
            if self.plays:
                self.stop(name)
            try:
                return end()
            finally:
                self.writes = False

        return stopping


class Stage:
    """Two actors, of whom one moves at a time, and jobs to play with."""

    acts: Mapping[str, Callable[[Any], Any]] = ACTS
    actor: type[Actor] = Actor

    def __init__(self, alias: str) -> None:
        self.alias = alias
        store = emptied_store(alias)
        self.queue = JobQueue(store, settings_for(alias), Registry(), SilentNotifier())
        self.is_postgres = connections[alias].vendor == "postgresql"
        self.worker = store.put(Worker(label="w"))
        self.spare: list[Execution] = []
        changed = Condition()
        self.actors = [self.actor(alias, changed), self.actor(alias, changed)]
        self.changed = changed

    def close(self) -> None:
        """End both threads."""
        for actor in self.actors:
            actor.pool.submit(connections.close_all).result(30)
            actor.pool.shutdown()

    # -- scenes

    def scene(self, pair: tuple[str, str]) -> Any:
        """A token and two jobs, which wait for it already where the pair does not let them."""
        store, made = self.queue.store, (self._run(), self._run())
        [other] = store.insert([NewJob(job_type="t", queue="others")]) if "delete the maker" in pair else [None]
        maker = made[0].job_id if other is None else other.id
        due = store.now() if "expire" in pair else None
        token = store.put(Token(id=f"wp_{uuid4()}", job_id=maker, timeout_at=due, due_at=due))
        scene = Scene(self, token.id, maker, made)
        for which, name in enumerate(("park", "another parks")):
            if name not in pair:
                scene.park(which)
        if "wake" in pair:  # whoever completed it died before it woke anybody
            store.commit([complete(token.id, 0)])
        return scene

    def _run(self) -> Execution:
        """An execution of a job of its own; claimed many at a time."""
        if not self.spare:
            store = self.queue.store
            name = f"q{uuid4()}"
            store.insert([NewJob(job_type="t", queue=name, max_attempts=1)] * 200)
            claim = Claim(limit=200, worker_id=self.worker.id, locked_by="w", queues=(name,))
            self.spare = [Execution.of(job) for job in store.claim(claim)]
        return self.spare.pop()

    # -- orders

    def most_switches(self, pair: tuple[str, str]) -> int:
        """How often to switch between the two at most."""
        return SWITCHES if "park" in pair else FEWER_SWITCHES

    def leave(self, scene: Any) -> None:
        """Take away what the next scene should not meet."""
        self.queue.store.remove(Kind.TOKEN, [scene.token])

    def orders(self, pair: tuple[str, str], check: Callable[[Any, Any], None]) -> int:
        """Play a pair in every order up to the wanted number of switches; `check` sees what each came to."""
        most = self.most_switches(pair)
        todo: list[tuple[int, tuple[int, ...]]] = [(0, ()), (1, ())]
        played = 0
        while todo:
            first, switches = todo.pop()
            scene = self.scene(pair)
            chances = self._play(scene, pair, first, switches)
            check(scene, (pair, first, switches))
            self.leave(scene)
            played += 1
            if len(switches) < most:
                todo += [(first, (*switches, n)) for n in chances if not switches or n > switches[-1]]
        return played

    def _play(self, scene: Any, pair: tuple[str, str], first: int, switches: tuple[int, ...]) -> list[int]:
        """Let the first go on, and switch after these steps; returns after which steps a switch was possible.

        Whoever waits for the other leaves the stage to it.
        """
        for actor, name in zip(self.actors, pair, strict=True):
            actor.play(lambda act=self.acts[name]: act(scene))  # type: ignore[misc]
        self._settle()
        now, other = self.actors[first], self.actors[1 - first]
        chances, step = [], 0
        while any(actor.at != "end" for actor in self.actors):
            if step in switches or not self._can_go_on(now):
                now, other = other, now
            if not self._can_go_on(now):
                now, other = other, now
            if self._can_go_on(now):
                now.go_on()
                step += 1
            self._settle()
            other.look_again()
            if other.at == "end":
                now.look_again()
            if self._can_go_on(now) and self._can_go_on(other) and step not in chances:
                chances.append(step)
        for actor in self.actors:
            if actor.error is not None:
                raise AssertionError((pair, first, switches)) from actor.error
        return chances

    def let_the_other_go_on(self) -> None:
        """Called by an act that found a record held."""
        [me] = [actor for actor in self.actors if actor.thread == get_ident()]
        if me.plays:
            me.stop("busy")

    def _can_go_on(self, actor: Actor) -> bool:
        """Whether it stands at a point that is not the end, and would not have to wait for the other."""
        if actor.at in (None, "end", "busy"):
            return False
        return not (actor.at == "BEGIN" and any(one.writes for one in self.actors if one is not actor))

    def _settle(self) -> None:
        """Wait until each has reached a point, or waits for a lock of the other."""
        while True:
            with self.changed:
                if self.changed.wait_for(lambda: all(actor.at is not None for actor in self.actors), 0.002):
                    return
            stands = [actor.at is not None or self._waits(actor) for actor in self.actors]
            if all(stands) and any(actor.at is not None for actor in self.actors):
                return

    def _waits(self, actor: Actor) -> bool:
        """Whether the database lets it wait for a lock."""
        if not self.is_postgres:
            return False
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", [actor.pid])
            return bool(cursor.fetchone()[0])


def check(scene: Scene, order: Any) -> None:
    """Nobody waits for what has happened already, each wait ended once, and one completion won."""
    store = scene.store
    token = store.fetch(Kind.TOKEN, scene.token)
    jobs = {job.id: job for job in store.get([run.job_id for run in scene.runs])}
    waiting = [job for job in jobs.values() if job.status is JobStatus.WAITING]
    assert not waiting or (token is not None and (not token.is_closed or token.due_at is not None)), order
    assert scene.completions.count(Completion.COMPLETED) <= 1, order
    if token is not None and scene.completions:
        is_completed = token.status.value == "completed"
        assert is_completed == (Completion.COMPLETED in scene.completions) or "wake" in order[0], order
    close_due(store)
    token = store.fetch(Kind.TOKEN, scene.token)
    is_over = token is None or token.is_closed
    for job in store.get(list(jobs)):
        words = Counter(event.event_type.value for event in store.events(job.id))
        woken = words["resumed"] + words["released"]
        assert words["processing"] == 1, order
        if job.status is JobStatus.PROCESSING:
            continue
        assert words["waiting"] + words["released"] == 1, (order, words)
        assert woken == (job.status is not JobStatus.WAITING) or (not woken and words["cancelled"]), (order, words)
        assert (job.status is JobStatus.WAITING) == (not is_over and not words["cancelled"]), (order, words)
        assert job.status in (JobStatus.WAITING, JobStatus.CANCELLED) or (job.resuming and job.ready_at), order
    assert store.query(JobFilter(wait_token_ids=(scene.token,))) == [] or not is_over, order


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(request.param)
    yield made
    made.close()
    empty(request.param)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(alias, marks=real_transactions(alias)) for alias in ("default", "postgres")],
    indirect=True,
)
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_no_order_loses_a_wake_up(stage: Stage, pair: tuple[str, str]) -> None:
    assert stage.orders(pair, check) >= 2
