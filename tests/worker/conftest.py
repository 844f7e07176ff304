"""Fixtures for tests of running jobs."""

from __future__ import annotations

import pytest

from tests.harness.fixtures import alias, ledger, store, workers

__all__ = ["alias", "ledger", "store", "workers"]


@pytest.fixture(autouse=True)
def _forget_handlers(forget_handlers: None) -> None:
    """The next test may use the names again."""
