"""Fixtures for tests of running jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataqueue_django.handlers import registry
from tests.harness.fixtures import alias, ledger, store, workers

__all__ = ["alias", "ledger", "store", "workers"]


@pytest.fixture(autouse=True)
def _forget_handlers() -> Iterator[None]:
    """Forget the handlers that a test defined, so that the next may use the names again."""
    known = set(registry.types())
    yield
    for added in set(registry.types()) - known:
        registry.remove(added)
