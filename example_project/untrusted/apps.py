"""The app: jobs for what strangers send. It has no tables; the jobs themselves are what its page shows."""

from django.apps import AppConfig


class UntrustedConfig(AppConfig):
    """The queue finds `jobs.py` by itself."""

    name = "example_project.untrusted"
    label = "untrusted"
    verbose_name = "Untrusted"
