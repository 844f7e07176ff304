"""Workers, their duties, requests to stop, tags and rate buckets."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import CancelRequest, Duty, JobTag, RateBucket, Worker
from . import texts
from .base import QueueModelAdmin
from .columns import line, lines
from .history import beginning
from .of_jobs import RowsOfJobs


class WorkerAdmin(QueueModelAdmin):
    """Workers that live, and those that have gone lately."""

    list_display = (
        "id", *lines(Worker, "label"), "condition", *lines(Worker, "hostname", "pid", "concurrency"), "seen", "since",
    )  # fmt: skip
    list_columns = (
        "label", "hostname", "pid", "concurrency", "lease_ms", "started_at", "last_beat_at", "stopping_at",
        "expired_at",
    )  # fmt: skip
    fields = ("condition", *lines(Worker, *list_columns, "queues", "exclude_queues", "job_types", "beat"))

    @admin.display(description=_("state"))
    def condition(self, row: Any) -> str:
        """Return whether the worker lives."""
        if row.expired_at is not None:
            return gettext("Gone")
        if (row.clock - row.last_beat_at).total_seconds() * 1000 > row.lease_ms:
            return gettext("Silent")
        return gettext("Stopping") if row.stopping_at is not None else gettext("Running")

    @admin.display(description=_("last seen"))
    def seen(self, row: Any) -> Any:
        """Return how long ago the worker gave its last sign of life."""
        return texts.ago(row.last_beat_at, row.clock)

    @admin.display(description=_("started"))
    def since(self, row: Any) -> Any:
        """Return how long ago it started."""
        return texts.ago(row.started_at, row.clock)


class DutyAdmin(QueueModelAdmin):
    """What workers do for all, once in a while."""

    list_display = ("id", "due", "done", *lines(Duty, "done_by"), "brought", "failed")
    list_columns = ("due_at", "finished_at", "done_by", "report", "error")
    ordering = ("id",)
    fields = tuple(lines(Duty, "id", "due_at", "started_at", "finished_at", "done_by", "report", "error", "state"))

    @admin.display(description=_("due"))
    def due(self, row: Any) -> Any:
        """Return when it is due."""
        return texts.ago(row.due_at, row.clock)

    @admin.display(description=_("last done"))
    def done(self, row: Any) -> Any:
        """Return how long ago it was done."""
        return texts.ago(row.finished_at, row.clock)

    @admin.display(description=_("report"))
    def brought(self, row: Any) -> str:
        """Return the beginning of what it did last."""
        return texts.NOTHING if row.report is None else beginning(json.dumps(row.report, ensure_ascii=False))

    @admin.display(description=_("error"))
    def failed(self, row: Any) -> str:
        """Return the beginning of why it failed, if it did."""
        return beginning(row.error) or texts.NOTHING


class CancelRequestAdmin(QueueModelAdmin):
    """Requests to stop that running jobs have not met yet."""

    list_display = ("id", "job", *lines(CancelRequest, "actor", "reason"), "since")
    list_columns = ("claim_seq", "created_at", "actor", "reason")
    fields = ("job", *lines(CancelRequest, "actor", "reason", "created_at", "claim_seq"))

    @admin.display(description=_("job"))
    def job(self, row: Any) -> Any:
        """Return a link to the job."""
        return format_html('<a href="{}">{}</a>', self.url("job_change", row.pk), row.pk)

    @admin.display(description=_("asked"))
    def since(self, row: Any) -> Any:
        """Return how long ago it was asked for."""
        return texts.ago(row.created_at, row.clock)


class JobTagAdmin(RowsOfJobs):
    """The index behind searches by tag."""

    list_display = ("id", *lines(JobTag, "tag"), "job")
    list_columns = ("job_id", "tag")
    fields = (*lines(JobTag, "tag"), "job")
    search_help_text = _("The id of a job. To find the jobs of a tag, search the jobs for tag:… .")


class RateBucketAdmin(QueueModelAdmin):
    """Permits left in rate buckets."""

    list_display = (
        "key", *lines(RateBucket, "tokens"), line(RateBucket, "at", title=_("counted at")),
        *lines(RateBucket, "closed_until"),
    )  # fmt: skip
    list_columns = ("tokens", "at", "closed_until")
    ordering = ("key",)
    fields = tuple(lines(RateBucket, "key", "tokens", "at", "begun", "closed_until"))
