"""The page: what is to be sent, and what became of it by host."""

from __future__ import annotations

import json

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from example_project.access import open_in_demo

from .forms import SendForm
from .jobs import send
from .watching import watch

REFRESH_SECONDS = 1


@require_safe
@never_cache
@open_in_demo("webhooks.view_delivery")
def show(request: HttpRequest) -> HttpResponse:
    """Show the form and the latest deliveries; the page reloads itself until there is nothing new to come."""
    return _page(request, SendForm())


@require_POST
@open_in_demo("webhooks.add_delivery")
def send_events(request: HttpRequest) -> HttpResponse:
    """Have some events delivered."""
    form = SendForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    at = timezone.now().isoformat(timespec="milliseconds")
    events = range(1, form.cleaned_data["events"] + 1)
    bodies = [json.dumps({"event": "airport.changed", "number": number, "at": at}) for number in events]
    made = send(form.cleaned_data["url"], bodies)
    messages.info(request, f"{len(made)} events are on their way to {made[0].host}.")
    return redirect("webhooks:webhooks")


def _page(request: HttpRequest, form: SendForm, status: int = 200) -> HttpResponse:
    watched = watch()
    context = {
        "form": form,
        "receivers": settings.WEBHOOK_RECEIVERS,
        "watched": watched,
        "refresh": REFRESH_SECONDS if watched.is_running and status == 200 and "still" not in request.GET else None,
    }
    return render(request, "webhooks/webhooks.html", context, status=status)
