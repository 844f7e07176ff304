"""Tokens: what handlers wait for until somebody completes it. They are looked at here, and completed by code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..domain.records import Token as Record
from ..domain.records import TokenStatus
from ..domain.tokens import is_over
from ..models import Job, Token
from . import texts
from .columns import lines
from .of_jobs import RowsOfJobs
from .searching import LONGEST, as_id
from .states import Text

WAITING_SHOWN = 20
"""Jobs that wait for a token, on its page."""

STATUSES: Mapping[TokenStatus, Text] = {
    TokenStatus.WAITING: _("Waiting"),
    TokenStatus.COMPLETED: _("Completed"),
    TokenStatus.TIMED_OUT: _("Timed out"),
}


class TokenAdmin(RowsOfJobs):
    """Tokens and what became of them, in the order of their ids, which is the only one with an index."""

    list_display = (*lines(Token, "id"), "condition", "job", "created", "ends", *lines(Token, "completed_by"))
    list_columns = ("job_id", "status", "created_at", "timeout_at", "completed_at", "completed_by")
    ordering = ("id",)
    fields = (
        *lines(Token, "id"), "condition", "job", "waiting",
        *lines(Token, "created_at", "timeout_at", "completed_at", "completed_by", "tags", "output", "answer_schema"),
    )  # fmt: skip
    search_fields = ("id",)
    search_help_text = _("The id of a token, or of the job whose handler made it.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the token whose id was typed, or those of a job."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if len(term) > LONGEST or "\0" in term:
            return queryset.none(), False
        job_id = as_id(term)
        return (queryset.filter(pk=term) if job_id is None else queryset.filter(job_id=job_id)), False

    @admin.display(description=_("state"))
    def condition(self, row: Any) -> str:
        """Return what became of it."""
        return condition(row)

    @admin.display(description=_("created"))
    def created(self, row: Any) -> SafeString | str:
        """Return how long ago it was made."""
        return texts.ago(row.created_at, row.clock)

    @admin.display(description=_("times out"))
    def ends(self, row: Any) -> SafeString | str:
        """Return when its time is up."""
        return texts.ago(row.timeout_at, row.clock)

    @admin.display(description=_("jobs that wait for it"))
    def waiting(self, row: Any) -> SafeString | str:
        """Return links to the first of them."""
        jobs = Job.objects.using(self.database).filter(wait_token_id=row.pk).order_by("id")
        ids = list(jobs.values_list("id", flat=True)[: WAITING_SHOWN + 1])
        links = format_html_join(
            ", ", '<a href="{}">{}</a>', ((self.url("job_change", id), id) for id in ids[:WAITING_SHOWN])
        )
        return (links + ", …" if len(ids) > WAITING_SHOWN else links) or texts.NOTHING


def condition(row: Any) -> str:
    """Return in a word what became of a token; one of a status that this version does not know says that status."""
    if row.status not in STATUSES:
        return texts.visible(row.status)
    token = Record(id=row.pk, status=TokenStatus(row.status), timeout_at=row.timeout_at)
    return gettext("Time is up") if is_over(token, row.clock) else str(STATUSES[token.status])


def key_of(token_id: str) -> str:
    """Return how the address of a token's page names it."""
    return quote(token_id)
