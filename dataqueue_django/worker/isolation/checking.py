"""Whether a handler can run in a process of its own: asked of one, not guessed."""

from __future__ import annotations

from typing import Any

from ...conf import DEFAULT_ALIAS, settings_for
from ...exceptions import ConfigurationError, shown
from ...handlers import Handler, registry
from .child import CannotStart, ChildLost
from .pool import Children


def check_isolatable(handler: Any, alias: str = DEFAULT_ALIAS) -> None:
    """Raise ConfigurationError if a handler, or a job type's, cannot run in a child process.

    A child is started for it, as a worker of `alias` would, and asked (DataQueue "testHandlerSerialization").
    """
    known = handler.handler if isinstance(getattr(handler, "handler", None), Handler) else registry.known(handler)
    children = Children(alias, settings_for(alias).worker, 1)
    try:
        found = children.take().knows(known)
    except (CannotStart, ChildLost) as why:
        raise ConfigurationError(f"No handler can be isolated here: {why}.") from None
    finally:
        children.close()
    if found != known.where:
        instead = "it finds none" if found is None else f"it finds {found}"
        raise ConfigurationError(
            f"The handler of {shown(known.job_type)}, {known.where}, is unknown to a child process, which imports "
            f"{known.function.__module__!r}: {instead}. Expected a function that is registered when that is imported."
        )
