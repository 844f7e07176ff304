"""One structured log line per state change, on the logger `dataqueue_django.jobs`; free while nobody listens."""

from __future__ import annotations

import logging
from typing import Any

from .domain.records import EventType

jobs = logging.getLogger("dataqueue_django.jobs")
worker = logging.getLogger("dataqueue_django.worker")


def state_change(event: EventType, *, job_id: int, job_type: str, **facts: Any) -> None:
    """Log that something happened to a job: a sentence for people, the same facts as `extra` for machines.

    Payloads, outputs and error texts are never part of it.
    """
    if not jobs.isEnabledFor(logging.INFO):
        return
    shown = "".join(f" {name}={value}" for name, value in facts.items() if value is not None)
    extra = {"event": event.value, "job_id": job_id, "job_type": job_type, **facts}
    jobs.info("job %d %r %s%s", job_id, job_type, event.value, shown, extra={"dataqueue": extra})
