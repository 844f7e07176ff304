"""The book in the admin: airports can be corrected, imports only be looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Airport, Import


@admin.register(Airport)
class AirportAdmin(admin.ModelAdmin):
    """Airports, found by code, name or city."""

    list_display = ["iata", "name", "city", "state"]
    list_filter = ["state"]
    search_fields = ["iata", "name", "city"]
    raw_id_fields = ["source"]


@admin.register(Import)
class ImportAdmin(admin.ModelAdmin):
    """Imports: made by the site and its jobs, so nothing can be changed here."""

    list_display = ["name", "state", "rows", "created_at", "finished_at"]
    list_filter = ["state"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: an import begins with its job."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: its state belongs to its jobs."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the key of its job would keep the file from being imported again."""
        return False
