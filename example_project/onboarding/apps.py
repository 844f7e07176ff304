"""The app: people, and the letters that welcome them."""

from django.apps import AppConfig


class OnboardingConfig(AppConfig):
    """The queue finds `jobs.py` by itself."""

    name = "example_project.onboarding"
    label = "onboarding"
    verbose_name = "Welcome"
    default_auto_field = "django.db.models.BigAutoField"
