"""System checks: what would go wrong later is said at start."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from . import conf


@register("dataqueue")
def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report every mistake in the DATAQUEUE setting."""
    return [Error(problem, id="dataqueue.E001") for problem in conf.check()]
