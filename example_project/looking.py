"""What the admin shows of rows that belong to jobs: they are looked at, never changed there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class LookedAt(admin.ModelAdmin):
    """Rows that only the site and its jobs write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: the site adds them, with their jobs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what they say has happened."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a job may still come back to them."""
        return False
