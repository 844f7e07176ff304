"""The app: deliveries of events to other sites, and a receiver for the demo."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """The queue finds `jobs.py` by itself."""

    name = "example_project.webhooks"
    label = "webhooks"
    verbose_name = "Webhooks"
    default_auto_field = "django.db.models.BigAutoField"
