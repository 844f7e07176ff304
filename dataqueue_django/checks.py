"""System checks: what would go wrong later is said at start."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from . import conf
from .exceptions import DataQueueError
from .stores import stores


@register("dataqueue")
def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report the first mistake in each alias of the DATAQUEUE setting, its store included."""
    try:
        aliases = conf.aliases()
    except DataQueueError as why:
        return [Error(str(why), id="dataqueue.E001")]
    return [Error(problem, id="dataqueue.E001") for problem in map(_problem, aliases) if problem]


def _problem(alias: str) -> str | None:
    try:
        _ = stores[alias]
    except DataQueueError as why:
        return str(why)
    return None
