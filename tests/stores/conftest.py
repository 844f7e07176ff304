"""What the tests of stores leave behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from dataqueue_django.conf import queue_databases
from tests.stores.tables import empty


@pytest.fixture(autouse=True, scope="class")
def _leave_nothing(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Empty the queue's tables after the last test of a class that writes to them."""
    yield
    mark = request.node.get_closest_marker("django_db")
    if mark is not None:
        with django_db_blocker.unblock():
            for alias in set(mark.kwargs["databases"]) & queue_databases():
                empty(alias)
