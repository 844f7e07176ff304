"""People in the admin: only to be looked at, since each has a job that comes back to them."""

from django.contrib import admin

from example_project.looking import LookedAt

from .models import Person


@admin.register(Person)
class PersonAdmin(LookedAt):
    """People, found by name and address."""

    list_display = ["name", "email", "created_at", "unsubscribed_at"]
    search_fields = ["name", "email"]
