"""Sees every interaction of this process with a database, at the driver's level.

Django's `execute_wrapper` sees neither BEGIN and COMMIT nor what goes to psycopg directly; this sees all of it. Test
processes install it once, before they connect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper
from psycopg._connection_base import BaseConnection

BEFORE, AFTER = "before", "after"
CONNECT = "CONNECT"

Tap = Callable[[str, str], None]
"""Told the side, before or after, and the text of each interaction; may raise `AnswerLost`."""


class AnswerLost(Exception):
    """Raised by a tap to say that the answer to what was just done never comes; before it, that it is not even done."""


def install(tap: Tap) -> None:
    """Call `tap` before and after each interaction from now on."""
    _around_connecting(tap)
    _around_psycopg(tap)
    _around_sqlite(tap)


def _around_connecting(tap: Tap) -> None:
    original = BaseDatabaseWrapper.connect

    @functools.wraps(original)
    def connect(self: Any) -> None:
        tap(BEFORE, CONNECT)
        original(self)
        try:
            tap(AFTER, CONNECT)
        except AnswerLost:
            self.close()
            raise OperationalError("the connection was lost at once") from None

    BaseDatabaseWrapper.connect = connect  # type: ignore[method-assign]


def _around_psycopg(tap: Tap) -> None:
    for name in ("execute", "executemany"):
        setattr(psycopg.Cursor, name, _psycopg_call(getattr(psycopg.Cursor, name), tap))
    original = BaseConnection._exec_command

    @functools.wraps(original)
    def exec_command(self: Any, command: Any, *args: Any, **options: Any) -> Generator[Any, Any, Any]:
        """BEGIN, COMMIT and ROLLBACK, which psycopg sends by itself."""
        text = _text(command, self)
        try:
            tap(BEFORE, text)
            answer = yield from original(self, command, *args, **options)
            tap(AFTER, text)
        except AnswerLost:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the answer to {text} was lost") from None
        return answer

    BaseConnection._exec_command = exec_command  # type: ignore[method-assign]


def _psycopg_call(original: Callable[..., Any], tap: Tap) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        text = _text(query, self)
        try:
            tap(BEFORE, text)
            answer = original(self, query, *args, **options)
            tap(AFTER, text)
        except AnswerLost:
            self.connection.close()
            raise psycopg.OperationalError("the answer to a statement was lost") from None
        return answer

    return call


def _text(query: Any, context: Any) -> str:
    if isinstance(query, bytes):
        return query.decode()
    return query if isinstance(query, str) else str(query.as_string(context))


def _around_sqlite(tap: Tap) -> None:
    for name in ("execute", "executemany"):
        setattr(SQLiteCursorWrapper, name, _sqlite_call(getattr(SQLiteCursorWrapper, name), tap))
    for name, text in (("_commit", "COMMIT"), ("_rollback", "ROLLBACK")):
        setattr(SqliteWrapper, name, _sqlite_end(getattr(SqliteWrapper, name), text, tap))


def _sqlite_call(original: Callable[..., Any], tap: Tap) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, query: str, *args: Any) -> Any:
        try:
            tap(BEFORE, query)
            answer = original(self, query, *args)
            tap(AFTER, query)
        except AnswerLost:
            raise OperationalError("the answer to a statement was lost") from None
        return answer

    return call


def _sqlite_end(original: Callable[..., Any], text: str, tap: Tap) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any) -> Any:
        if self.connection is None:
            return original(self)
        try:
            tap(BEFORE, text)
            answer = original(self)
            tap(AFTER, text)
        except AnswerLost:
            raise OperationalError(f"the answer to {text} was lost") from None
        return answer

    return call
