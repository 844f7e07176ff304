"""The album in the admin: only to be looked at, since a photograph comes and goes with its files and jobs."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .models import Photo


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    """Photographs, found by title."""

    list_display = ["title", "credit", "width", "height", "bytes", "created_at"]
    search_fields = ["title", "credit"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the album's page adds, with the jobs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what is stored describes the file."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the album's page removes, with the files and the jobs."""
        return False
