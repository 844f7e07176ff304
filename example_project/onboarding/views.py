"""The pages: signing up, what somebody gets, and unsubscribing."""

from __future__ import annotations

from django.contrib import messages
from django.core.signing import BadSignature
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from example_project.access import open_in_demo

from . import links
from .forms import SignUpForm
from .jobs import welcome
from .models import Person
from .watching import watch

SHOWN_PEOPLE = 20


@require_safe
@never_cache
@open_in_demo("onboarding.view_person")
def show_people(request: HttpRequest) -> HttpResponse:
    """Show the form and who signed up last."""
    return _people(request, SignUpForm())


@require_POST
@open_in_demo("onboarding.add_person")
def sign_up(request: HttpRequest) -> HttpResponse:
    """Store a person and the job that welcomes them in one transaction; who is known is shown again."""
    form = SignUpForm(request.POST)
    if not form.is_valid():
        return _people(request, form, status=400)
    name, email = form.cleaned_data["name"], form.cleaned_data["email"]
    with transaction.atomic():
        person, is_new = Person.objects.get_or_create(email=email, defaults={"name": name})
        if is_new:
            person.job_id = welcome.using(tags=["welcome", f"person-{person.pk}"]).enqueue(person_id=person.pk).id
            person.save(update_fields=["job_id"])
    if not is_new:
        messages.info(request, "This address has signed up before, so nobody is welcomed twice.")
    return redirect(person)


@require_safe
@never_cache
@open_in_demo("onboarding.view_person")
def show_person(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what somebody got and what comes next; the page reloads itself until nothing more comes."""
    watched = watch(get_object_or_404(Person, pk=pk))
    refresh = None if "still" in request.GET else watched.refresh
    context = {"person": watched.person, "watched": watched, "refresh": refresh}
    return render(request, "onboarding/person.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def unsubscribe(request: HttpRequest, link: str) -> HttpResponse:
    """Ask whether to unsubscribe, and do it by POST alone: programs that read mail follow links."""
    try:
        person = links.read(link)
    except BadSignature:
        sentence = "This link is not complete, or not one that we sent."
        return render(request, "onboarding/unsubscribe.html", {"problem": sentence}, status=400)
    if person is None:
        sentence = "You are not in our book any more, so nothing will be sent."
        return render(request, "onboarding/unsubscribe.html", {"problem": sentence}, status=404)
    if request.method == "POST":
        Person.objects.filter(pk=person.pk, unsubscribed_at=None).update(unsubscribed_at=timezone.now())
        person.refresh_from_db()
    return render(request, "onboarding/unsubscribe.html", {"person": person})


def _people(request: HttpRequest, form: SignUpForm, status: int = 200) -> HttpResponse:
    return render(
        request, "onboarding/people.html", {"form": form, "people": Person.objects.all()[:SHOWN_PEOPLE]}, status=status
    )
