"""The list of everything that happened, newest first."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ..models import JobEvent
from . import texts
from .columns import lines
from .of_jobs import RowsOfJobs

SUMMARY = 160
"""Characters of an event's details in a list."""


class JobEventAdmin(RowsOfJobs):
    """Events, of all jobs or of one."""

    list_display = ("id", "job", "event", "happened", "attempt", "by", "details")
    list_columns = ("job_id", "event_type", "created_at", "attempt", "worker_id", "actor", "metadata")
    fields = ("job", *lines(JobEvent, "event_type", "created_at", "claim_seq", "attempt", "worker_id", "actor",
                            "metadata"))  # fmt: skip

    @admin.display(description=_("event"))
    def event(self, row: Any) -> str:
        """Return what happened."""
        return texts.visible(row.event_type)

    @admin.display(description=_("time"))
    def happened(self, row: Any) -> Any:
        """Return when."""
        return texts.moment(row.created_at)

    @admin.display(description=_("by"))
    def by(self, row: Any) -> str:
        """Return the person or the worker that did it."""
        return author(row)

    @admin.display(description=_("details"))
    def details(self, row: Any) -> str:
        """Return the beginning of what else is known."""
        return summary(row)


def author(row: Any) -> str:
    """Return who caused an event: a person, a worker, or nobody known."""
    if row.actor:
        return texts.visible(row.actor)
    return f"worker {row.worker_id}" if row.worker_id else texts.NOTHING


def summary(row: Any) -> str:
    """Return an event's details on one line."""
    if not row.metadata:
        return ""
    if not isinstance(row.metadata, dict):
        return _cut(texts.visible(row.metadata))
    return _cut(", ".join(texts.visible(f"{key}: {_plain(value)}") for key, value in row.metadata.items()))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= SUMMARY else text[: SUMMARY - 1] + "…"
