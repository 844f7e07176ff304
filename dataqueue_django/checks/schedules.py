"""Checks of the schedules that the code declares."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.checks import CheckMessage, Error, register

from ..exceptions import DataQueueError
from ..queue import get_queue
from ..queue.declaring import declared
from .settings import usable_aliases


@register("dataqueue")
def check_schedules(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report a schedule that is declared wrongly: workers would store none of its alias."""
    messages: list[CheckMessage] = []
    for alias in usable_aliases():
        try:
            declared(get_queue(alias), datetime.now(UTC))
        except DataQueueError as why:
            messages.append(Error(str(why), id="dataqueue.E004"))
    return messages
