"""Durable background jobs for Django on the database a project already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "Backoff": "domain.retry",
    "EventType": "domain.records",
    "FailureReason": "domain.records",
    "GiveUp": "exceptions",
    "Job": "domain.records",
    "JobContext": "worker.context",
    "JobEvent": "domain.records",
    "JobQueue": "queue",
    "JobStatus": "domain.records",
    "Processor": "worker.processor",
    "RetryLater": "exceptions",
    "Snooze": "exceptions",
    "get_queue": "queue",
    "job": "queue",
}

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:
    from .domain.records import EventType, FailureReason, Job, JobEvent, JobStatus
    from .domain.retry import Backoff
    from .exceptions import GiveUp, RetryLater, Snooze
    from .queue import JobQueue, get_queue, job
    from .worker.context import JobContext
    from .worker.processor import Processor


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: settings modules may import this package before apps are ready."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
