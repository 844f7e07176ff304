"""The app: photographs, and what jobs make of them."""

from django.apps import AppConfig


class AlbumConfig(AppConfig):
    """The queue finds `jobs.py` by itself."""

    name = "example_project.album"
    label = "album"
    verbose_name = "Photo album"
    default_auto_field = "django.db.models.BigAutoField"
