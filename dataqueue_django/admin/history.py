"""What handlers have left: the steps that they are replayed by, and the lines that they logged."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Substr
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import JobLog, Step
from . import texts
from .columns import lines
from .of_jobs import RowsOfJobs

SUMMARY = 160
"""Characters of a result or a line in a list."""


def with_beginnings(steps: QuerySet[Any]) -> QuerySet[Any]:
    """Return the steps with the first characters of each result as `beginning`: a whole one may have a mebibyte."""
    found: QuerySet[Any] = steps.annotate(beginning=Substr(Cast("result", TextField()), 1, SUMMARY + 1))
    return found.defer("result")


def beginning(text: str | None) -> str:
    """Return the first characters of a text, with a sign where there are more."""
    shown = texts.visible(text or "")
    return shown if len(shown) <= SUMMARY else shown[: SUMMARY - 1] + "…"


class StepAdmin(RowsOfJobs):
    """What is recorded of handlers: their steps, waits, tokens and the jobs that they spawned."""

    list_display = ("id", "job", *lines(Step, "kind", "name"), "recorded", "attempt", "brought")
    list_columns = ("job_id", "kind", "name", "created_at", "attempt")
    fields = ("job", *lines(Step, "kind", "name", "created_at", "until", "claim_seq", "attempt", "result"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, of each result the beginning; the page of one loads the rest."""
        return with_beginnings(super().get_queryset(request))

    @admin.display(description=_("recorded"))
    def recorded(self, row: Any) -> SafeString | str:
        """Return when."""
        return texts.moment(row.created_at)

    @admin.display(description=_("result"))
    def brought(self, row: Any) -> str:
        """Return the beginning of the result."""
        return beginning(row.beginning)


class JobLogAdmin(RowsOfJobs):
    """The lines that handlers logged."""

    list_display = ("id", "job", "written", *lines(JobLog, "level", "logger"), "attempt", "said")
    list_columns = ("job_id", "created_at", "level", "logger", "attempt", "message")
    fields = ("job", *lines(JobLog, "created_at", "level", "logger", "claim_seq", "attempt", "message"))

    @admin.display(description=_("time"))
    def written(self, row: Any) -> SafeString | str:
        """Return when."""
        return texts.moment(row.created_at)

    @admin.display(description=_("message"))
    def said(self, row: Any) -> str:
        """Return the beginning of the line."""
        return beginning(row.message)
