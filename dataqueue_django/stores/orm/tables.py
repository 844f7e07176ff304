"""Which model holds what."""

from __future__ import annotations

from django.db import models

from ... import models as own
from ...domain.records import Kind

MODELS: dict[Kind, type[models.Model]] = {
    Kind.DUTY: own.Duty,
    Kind.WORKER: own.Worker,
    Kind.TOKEN: own.Token,
    Kind.SCHEDULE: own.CronSchedule,
    Kind.QUEUE: own.Queue,
    Kind.PAUSE: own.Pause,
    Kind.LIMIT: own.Limit,
    Kind.JOB: own.Job,
    Kind.CANCEL: own.CancelRequest,
}

TABLES: tuple[type[models.Model], ...] = (
    *MODELS.values(),
    own.JobTag,
    own.JobEvent,
    own.Step,
    own.JobLog,
    own.CronTick,
    own.QueueStat,
    own.QueueGauge,
    own.ControlStamp,
    own.RateBucket,
    own.Turn,
)
"""All there are."""
