"""A queue behind the endpoints, and somebody who calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from dataqueue_django import get_queue
from dataqueue_django.queue import JobQueue
from tests.variants import declared

SECRET = "the secret of the tests"

Call = Callable[..., HttpResponse]


@pytest.fixture(autouse=True)
def _forget_handlers(forget_handlers: None) -> None:
    """The next test may use the names again."""


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    """The only queue there is, in the database of the test."""
    settings.DATAQUEUE = declared(any_alias)
    settings.DATAQUEUE_CRON_SECRET = SECRET
    return get_queue(any_alias)


@pytest.fixture
def call(queue: JobQueue) -> Call:
    """Calls an endpoint with the secret, on the queue of the test, as a cron service without cookies does."""
    client = Client(enforce_csrf_checks=True)

    def to(name: str, body: Any = None, /, **query: Any) -> HttpResponse:
        headers = {"Authorization": f"Bearer {SECRET}"}
        query = {"alias": queue.alias, **query}
        if body is None:
            return client.get(f"/dataqueue/{name}", query, headers=headers)
        return client.post(
            f"/dataqueue/{name}", body, content_type="application/json", headers=headers, query_params=query
        )

    return to
