"""The ORM stores inside the caller's own transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from dataqueue_django.domain.filters import EVERYTHING
from dataqueue_django.domain.records import NewJob
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import SQLITE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ALIASES = [
    pytest.param(SQLITE, marks=real_transactions(SQLITE)),
    pytest.param("postgres", marks=real_transactions("postgres")),
]


class Undo(Exception):
    """Ends a transaction without what was written in it."""


@contextmanager
def undone(context: AbstractContextManager[Any]) -> Iterator[None]:
    """Enter a transaction and leave it by an exception."""
    with suppress(Undo), context:
        yield
        raise Undo


@pytest.mark.parametrize("alias", ALIASES)
class TestTransactions:
    def test_what_is_inserted_goes_with_the_caller(self, alias: str) -> None:
        store = emptied_store(alias)
        assert store.features.joins_user_transaction
        with undone(transaction.atomic(using=store.database)):
            store.insert([NewJob(job_type="t", tags=("a",))], now=NOW)
            assert store.in_transaction()
        assert not store.in_transaction()
        assert store.count() == {(): 0}

    def test_who_waits_for_a_commit_is_called_after_it_and_only_then(self, alias: str) -> None:
        store, called = emptied_store(alias), []
        with transaction.atomic(using=store.database):
            store.on_commit(lambda: called.append("kept"))
            assert called == []
        with undone(transaction.atomic(using=store.database)):
            store.on_commit(lambda: called.append("undone"))
        assert called == ["kept"]

    def test_several_calls_take_effect_together(self, alias: str) -> None:
        store = emptied_store(alias)
        with undone(store.transaction()):
            store.insert([NewJob(job_type="t")], now=NOW)
            store.insert([NewJob(job_type="t")], now=NOW)
        assert store.count() == {(): 0}

    def test_a_failure_inside_leaves_the_callers_transaction_usable(self, alias: str) -> None:
        store = emptied_store(alias)
        with transaction.atomic(using=store.database):
            with undone(store.transaction()):
                store.insert([NewJob(job_type="undone")], now=NOW)
            store.insert([NewJob(job_type="kept")], now=NOW)
        assert [job.job_type for job in store.query(EVERYTHING)] == ["kept"]
