"""`health`: what anybody learns, and what the holder of the secret does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dataqueue_django.domain.records import Worker
from dataqueue_django.queue import JobQueue
from tests.endpoints.conftest import SECRET, Call

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def waiting(queue: JobQueue) -> JobQueue:
    """A queue with a job that has been ready for ten minutes, and no worker."""
    queue.add_job("x", run_at=timezone.now() - timedelta(minutes=10), allow_unknown=True)
    return queue


def test_anybody_learns_that_it_answers_and_nothing_else(queue: JobQueue, settings: Any) -> None:
    for secret in (SECRET, ""):
        settings.DATAQUEUE_CRON_SECRET = secret
        with CaptureQueriesContext(connections[queue.settings.database or ""]) as queries:
            answer = Client().get("/dataqueue/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert len(queries) <= 1
        assert Client().head("/dataqueue/health").status_code == 200
        assert Client().post("/dataqueue/health").status_code == 405


def test_limits_are_for_those_with_the_secret(queue: JobQueue) -> None:
    assert Client().get("/dataqueue/health", {"maxOldest": 1}).status_code == 401
    assert Client().get("/dataqueue/health", headers={"Authorization": "Bearer x"}).status_code == 401


def test_anybody_learns_that_it_does_not_answer(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("host db.internal")

    monkeypatch.setattr(type(queue.store), "now", away)
    answer = Client().get("/dataqueue/health")
    assert (answer.status_code, answer.json()) == (503, {"message": "The store cannot be reached."})


def test_without_limits_it_is_well(call: Call, waiting: JobQueue) -> None:
    answer = call("health")
    facts = answer.json()
    assert answer.status_code == 200
    assert facts.pop("oldestReadySeconds") >= 600
    assert facts == {"status": "ok", "problems": [], "ready": 1, "workers": 0, "unserved": 1, "failedRate": None}


def test_what_is_wrong_is_said(call: Call, waiting: JobQueue) -> None:
    answer = call("health", maxOldest=300, minWorkers=1)
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert len(answer.json()["problems"]) == 2
    waiting.store.put(Worker(label="w", job_types=("x",)))
    assert call("health", minWorkers=1).status_code == 200


@pytest.mark.parametrize(
    "query", [{"maxOldest": "-1"}, {"maxOldest": "soon"}, {"maxFailedRate": "1.1"}, {"minWorkers": "0.5"}, {"min": "1"}]
)
def test_silly_limits(call: Call, query: dict[str, str]) -> None:
    assert call("health", **query).status_code == 400


def test_it_costs_a_few_statements(call: Call, waiting: JobQueue) -> None:
    with CaptureQueriesContext(connections[waiting.settings.database or ""]) as queries:
        call("health", maxOldest=300, minWorkers=1)
    assert len(queries) <= 5, [one["sql"] for one in queries]
