"""Whether a handler can run in a process of its own: asked of one, not guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...conf import DEFAULT_ALIAS, settings_for
from ...exceptions import ConfigurationError, shown
from ...handlers import Handler, registry
from .child import CannotStart, ChildLost, ChildProcess
from .pool import Children


def check_isolatable(handler: Any, alias: str = DEFAULT_ALIAS) -> None:
    """Raise ConfigurationError if a handler, or a job type's, cannot run in a child process.

    A child is started for it, as a worker of `alias` would, and asked (DataQueue "testHandlerSerialization").
    """
    known = handler.handler if isinstance(getattr(handler, "handler", None), Handler) else registry.known(handler)
    for problem in problems([known], alias):
        raise ConfigurationError(problem)


def problems(handlers: Iterable[Handler], alias: str) -> Iterator[str]:
    """Return why handlers cannot run in a child process that a worker of `alias` would start; nothing if they can."""
    if not (handlers := list(handlers)):
        return
    children = Children(alias, settings_for(alias).worker, 1)
    try:
        child = children.take()
        try:
            yield from [problem for handler in handlers if (problem := _problem(child, handler))]
        finally:
            children.put_back(child)
    except (CannotStart, ChildLost) as why:
        yield f"No handler can be isolated here: {why}."
    finally:
        children.close()


def _problem(child: ChildProcess, handler: Handler) -> str | None:
    found = child.knows(handler)
    if found == handler.where:
        return None
    instead = "it finds none" if found is None else f"it finds {found}"
    return (
        f"The handler of {shown(handler.job_type)}, {handler.where}, is unknown to a child process, which imports "
        f"{handler.function.__module__!r}: {instead}. Expected a function that is registered when that is imported."
    )
