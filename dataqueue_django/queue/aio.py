"""Async twins: for each public method `x` of a class a coroutine method `ax`, made here and written nowhere.

Called from async code, where Django refuses to wait for a database, `x` says that `ax` was meant.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


def with_async_twins(cls: C) -> C:
    """Add to `cls` an async twin of each public method it defines itself."""
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            own = names_twin(method)
            setattr(cls, name, own)
            setattr(cls, f"a{name}", _twin(own))
    return cls


def names_twin(method: F) -> F:
    """Let a call of `method` that the database refuses, since it comes from async code, name the twin to await."""

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except SynchronousOnlyOperation:
            word = method.__name__
            raise SynchronousOnlyOperation(
                f"{word}() was called from async code; expected its twin a{word}(), awaited."
            ) from None

    return cast("F", checked)


def _twin(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function that runs `method` where the caller's other database calls run."""

    @functools.wraps(method)
    async def twin(*args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(method, thread_sensitive=True)(*args, **kwargs)

    twin.__name__ = f"a{method.__name__}"
    twin.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{twin.__name__}"
    return twin
