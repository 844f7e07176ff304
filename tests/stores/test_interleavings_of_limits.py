"""Every order in which two acts on a limited queue can meet: no more run than may, and a slot that is free is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.records import Claim, ClaimedJob, JobStatus, NewJob
from dataqueue_django.domain.transitions import Execution, complete
from tests.stores.tables import empty, real_transactions
from tests.stores.test_interleavings import SWITCHES, Actor, Stage

ROOM = 1


@dataclass
class Scene:
    """A queue in which one job may run at a time, some that are ready, and one that runs where somebody ends it."""

    stage: Stage
    queue: str
    running: Execution | None
    claimed: list[ClaimedJob] = field(default_factory=list)

    def claim(self, *job_types: str) -> None:
        """Claim as many of some types as there are, as a worker does that knows these."""
        claim = Claim(limit=5, worker_id=self.stage.worker.id, locked_by="w", queues=(self.queue,), job_types=job_types)
        self.claimed += self.stage.queue.store.claim(claim)

    def finish(self) -> None:
        """End the job that runs."""
        assert self.running is not None
        while self.stage.queue.store.exchange([(complete(self.running),)], None)[0][0].is_busy:
            self.stage.let_the_other_go_on()


ACTS: dict[str, Callable[[Scene], Any]] = {
    "claim": lambda scene: scene.claim("t"),
    "another claims": lambda scene: scene.claim("u"),  # of others: of the same jobs, who comes second finds none anyway
    "finish": Scene.finish,
    "pause": lambda scene: scene.stage.queue.pause_queue(scene.queue),
    "limit to none": lambda scene: scene.stage.queue.set_limit(queue=scene.queue, concurrency=0),
    "limit each group": lambda scene: scene.stage.queue.set_limit(queue=scene.queue, per_group=True, concurrency=1),
}
PAIRS = [("claim", other) for other in ACTS if other != "claim"]


class ClaimingActor(Actor):
    stops = (*Actor.stops, "WITH")


class LimitStage(Stage):
    """Scenes of claims under limits."""

    acts = ACTS
    actor = ClaimingActor

    def most_switches(self, pair: tuple[str, str]) -> int:
        """See Stage."""
        return SWITCHES - 1  # a claim under limits has many points: each more takes some minutes

    def scene(self, pair: tuple[str, str]) -> Scene:
        """See Stage. The jobs belong to groups where groups are limited."""
        store, name = self.queue.store, f"q{uuid4()}"
        group = "g" if "limit each group" in pair else None
        store.insert([NewJob(job_type=job_type, queue=name, group_id=group) for job_type in "ttuu"])
        running = None
        if "finish" in pair:
            [job] = store.claim(Claim(limit=1, worker_id=self.worker.id, locked_by="w", queues=(name,)))
            running = Execution.of(job)
        self.queue.set_limit(queue=name, concurrency=ROOM)
        return Scene(self, name, running)

    def leave(self, scene: Scene) -> None:
        """See Stage."""
        self.queue.resume_queue(scene.queue)
        self.queue.remove_limit(queue=scene.queue)
        self.queue.remove_limit(queue=scene.queue, per_group=True)


def check(scene: Scene, order: Any) -> None:
    """No more than one runs; where nothing forbids it, one does, at the latest after another claim."""
    pair, _, _ = order
    store = scene.stage.queue.store

    def running() -> int:
        return store.count(JobFilter(queues=(scene.queue,), statuses=(JobStatus.PROCESSING,)))[()]

    assert running() == len(scene.claimed) <= ROOM, order
    if "another claims" in pair:
        assert scene.claimed, order
    scene.claim()
    forbidden = "pause" in pair or "limit to none" in pair
    assert running() == len(scene.claimed) <= ROOM, order
    assert forbidden or running() == ROOM, order


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[LimitStage]:
    made = LimitStage(request.param)
    yield made
    made.close()
    empty(request.param)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(alias, marks=real_transactions(alias)) for alias in ("default", "postgres")],
    indirect=True,
)
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_no_order_exceeds_a_limit(stage: LimitStage, pair: tuple[str, str]) -> None:
    assert stage.orders(pair, check) >= 2
