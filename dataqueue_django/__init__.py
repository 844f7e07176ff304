"""Durable background jobs for Django on the database a project already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_HOMES = {
    "AsyncJobContext": "worker.context",
    "Backoff": "domain.retry",
    "Carrier": "carrying",
    "Completion": "domain.tokens",
    "EventType": "domain.records",
    "FailureReason": "domain.records",
    "GiveUp": "exceptions",
    "GroupFull": "exceptions",
    "InvalidControl": "exceptions",
    "Job": "domain.records",
    "JobContext": "worker.context",
    "JobEvent": "domain.records",
    "JobQueue": "queue",
    "JobStatus": "domain.records",
    "Processor": "worker.processor",
    "RateLimited": "exceptions",
    "RetryLater": "exceptions",
    "Snooze": "exceptions",
    "Step": "domain.records",
    "StepKind": "domain.records",
    "Token": "domain.records",
    "TokenResult": "worker.history",
    "TokenStatus": "domain.records",
    "check_isolatable": "worker.isolation.checking",
    "get_queue": "queue",
    "job": "queue",
}

__all__ = [*sorted(_HOMES), "__version__"]

if TYPE_CHECKING:  # "as" makes a name public for type checkers
    from .carrying import Carrier as Carrier
    from .domain.records import EventType as EventType
    from .domain.records import FailureReason as FailureReason
    from .domain.records import Job as Job
    from .domain.records import JobEvent as JobEvent
    from .domain.records import JobStatus as JobStatus
    from .domain.records import Step as Step
    from .domain.records import StepKind as StepKind
    from .domain.records import Token as Token
    from .domain.records import TokenStatus as TokenStatus
    from .domain.retry import Backoff as Backoff
    from .domain.tokens import Completion as Completion
    from .exceptions import GiveUp as GiveUp
    from .exceptions import GroupFull as GroupFull
    from .exceptions import InvalidControl as InvalidControl
    from .exceptions import RateLimited as RateLimited
    from .exceptions import RetryLater as RetryLater
    from .exceptions import Snooze as Snooze
    from .queue import JobQueue as JobQueue
    from .queue import get_queue as get_queue
    from .queue import job as job
    from .worker.context import AsyncJobContext as AsyncJobContext
    from .worker.context import JobContext as JobContext
    from .worker.history import TokenResult as TokenResult
    from .worker.isolation.checking import check_isolatable as check_isolatable
    from .worker.processor import Processor as Processor


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: settings modules may import this package before apps are ready."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
