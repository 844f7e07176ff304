"""The page: a scan, a pattern, and what became of those before."""

from __future__ import annotations

import hashlib

from django.core.files.base import ContentFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from example_project.access import open_in_demo
from example_project.album.storages import whole_files

from .bombs import bomb
from .forms import PatternForm, ScanForm
from .jobs import TAG, preview_name, preview_scan, scan_name, try_pattern
from .watching import watch

REFRESH_SECONDS = 1


@require_safe
@never_cache
@open_in_demo("dataqueue.view_job")
def show(request: HttpRequest) -> HttpResponse:
    """Show the forms and the latest jobs; the page reloads itself until there is nothing new to come."""
    return _page(request, ScanForm(), PatternForm())


@require_POST
@open_in_demo("dataqueue.add_job")
def upload(request: HttpRequest) -> HttpResponse:
    """Take a visitor's scan."""
    form = ScanForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form, PatternForm(), status=400)
    return _preview(form.cleaned_data["scan"].read())


@require_POST
@open_in_demo("dataqueue.add_job")
def upload_bomb(request: HttpRequest) -> HttpResponse:
    """Take a bomb, as if a visitor had uploaded it."""
    return _preview(bomb())


@require_POST
@open_in_demo("dataqueue.add_job")
def pattern(request: HttpRequest) -> HttpResponse:
    """Try a visitor's regular expression."""
    form = PatternForm(request.POST)
    if not form.is_valid():
        return _page(request, ScanForm(), form, status=400)
    try_pattern.using(tags=[TAG]).enqueue(**form.cleaned_data)
    return redirect("untrusted:untrusted")


@require_safe
@never_cache
@open_in_demo("dataqueue.view_job")
def preview(request: HttpRequest, sha256: str) -> FileResponse:
    """Show a scan's preview."""
    name = preview_name(sha256)
    if not whole_files().exists(name):
        raise Http404("There is no such preview.")
    return FileResponse(whole_files().open(name), content_type="image/jpeg")


def _preview(data: bytes) -> HttpResponse:
    """Keep a scan under the name of its content, so the same one takes its place once, and ask for its preview."""
    sha256 = hashlib.sha256(data).hexdigest()
    whole_files().save(scan_name(sha256), ContentFile(data))
    preview_scan.using(tags=[TAG]).enqueue(sha256=sha256)
    return redirect("untrusted:untrusted")


def _page(request: HttpRequest, scan: ScanForm, pattern: PatternForm, status: int = 200) -> HttpResponse:
    watched = watch()
    context = {
        "scan": scan,
        "pattern": pattern,
        "watched": watched,
        "refresh": REFRESH_SECONDS if watched.is_running and status == 200 and "still" not in request.GET else None,
    }
    return render(request, "untrusted/untrusted.html", context, status=status)
