"""The app: letters."""

from django.apps import AppConfig


class PostConfig(AppConfig):
    """Has no jobs of its own: letters are written in the transactions of others."""

    name = "example_project.post"
    label = "post"
    verbose_name = "Post"
    default_auto_field = "django.db.models.BigAutoField"
