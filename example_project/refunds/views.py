"""The pages: asking for a refund, how it stands, and the decision by a link."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from dataqueue_django import Completion
from example_project.access import open_in_demo

from . import links
from .deciding import Standing, decide, standing
from .forms import DecisionForm, RefundForm
from .models import Refund
from .requesting import AskedBefore, request_refund
from .watching import watch

SHOWN_REFUNDS = 20
STATUS = {
    None: 200,
    Completion.COMPLETED: 200,
    Completion.ALREADY_COMPLETED: 409,
    Completion.EXPIRED: 410,
    Completion.NOT_FOUND: 404,
}
"""How the page of a link answers, by what came of it."""


@require_safe
@never_cache
@open_in_demo("refunds.view_refund")
def show_refunds(request: HttpRequest) -> HttpResponse:
    """Show the form and the latest refunds."""
    return _refunds(request, RefundForm())


@require_POST
@open_in_demo("refunds.add_refund")
def request(request: HttpRequest) -> HttpResponse:
    """Ask for a refund."""
    form = RefundForm(request.POST)
    if not form.is_valid():
        return _refunds(request, form, status=400)
    try:
        refund, is_new = request_refund(**form.cleaned_data)
    except AskedBefore as why:
        form.add_error("order", str(why))
        return _refunds(request, form, status=409)
    if not is_new:
        messages.info(request, "You asked for this before, so nothing is refunded twice. Here is how it stands.")
    return redirect(refund)


@require_safe
@never_cache
@open_in_demo("refunds.view_refund")
def show_refund(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how a refund stands and what has happened; the page reloads itself until nothing new can come."""
    watched = watch(get_object_or_404(Refund, pk=pk))
    refresh = None if "still" in request.GET else watched.refresh
    return render(request, "refunds/refund.html", {"watched": watched, "refund": watched.refund, "refresh": refresh})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def decide_by_link(request: HttpRequest, link: str) -> HttpResponse:
    """Ask whoever has the link for a decision, and take it by POST alone: programs that read mail follow links."""
    try:
        refund, approver = links.read(link)
    except links.BadLink as why:
        return _decision(request, None, status=why.status, sentence=str(why))
    stands = standing(refund)
    if request.method != "POST":
        sentence = "" if stands.obstacle is None else stands.sentence(stands.obstacle)
        return _decision(request, stands, STATUS[stands.obstacle], sentence, form=DecisionForm())
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _decision(request, stands, 400, form=form)
    completion, sentence = decide(refund, form.decided(), actor=f"{approver} (link)")
    return _decision(request, standing(refund), STATUS[completion], sentence, is_done=bool(completion))


def _refunds(request: HttpRequest, form: RefundForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "refunds": Refund.objects.all()[:SHOWN_REFUNDS]}
    return render(request, "refunds/refunds.html", context, status=status)


def _decision(
    request: HttpRequest,
    stands: Standing | None,
    status: int,
    sentence: str = "",
    form: DecisionForm | None = None,
    is_done: bool = False,
) -> HttpResponse:
    is_open = form is not None and stands is not None and stands.obstacle is None
    context = {
        "refund": stands and stands.refund,
        "token": stands and stands.token,
        "form": form if is_open else None,
        "sentence": sentence,
        "is_done": is_done,
    }
    return render(request, "refunds/decide.html", context, status=status)
