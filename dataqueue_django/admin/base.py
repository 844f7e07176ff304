"""What all lists and pages of the queue have in common: read from the queue's database, nothing to edit, cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import ShowFacets
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse

from .. import conf
from .choices import values_of
from .paging import CappedPaginator, KeysetChangeList

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin  # generic for type checkers only

SHOW = "show"
"""The parameter of a page that names what is to be shown uncut."""


class QueueModelAdmin(AnyModelAdmin):
    """A list paged by key and pages to look at. Rows come from the database of the default queue, with its clock.

    Subclasses say `list_columns`, the only columns that lists load, and `offered`, those whose values filters offer.
    """

    list_columns: Sequence[str] = ()
    offered: Sequence[str] = ()
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    paginator = CappedPaginator
    ordering = ("-id",)

    class Media:
        css = {"all": ["dataqueue/admin.css"]}

    @property
    def database(self) -> str:
        """The database whose rows are shown."""
        return conf.home_database()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows, each with the time at which the database read it as `clock`."""
        rows: QuerySet[Any] = super().get_queryset(request).using(self.database)
        found: QuerySet[Any] = rows.annotate(clock=Now())
        return found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return one row with what its page is to show uncut, or None."""
        row = super().get_object(request, object_id, from_field) if "\0" not in object_id else None
        if row is not None:
            row.uncut = frozenset(request.GET.getlist(SHOW))
        return row

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Return the class that pages by key."""
        return KeysetChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow what the filters understand; any other condition could read the whole table."""
        filters: Sequence[Any] = self.list_filter
        return any(lookup == one.parameter_name for one in filters)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: rows are made by code."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a row written behind the queue's back would lie about the job."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def offered_values(self, request: HttpRequest, column: str) -> list[str]:
        """Return the values of one of the `offered` columns; all of them are read once per request."""
        found: dict[str, list[str]] | None = getattr(request, "_dataqueue_offered", None)
        if found is None:
            found = values_of(self.model, self.database, self.offered)
            request._dataqueue_offered = found  # type: ignore[attr-defined]
        return found[column]

    def url(self, page: str, *args: Any) -> str:
        """Return the address of a page on the site that this admin belongs to, such as `url("job_change", 5)`."""
        return reverse(f"admin:{self.opts.app_label}_{page}", args=args, current_app=self.admin_site.name)
