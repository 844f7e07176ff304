"""Filters that cost no more than a few steps through an index."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .searching import LONGEST, as_id
from .states import STATUSES
from .texts import visible


class StatusFilter(SimpleListFilter):
    """Jobs of one stored status."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the six statuses."""
        return [(status.value, word) for status, word in STATUSES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the jobs of the chosen status; a status that is none is Django's redirect to the plain list."""
        value = self.value()
        if value is None:
            return queryset
        if value not in STATUSES:
            raise IncorrectLookupParameters(f"no status is called {value!r}")
        return queryset.filter(status=value)


class ValueFilter(SimpleListFilter):
    """Rows with one value of an indexed column; the values come from the index."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the values there are, and the one that was asked for."""
        values = dict.fromkeys(model_admin.offered_values(request, self.column))
        chosen = self.value()
        if chosen is not None and self._can_be(chosen):
            values[chosen] = None
        return [(value, visible(value)) for value in values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the chosen value; none for what no column can hold."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(**{self.column: value}) if self._can_be(value) else queryset.none()

    @staticmethod
    def _can_be(value: str) -> bool:
        return len(value) <= LONGEST and "\0" not in value


class QueueFilter(ValueFilter):
    """Jobs of one queue."""

    title = _("queue")
    parameter_name = column = "queue"


class JobTypeFilter(ValueFilter):
    """Jobs of one type."""

    title = _("job type")
    parameter_name = column = "job_type"


class JobFilter(SimpleListFilter):
    """Rows that belong to one job. It is reached by links and offers nothing to choose but itself."""

    title = _("job")
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the job that was asked for, if any."""
        value = self.value()
        return [] if value is None else [(value, visible(value)[:20])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen job; what is no id is Django's redirect to the plain list."""
        value = self.value()
        if value is None:
            return queryset
        job_id = as_id(value)
        if job_id is None:
            raise IncorrectLookupParameters("no job has such an id")
        return queryset.filter(job_id=job_id)
