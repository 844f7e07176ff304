"""Django signals: one for each thing that can happen to a job, named after its event.

    from dataqueue_django.signals import job_failed

    @receiver(job_failed)
    def tell_somebody(*, job_id, job_type, will_retry, **_): ...

They are sent once the change is committed, in the process that made it, with `alias`, `job_id`, `job_type`, `queue`,
`event_type` (an EventType) and the small facts of the event, such as `attempt`; never with a payload, an output or an
error's text. The sender is the class of job records. A worker calls receivers in one thread that does nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.dispatch import Signal

from .domain.records import EventType, Job

job_added = Signal()
job_processing = Signal()
job_completed = Signal()
job_failed = Signal()
job_cancelled = Signal()
job_retried = Signal()
job_edited = Signal()
job_prolonged = Signal()
job_waiting = Signal()
job_resumed = Signal()
job_released = Signal()
job_reclaimed = Signal()
job_unblocked = Signal()
job_paused = Signal()
job_unpaused = Signal()
job_promoted = Signal()
job_snoozed = Signal()
job_cancel_requested = Signal()
job_dead_lettered = Signal()

SIGNALS: Mapping[EventType, Signal] = MappingProxyType({event: globals()[f"job_{event.value}"] for event in EventType})


def is_heard(event: EventType) -> bool:
    """Return whether anybody listens for an event; cheap enough to ask for each job."""
    return bool(SIGNALS[event].receivers)


def send(event: EventType, alias: str, facts: Mapping[str, Any]) -> None:
    """Call the receivers of an event; what they raise is logged and hurts nobody."""
    SIGNALS[event].send_robust(Job, event_type=event, alias=alias, **facts)
