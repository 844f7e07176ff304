"""What Sentry hears of a failing job, with the integrations that it turns on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from django.db import connections
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from dataqueue_django import get_queue, job
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.harness.fixtures import REAL
from tests.variants import SQLITE

pytestmark = [REAL, pytest.mark.usefixtures("forget_handlers")]


class Caught(Transport):
    """Keeps what would be sent."""

    events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep the event of an envelope."""
        if (event := envelope.get_event()) is not None:
            self.events.append(event)  # type: ignore[arg-type]


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    Caught.events.clear()
    sentry_sdk.init("https://public@sentry.invalid/1", transport=Caught, server_name="test", release="test")
    yield Caught.events
    sentry_sdk.init()  # without a DSN it sends nothing


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    settings.DATAQUEUE_CONTEXT = ["dataqueue_django.contrib.sentry.SentryCarrier"]
    return get_queue(any_alias)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failing_job_s_exception_arrives_once_with_the_job(
    queue: JobQueue, sent: list[dict[str, Any]], kind: str
) -> None:
    options = {"queue": "mail", "max_attempts": 2, "retry_delay": 0.001, "retry_backoff": "fixed"}

    @job("sentry.sync", **options)
    def sync() -> None:
        raise ValueError("no ink")

    @job("sentry.async", **options)
    async def coroutine() -> None:
        raise ValueError("no ink")

    id = queue.add_job(f"sentry.{kind}", {})
    while not queue.store.get([id])[0].is_terminal:
        WorkerLoop(queue, ProcessorOptions(burst=True)).run()
    sentry_sdk.flush()
    assert len(sent) == 1, [event.get("logentry") for event in sent]
    [event] = sent
    assert [one["type"] for one in event["exception"]["values"]] == ["ValueError"]
    tags = {name: str(value) for name, value in event["tags"].items()}
    assert tags == {"job.id": str(id), "job.type": f"sentry.{kind}", "job.queue": "mail", "job.attempt": "2"}
    assert event["transaction"] == f"job sentry.{kind}"


def test_what_a_handler_sends_itself_has_the_job_and_the_next_one_has_its_own(
    queue: JobQueue, sent: list[dict[str, Any]]
) -> None:
    job("sentry.message")(lambda: sentry_sdk.capture_message("low on ink") and None)
    ids = [queue.add_job("sentry.message", {}) for _ in range(2)]
    WorkerLoop(queue, ProcessorOptions(burst=True, concurrency=1)).run()
    sentry_sdk.capture_message("outside")
    assert [str(event.get("tags", {}).get("job.id")) for event in sent] == [*map(str, ids), "None"]


def test_sqlite_takes_the_write_lock_at_once_beside_it_as_well(sent: list[dict[str, Any]]) -> None:
    """It asks each connection for its parameters, and Django sets a connection's mode whenever these are asked for."""
    connection = connections[SQLITE]
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.get_connection_params()
    assert connection.transaction_mode == "IMMEDIATE"  # type: ignore[attr-defined]
    assert connection.settings_dict is connections.settings[SQLITE]  # a parallel test's database is named there
    assert not sent
