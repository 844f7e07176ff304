"""Whether anybody alive will run what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dataqueue_django.domain.backlog import Backlog, Obstacle, Unserved, unserved
from dataqueue_django.domain.explaining import explain
from dataqueue_django.domain.liveness import is_silent
from dataqueue_django.domain.records import Job, Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAITING = Backlog(queue="mail", job_type="send", ready=3, waited=5)
WORKERS = {
    "right": Worker(label="w", job_types=("send",)),
    "its queue": Worker(label="w", queues=("mail", "x"), job_types=("send", "y")),
    "another queue": Worker(label="w", queues=("Mail",), job_types=("send",)),
    "all queues but this": Worker(label="w", exclude_queues=("mail",), job_types=("send",)),
    "another type": Worker(label="w", queues=("mail",), job_types=("Send",)),
}


@pytest.mark.parametrize(
    ("names", "obstacle"),
    [
        ([], Obstacle.NO_WORKER),
        (["right"], None),
        (["its queue"], None),
        (["another queue"], Obstacle.NO_WORKER_FOR_QUEUE),
        (["all queues but this", "another queue"], Obstacle.NO_WORKER_FOR_QUEUE),
        (["another type"], Obstacle.NO_WORKER_KNOWS_TYPE),
        (["another queue", "another type"], Obstacle.NO_WORKER_KNOWS_TYPE),
        (["another type", "another queue", "right"], None),
    ],
)
def test_who_would_take_it(names: list[str], obstacle: Obstacle | None) -> None:
    workers = [WORKERS[name] for name in names]
    expected = [] if obstacle is None else [Unserved(backlog=WAITING, obstacle=obstacle)]
    assert unserved([WAITING], workers) == expected
    job = Job(
        id=1, job_type="send", queue="mail", payload=None, created_at=NOW, updated_at=NOW, run_at=NOW, ready_at=NOW
    )
    reason = explain(job, workers, {}, now=NOW).reason
    assert (reason in set(Obstacle)) == (obstacle is not None)
    assert obstacle is None or reason == obstacle


def test_in_the_order_given() -> None:
    other = Backlog(queue="a", job_type="z", ready=1, waited=0)
    assert [one.backlog for one in unserved([WAITING, other], [])] == [WAITING, other]


@pytest.mark.parametrize(("seconds", "silent"), [(0, False), (30, False), (30.001, True), (-5, False)])
def test_a_worker_is_silent_after_its_lease(seconds: float, silent: bool) -> None:
    worker = Worker(label="w", last_beat_at=NOW - timedelta(seconds=seconds), lease_ms=30_000)
    assert is_silent(worker, NOW) is silent
    assert not is_silent(Worker(label="w"), NOW)
