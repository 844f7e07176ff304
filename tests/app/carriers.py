"""What the tests carry with their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from dataqueue_django import Carrier

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class RequestId(Carrier):
    """Carries the id of the request that adds a job."""

    name = "request"

    def capture(self, job: Any) -> Any:
        """Return it, if there is one."""
        return request_id.get()

    @contextmanager
    def restore(self, carried: Any, job: Any) -> Iterator[None]:
        """Set it for the handler."""
        token = request_id.set(carried)
        try:
            yield
        finally:
            request_id.reset(token)


class Picky(Carrier):
    """Cannot be captured, restored or left, as its `refuses` says; remembers what passed through."""

    name = "picky"
    refuses: str = ""
    seen: list[BaseException | None] = []

    def capture(self, job: Any) -> Any:
        """Refuse, or carry nothing."""
        if self.refuses == "capture":
            raise LookupError("no tenant")
        return {"size": "x" * 9000} if self.refuses == "size" else object() if self.refuses == "json" else None

    @contextmanager
    def restore(self, carried: Any, job: Any) -> Iterator[None]:
        """Refuse to begin, or to end; or swallow what the handler raised."""
        if self.refuses == "enter":
            raise LookupError("no such tenant")
        try:
            yield
            self.seen.append(None)
        except BaseException as error:
            self.seen.append(error)
            if self.refuses != "swallow":
                raise
        if self.refuses == "leave":
            raise LookupError("cannot end")


class Nameless(Carrier):
    """Has no name."""


class Twin(RequestId):
    """Has the name of another."""
