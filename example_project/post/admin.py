"""The post in the admin: only to be looked at."""

from django.contrib import admin

from example_project.looking import LookedAt

from .models import Letter


@admin.register(Letter)
class LetterAdmin(LookedAt):
    """Letters, found by whom and what they are about."""

    list_display = ["subject", "to", "about", "created_at"]
    search_fields = ["about", "to", "subject"]
