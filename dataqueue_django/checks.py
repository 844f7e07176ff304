"""System checks: what would go wrong later is said at start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from . import conf
from .exceptions import DataQueueError
from .stores import stores


@register("dataqueue")
def check_time_zones(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse USE_TZ = False: the queue stores moments, not local times."""
    if settings.USE_TZ:
        return []
    return [Error("dataqueue_django needs USE_TZ = True.", hint="Set USE_TZ = True.", id="dataqueue.E002")]


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
