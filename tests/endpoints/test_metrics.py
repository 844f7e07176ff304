"""What Prometheus reads."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from dataqueue_django import job, metrics
from dataqueue_django.domain.records import Worker
from dataqueue_django.domain.steering import cancel
from dataqueue_django.exceptions import ConfigurationError
from dataqueue_django.queue import JobQueue
from dataqueue_django.signals import SIGNALS
from tests.endpoints.conftest import Call

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def samples(text: str) -> dict[tuple[Any, ...], float]:
    """(name, values of the labels in the order of their names) → value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def busy(queue: JobQueue) -> JobQueue:
    """Two ready jobs, one for later, and five that have ended."""
    ready = {"queue": "mail", "run_at": timezone.now() - timedelta(minutes=1), "allow_unknown": True}
    queue.add_job("send", **ready)
    queue.add_job("send", **ready)
    queue.add_job("send", queue="mail", run_at=timezone.now() + timedelta(hours=1), allow_unknown=True)
    queue.store.commit([cancel(queue.add_job("send", allow_unknown=True)) for _ in range(5)])
    queue.store.put(Worker(label="w", concurrency=4))
    return queue


@pytest.fixture
def watched() -> Iterator[None]:
    metrics.watch_events()
    yield
    for signal in SIGNALS.values():
        signal.disconnect(dispatch_uid="dataqueue_django.metrics")


def test_the_gauges(call: Call, busy: JobQueue) -> None:
    answer = call("metrics")
    assert answer["Content-Type"].startswith("text/plain")
    found = samples(answer.content.decode())
    alias = busy.alias
    assert found["dataqueue_up", alias] == 1
    assert found["dataqueue_jobs", alias, "send", "mail", "pending"] == 3
    assert found["dataqueue_ready_jobs", alias, "send", "mail"] == 2
    assert found["dataqueue_oldest_ready_seconds", alias, "send", "mail"] >= 60
    assert (found["dataqueue_workers", alias], found["dataqueue_worker_slots", alias]) == (1, 4)
    assert not [key for key in found if "cancelled" in key]


def test_a_scrape_costs_a_few_statements_and_counts_nothing_that_has_ended(call: Call, busy: JobQueue) -> None:
    with CaptureQueriesContext(connections[busy.settings.database or ""]) as queries:
        call("metrics")
    statements = [one["sql"] for one in queries]
    assert len(statements) <= 6, statements
    counts = [sql for sql in statements if "count(" in sql.lower()]
    assert len(counts) == 2
    assert all(re.search(r'"status" IN|"stage" =', sql) for sql in counts), counts
    assert not [sql for sql in counts if "completed" in sql or "cancelled" in sql]


def test_a_store_that_is_away_is_a_metric(call: Call, busy: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(type(busy.store), "find", away)
    answer = call("metrics")
    assert answer.status_code == 200
    found = samples(answer.content.decode())
    assert found["dataqueue_up", busy.alias] == 0
    assert not [key for key in found if key[0] == "dataqueue_jobs"]


def test_events_of_this_process_are_counted_once_asked_for(call: Call, queue: JobQueue, watched: None) -> None:
    job("metrics.work", queue=f"counted-{queue.alias}")(lambda: None)
    metrics.watch_events()  # twice counts once
    queue.add_job("metrics.work", {})
    assert call("process").json()["processed"] == 1
    found = samples(call("metrics").content.decode())
    counted = {
        key[2]: n
        for key, n in found.items()
        if key[0] == "dataqueue_events_total" and key[4] == f"counted-{queue.alias}"
    }
    assert counted == {"added": 1, "processing": 1, "completed": 1}


def test_nobody_listens_until_asked() -> None:
    assert not [signal for signal in SIGNALS.values() if signal.receivers]


def test_without_the_library(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "dataqueue_django.metrics")
    with pytest.raises(ConfigurationError, match="pip install"):
        importlib.import_module("dataqueue_django.metrics")
    answer = call("metrics")
    assert answer.status_code == 404
    assert "prometheus-client" in answer.json()["message"]
