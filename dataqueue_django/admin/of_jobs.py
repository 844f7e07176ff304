"""Lists of rows that each belong to a job."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .base import QueueModelAdmin
from .filters import JobFilter
from .searching import as_id
from .texts import NOTHING


class RowsOfJobs(QueueModelAdmin):
    """Rows with a `job_id`, which is what they can be searched for."""

    list_filter = (JobFilter,)
    search_fields = ("job_id",)
    search_help_text = _("The id of a job.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows of the job whose id was typed."""
        term = search_term.strip()
        if not term:
            return queryset, False
        job_id = as_id(term)
        return (queryset.none() if job_id is None else queryset.filter(job_id=job_id)), False

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString | str:
        """Return a link to the job."""
        if row.job_id is None:
            return NOTHING
        return format_html('<a href="{}">{}</a>', self.url("job_change", row.job_id), row.job_id)
