"""The queue in the Django admin: lists that stay quick at millions of rows, read-only pages, actions through JobQueue.

Django's autodiscovery imports this where `django.contrib.admin` is installed, and nothing else does.
"""

from __future__ import annotations

from django.contrib import admin

from .. import models
from .controls import LimitAdmin, PauseAdmin, QueueAdmin
from .events import JobEventAdmin
from .history import JobLogAdmin, StepAdmin
from .jobs import JobAdmin
from .schedules import CronScheduleAdmin
from .side_tables import CancelRequestAdmin, DutyAdmin, JobTagAdmin, RateBucketAdmin, WorkerAdmin
from .ticks import CronTickAdmin
from .tokens import TokenAdmin

__all__ = [
    "CancelRequestAdmin",
    "CronScheduleAdmin",
    "CronTickAdmin",
    "DutyAdmin",
    "JobAdmin",
    "JobEventAdmin",
    "JobLogAdmin",
    "JobTagAdmin",
    "LimitAdmin",
    "PauseAdmin",
    "QueueAdmin",
    "RateBucketAdmin",
    "StepAdmin",
    "TokenAdmin",
    "WorkerAdmin",
    "register",
]


def register(site: admin.AdminSite) -> None:
    """Register the queue's models on `site`; the default site has them already.

    Raises Django's AlreadyRegistered when `site` shows one of them.
    """
    site.register(models.Job, JobAdmin)
    site.register(models.JobEvent, JobEventAdmin)
    site.register(models.Step, StepAdmin)
    site.register(models.JobLog, JobLogAdmin)
    site.register(models.Token, TokenAdmin)
    site.register(models.CronSchedule, CronScheduleAdmin)
    site.register(models.CronTick, CronTickAdmin)
    site.register(models.Queue, QueueAdmin)
    site.register(models.Pause, PauseAdmin)
    site.register(models.Limit, LimitAdmin)
    site.register(models.Duty, DutyAdmin)
    site.register(models.CancelRequest, CancelRequestAdmin)
    site.register(models.Worker, WorkerAdmin)
    site.register(models.JobTag, JobTagAdmin)
    site.register(models.RateBucket, RateBucketAdmin)


register(admin.site)
