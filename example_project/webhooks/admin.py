"""Deliveries in the admin: only to be looked at."""

from django.contrib import admin

from example_project.looking import LookedAt

from .models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(LookedAt):
    """Deliveries, found by their host."""

    list_display = ["__str__", "host", "outcome", "answer", "times_put_off", "created_at", "closed_at"]
    list_filter = ["outcome"]
    search_fields = ["host"]
