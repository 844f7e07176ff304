"""Filters that cost no more than a few steps through an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..domain.records import ScheduleStatus
from .searching import LONGEST, as_id
from .states import STATUSES
from .texts import visible


class ChoiceFilter(SimpleListFilter):
    """Rows of a few kinds, each with its condition; a kind that is none is Django's redirect to the plain list."""

    choices_of: ClassVar[Mapping[str, tuple[Any, Q]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the kinds."""
        return [(kind, words) for kind, (words, _condition) in self.choices_of.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen kind."""
        value = self.value()
        if value is None:
            return queryset
        if value not in self.choices_of:
            raise IncorrectLookupParameters(f"{value!r} is none of them")
        return queryset.filter(self.choices_of[value][1])


class StatusFilter(ChoiceFilter):
    """Jobs of one stored status."""

    title = _("status")
    parameter_name = "status"
    choices_of: ClassVar = {status.value: (word, Q(status=status)) for status, word in STATUSES.items()}


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


class OwnerFilter(SimpleListFilter):
    """Rows that belong to one row of another table. It is reached by links and offers nothing to choose but itself."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the one that was asked for, if any."""
        value = self.value()
        return [] if value is None else [(value, visible(value)[:20])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen one; what is no id is Django's redirect to the plain list."""
        value = self.value()
        if value is None:
            return queryset
        owner_id = as_id(value)
        if owner_id is None:
            raise IncorrectLookupParameters(f"no {self.parameter_name} has such an id")
        return queryset.filter(**{self.column: owner_id})


class JobFilter(OwnerFilter):
    """Rows that belong to one job."""

    title = _("job")
    parameter_name = "job"
    column = "job_id"


class ScheduleFilter(OwnerFilter):
    """Rows that belong to one schedule."""

    title = _("schedule")
    parameter_name = "schedule"
    column = "schedule_id"


class SchedulePlaceFilter(ChoiceFilter):
    """Schedules that stand in code, or were stored by people."""

    title = _("where it stands")
    parameter_name = "place"
    choices_of: ClassVar = {"code": (_("In code"), Q(declared=True)), "stored": (_("Stored"), Q(declared=False))}


class ScheduleStatusFilter(ChoiceFilter):
    """Schedules of one stored status."""

    title = _("status")
    parameter_name = "status"
    choices_of: ClassVar = {
        "active": (_("Active"), Q(status=ScheduleStatus.ACTIVE)),
        "paused": (_("Paused"), Q(status=ScheduleStatus.PAUSED)),
    }
