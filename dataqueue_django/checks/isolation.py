"""Checks of handlers that have to run in a child process: whether one would know them."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning, register

from ..queue import JobQueue, get_queue
from ..worker.isolation.checking import problems
from .settings import usable_aliases

HINT = "Define it in an app's jobs.py, at the top level, and keep the project's settings in a module."


@register("dataqueue")
def check_isolated_handlers_are_importable(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn of handlers in the program that was started, which a child process does not import."""
    return [
        _warning(f"The handler of {handler.job_type!r} is to be isolated, but is in the program that was started.")
        for queue in _queues()
        for handler in _isolated(queue)
        if handler.function.__module__ == "__main__"
    ]


@register("dataqueue", deploy=True)
def check_isolated_handlers_are_known(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Start a child process, if any handler needs one, and warn of those that it does not know."""
    found = [problem for queue in _queues() for problem in problems(_isolated(queue), queue.alias)]
    return [_warning(problem) for problem in dict.fromkeys(found)]


def _queues() -> list[JobQueue]:
    return [get_queue(alias) for alias in usable_aliases()]


def _isolated(queue: JobQueue) -> list[Any]:
    worker = queue.settings.worker
    return [h for h in queue.handlers if h.isolates or worker.isolates(h.options.queue or "default")]


def _warning(text: str) -> CheckMessage:
    return Warning(text, hint=HINT, id="dataqueue.W015")
