"""The queue in the Django admin: lists that stay quick at millions of rows, read-only pages, actions through JobQueue.

Django's autodiscovery imports this where `django.contrib.admin` is installed, and nothing else does.
"""

from __future__ import annotations

from django.contrib import admin

from .. import models
from .events import JobEventAdmin
from .jobs import JobAdmin
from .side_tables import JobTagAdmin, RateBucketAdmin, WorkerAdmin

__all__ = ["JobAdmin", "JobEventAdmin", "JobTagAdmin", "RateBucketAdmin", "WorkerAdmin", "register"]


def register(site: admin.AdminSite) -> None:
    """Register the queue's models on `site`; the default site has them already.

    Raises Django's AlreadyRegistered when `site` shows one of them.
    """
    site.register(models.Job, JobAdmin)
    site.register(models.JobEvent, JobEventAdmin)
    site.register(models.Worker, WorkerAdmin)
    site.register(models.JobTag, JobTagAdmin)
    site.register(models.RateBucket, RateBucketAdmin)


register(admin.site)
