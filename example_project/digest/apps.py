"""The app: one job with a schedule. It has no tables; its page shows the schedule, its ticks and their jobs."""

from django.apps import AppConfig


class DigestConfig(AppConfig):
    """The queue finds `jobs.py` by itself, and workers store the schedule that stands there."""

    name = "example_project.digest"
    label = "digest"
    verbose_name = "Nightly digest"
