"""How a handler is left in the middle: an exception that no `except Exception` catches."""

from __future__ import annotations

import asyncio


class Suspend(BaseException):
    """Raised by a wait that is not over; the handler unwinds, and its job is parked once it has."""

    def __init__(self) -> None:
        super().__init__("the handler waits; let this exception pass")


def is_suspend(error: BaseException | None) -> bool:
    """Return whether an exception that left a handler is its suspension, also as a task group passes it on."""
    if isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
        return any(map(is_suspend, inner)) and all(
            is_suspend(one) or isinstance(one, asyncio.CancelledError) for one in inner
        )
    return isinstance(error, Suspend)
