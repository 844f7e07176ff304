"""The app: airports, and the imports that bring them."""

from django.apps import AppConfig


class FieldbookConfig(AppConfig):
    """Connects the signals; the queue finds `jobs.py` by itself."""

    name = "example_project.fieldbook"
    label = "fieldbook"
    verbose_name = "Fieldbook"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal handlers."""
        from . import signals  # noqa: F401
