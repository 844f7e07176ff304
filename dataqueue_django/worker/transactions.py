"""What transactions a handler has open: what is durable must not depend on one that may still be rolled back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections

from ..exceptions import InTransaction

READS = re.compile(
    r"\s*(?:/\*.*?\*/\s*)*"
    r"(SELECT|EXPLAIN|SHOW|PRAGMA|BEGIN|COMMIT|SAVEPOINT|RELEASE|ROLLBACK|SET|VALUES)\b",
    re.I | re.S,
)
"""How statements begin that change nothing that would have to be undone."""

WITH, WRITES = re.compile(r"\s*WITH\b", re.I), re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE)\b", re.I)


class Transactions:
    """The transactions that a handler was begun in, by database and depth: none but in tests; and those since."""

    def __init__(self, before: Mapping[str, int]) -> None:
        self._before = before

    @classmethod
    def around(cls) -> Transactions:
        """Return those that the current thread is in now."""
        return cls({connection.alias: _depth(connection) for connection in connections.all(initialized_only=True)})

    def refuse(self, what: str) -> None:
        """Raise InTransaction if the handler has begun a transaction in this thread, on whatever database."""
        for connection in connections.all(initialized_only=True):
            if _depth(connection) > self._before.get(connection.alias, 0):
                raise InTransaction(
                    f"{what} was called inside a transaction on {connection.alias!r}; expected it outside of atomic(), "
                    "since what it stores has to stay when that transaction is rolled back."
                )


NO_TRANSACTIONS = Transactions({})


@contextmanager
def writing_only_to(database: str | None, what: str) -> Iterator[None]:
    """Refuse, with InTransaction, statements of the current thread that write to another database than this."""

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if READS.match(sql) or (WITH.match(sql) and not WRITES.search(sql)):
            return execute(sql, params, many, context)
        raise InTransaction(
            f"{what} writes to the database {context['connection'].alias!r}, which its transaction on {database!r} "
            "cannot cover; expected such writes in a step of their own."
        )

    with ExitStack() as wrapped:
        for connection in connections.all():
            if connection.alias != database:
                wrapped.enter_context(connection.execute_wrapper(refuse))
        yield


def _depth(connection: Any) -> int:
    """How deep in transactions a connection is; one with autocommit off is always in one."""
    return len(connection.atomic_blocks) or int(connection.connection is not None and not connection.get_autocommit())
