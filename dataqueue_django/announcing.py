"""Telling what happened to a job, once it is committed: a log line and a Django signal. Free while nobody listens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from . import logs, signals
from .domain.changes import Change
from .domain.records import EventType

if TYPE_CHECKING:
    from .stores import Store

FACTS = {
    "willRetry": "will_retry",
    "failureReason": "failure_reason",
    "retryInMs": "retry_in_ms",
    "delayMs": "delay_ms",
    "rateLimited": "rate_limited",
    "reason": "reason",
    "crashes": "crashes",
}
"""What of an event's metadata is told, and under which name. Error texts are not: they may quote a payload."""


class Announce(Protocol):
    """Tells that something was committed."""

    def __call__(self, event: EventType, *, job_id: int, job_type: str, queue: str, **facts: Any) -> None:
        """Tell it; never raises, and does not wait for anybody who listens."""


def is_heard(event: EventType) -> bool:
    """Return whether anybody wants to know of an event; cheap enough to ask for each job."""
    return logs.is_heard() or signals.is_heard(event)


def announce(store: Store, event: EventType, *, job_id: int, job_type: str, queue: str, **facts: Any) -> None:
    """Log and signal what the caller wrote, in this thread, once the caller's transaction commits."""
    if is_heard(event):
        told = {"job_id": job_id, "job_type": job_type, "queue": queue, **facts}
        store.on_commit(partial(_tell, store.alias, event, told))


def announcer(store: Store) -> Announce:
    """Return `announce` for one store."""
    return partial(announce, store)


def facts_of(change: Change) -> dict[str, Any]:
    """Return what may be told of a change: small facts, no payload, output or error text."""
    metadata = change.metadata or {}
    return {name: metadata[key] for key, name in FACTS.items() if key in metadata}


def _tell(alias: str, event: EventType, facts: dict[str, Any]) -> None:
    logs.state_change(event, **facts)
    if signals.is_heard(event):
        signals.send(event, alias, facts)
