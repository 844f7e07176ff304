"""The ORM store on PostgreSQL keeps the contract, whichever way its statements are sent and put together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from dataqueue_django.stores.base import Store
from dataqueue_django.stores.orm.postgres import PostgresStore
from dataqueue_django.testing.contract import StoreContract
from dataqueue_django.testing.contract.claiming import Claiming
from dataqueue_django.testing.contract.committing import Committing
from dataqueue_django.testing.contract.exchanging import Exchanging
from dataqueue_django.testing.contract.finishing import Finishing
from dataqueue_django.testing.contract.histories import Histories
from dataqueue_django.testing.contract.lifecycle import Lifecycle
from dataqueue_django.testing.contract.rates import Rates
from dataqueue_django.testing.contract.waiting import Waiting
from dataqueue_django.testing.contract.workers import Workers
from tests.stores.tables import check_rows, emptied_store, real_transactions


class TwoCalls(PostgresStore):
    """Commits and claims as every store can: the portable path for the commit, and a statement for each half."""

    exchange = Store.exchange


@real_transactions("postgres")
class TestPostgresStore(StoreContract):
    def make_store(self) -> Store:
        return emptied_store("postgres")

    def check_store(self, store: Any, operation: str, now: datetime) -> None:
        check_rows(store, now)


@real_transactions("postgres")
class TestOverAPrivateSession(
    Claiming, Committing, Exchanging, Finishing, Workers, Rates, Waiting, Lifecycle, Histories
):
    """On a worker's own connection, where the hot statements are prepared and planned once: all that a worker does."""

    def make_store(self) -> Store:
        return emptied_store("postgres")

    def check_store(self, store: Any, operation: str, now: datetime) -> None:
        check_rows(store, now)

    def session(self, store: Store) -> AbstractContextManager[Any]:
        return store.private_session()


@real_transactions("postgres")
class TestInTwoCalls(Exchanging, Finishing, Histories):
    """With a commit and then a claim instead of one statement; all else is the same store."""

    def make_store(self) -> Store:
        return TwoCalls("postgres", emptied_store("postgres").database)

    def check_store(self, store: Any, operation: str, now: datetime) -> None:
        check_rows(store, now)
