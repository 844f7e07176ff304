"""Fixtures for tests with real processes on real databases; a conftest.py imports the ones it wants.

Their modules say ``pytestmark = REAL``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataqueue_django.stores.orm.portable import PortableStore
from tests.harness.databases import emptied
from tests.harness.ledger import Ledger
from tests.harness.workers import Workers, workers_on

REAL = pytest.mark.django_db(transaction=True, databases="__all__", available_apps=["dataqueue_django", "tests.app"])
"""No transaction around a test, so that other processes see what it writes; the tables are emptied after it."""


@pytest.fixture
def alias(any_alias: str, db: None) -> str:
    """Run the test on each database in turn; ``default`` is SQLite."""
    return any_alias


@pytest.fixture
def store(alias: str) -> PortableStore:
    """The store of the alias, holding nothing."""
    return emptied(alias)


@pytest.fixture
def workers(store: PortableStore, alias: str, tmp_path: Path) -> Iterator[Workers]:
    """Starts worker processes on the database of the test; none is left running."""
    with workers_on(alias, tmp_path) as found:
        yield found


@pytest.fixture
def ledger(workers: Workers) -> Ledger:
    """The effects of the test's workers."""
    return Ledger(workers.ledger)
