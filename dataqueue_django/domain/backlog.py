"""What waits to be run, and whether anybody alive will run it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .liveness import serves
from .records import Worker


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The ready jobs of one type in one queue: how many, and for how many seconds the first has been ready."""

    queue: str
    job_type: str
    ready: int
    waited: float


class Obstacle(StrEnum):
    """Why no live worker will take a job; the words are those of Explanation.reason."""

    NO_WORKER = "no_worker"
    NO_WORKER_FOR_QUEUE = "no_worker_for_queue"
    NO_WORKER_KNOWS_TYPE = "no_worker_knows_type"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unserved:
    """Ready jobs that no live worker will take, and why."""

    backlog: Backlog
    obstacle: Obstacle


def unserved(backlogs: Iterable[Backlog], alive: Sequence[Worker]) -> list[Unserved]:
    """Return the backlogs that none of the workers `alive` will take, in their order."""
    found = ((backlog, obstacle_to(backlog.queue, backlog.job_type, alive)) for backlog in backlogs)
    return [Unserved(backlog=backlog, obstacle=obstacle) for backlog, obstacle in found if obstacle is not None]


def obstacle_to(queue: str, job_type: str, alive: Sequence[Worker]) -> Obstacle | None:
    """Return why none of the workers `alive` will take a job of this queue and type; None where one will."""
    if not alive:
        return Obstacle.NO_WORKER
    listening = [worker for worker in alive if serves(worker, queue)]
    if not listening:
        return Obstacle.NO_WORKER_FOR_QUEUE
    if not any(job_type in worker.job_types for worker in listening):
        return Obstacle.NO_WORKER_KNOWS_TYPE
    return None
