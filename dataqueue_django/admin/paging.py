"""Lists of any size: pages by key instead of by offset, and counts that stop at ten thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator  # generic for type checkers only

COUNTED = 10_000
"""How far rows are counted; beyond it a list says "10 000+"."""

AFTER, BEFORE = "after", "before"


class CappedPaginator(AnyPaginator):
    """A paginator whose `count` is at most COUNTED + 1, whatever the table holds."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or COUNTED + 1 when there are more.

        The order stays in the subquery: it makes the database walk an index, while without it a scan may have to read
        past any number of dead rows before it finds the first.
        """
        rows: Any = self.object_list
        return int(rows.values("pk")[: COUNTED + 1].count())


class KeysetChangeList(ChangeList):
    """A change list whose pages begin after, or end before, a primary key.

    `?after=5` is the page that follows row 5, `?before=5` the one that leads up to it, `?before=` the last one. The
    order is the ModelAdmin's; asking for another would be asking for a sort of the whole table.
    """

    model_admin: Any
    newer: str | None
    older: str | None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows that match, after taking out the parameters that say where the page is."""
        for name in (AFTER, BEFORE, ORDER_VAR, ALL_VAR):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        """Read one page and one row more, which says whether another follows."""
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        self.result_count = self.paginator.count
        self.result_list = self._page(request)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    @property
    def counted(self) -> str:
        """Return the number of rows that match, for people: "312", or "10 000+"."""
        return f"{min(self.result_count, COUNTED):,}".replace(",", "\u00a0") + ("+" if self.capped else "")

    @property
    def capped(self) -> bool:
        """Return whether there are more rows than were counted."""
        return self.result_count > COUNTED

    @property
    def first(self) -> str:
        """Return the address of the first page."""
        return self.get_query_string()

    @property
    def last(self) -> str:
        """Return the address of the last page."""
        return self.get_query_string({BEFORE: ""})

    def _page(self, request: HttpRequest) -> list[Any]:
        backwards = BEFORE in request.GET
        mark = request.GET.get(BEFORE if backwards else AFTER)
        rows = self.queryset.only(*self.model_admin.list_columns)
        if mark:
            rows = rows.filter(**{f"pk__{self._comparison(backwards)}": self._key(mark)})
        found = list((rows.reverse() if backwards else rows)[: self.list_per_page + 1])
        more = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        if backwards:
            found.reverse()
        self._link(found, newer=more if backwards else bool(mark), older=bool(mark) if backwards else more)
        return found

    def _comparison(self, backwards: bool) -> str:
        descending = self.model_admin.ordering[0].startswith("-")
        return "gt" if descending is backwards else "lt"

    def _key(self, mark: str) -> Any:
        """Return a primary key from the address; what cannot be one is Django's redirect to the plain list."""
        try:
            if "\0" in mark:
                raise ValueError
            return self.opts.pk.to_python(mark)
        except (ValueError, ValidationError) as why:
            raise IncorrectLookupParameters(why) from why

    def _link(self, found: list[Any], *, newer: bool, older: bool) -> None:
        self.newer = self.get_query_string({BEFORE: found[0].pk}) if found and newer else None
        self.older = self.get_query_string({AFTER: found[-1].pk}) if found and older else None
