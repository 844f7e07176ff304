"""The app: refunds, and the decisions about them."""

from django.apps import AppConfig


class RefundsConfig(AppConfig):
    """The queue finds `jobs.py` by itself."""

    name = "example_project.refunds"
    label = "refunds"
    verbose_name = "Refunds"
    default_auto_field = "django.db.models.BigAutoField"
