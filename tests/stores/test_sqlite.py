"""The ORM store on SQLite keeps the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dataqueue_django.stores.base import Store
from dataqueue_django.testing.contract import StoreContract
from tests.stores.tables import check_rows, emptied_store, real_transactions
from tests.variants import SQLITE


@real_transactions(SQLITE)
class TestSqliteStore(StoreContract):
    def make_store(self) -> Store:
        return emptied_store(SQLITE)

    def check_store(self, store: Any, operation: str, now: datetime) -> None:
        check_rows(store, now)
