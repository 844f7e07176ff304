"""The app: `"dataqueue_django"` in INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class DataQueueConfig(AppConfig):
    """Registers checks, prepares SQLite connections and imports each app's `jobs.py`."""

    name = "dataqueue_django"
    label = "dataqueue"
    verbose_name = "Data queue"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself."""
        from . import checks, runserver  # noqa: F401
        from .stores.orm import sqlite

        sqlite.watch_connections()
        autodiscover_modules("jobs")
        runserver.start_if_wanted()
