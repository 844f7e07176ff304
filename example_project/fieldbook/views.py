"""The pages: what was imported, how an import is going, and its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.contrib import messages
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from example_project.access import open_in_demo

from .forms import UploadForm
from .jobs import import_airports
from .models import Airport, Import
from .watching import watch

SHIPPED = Path(__file__).parent / "data" / "airports.csv"
SHOWN_IMPORTS = 20
SHOWN_REJECTS = 50
REFRESH_SECONDS = 1


@require_safe
@never_cache
@open_in_demo("fieldbook.view_import")
def home(request: HttpRequest) -> HttpResponse:
    """Show the ways to import and the latest imports."""
    return _home(request, UploadForm())


@require_POST
@open_in_demo("fieldbook.add_import")
def import_shipped(request: HttpRequest) -> HttpResponse:
    """Import the airports that come with the project."""
    return _start(request, SHIPPED.name, SHIPPED.read_bytes())


@require_POST
@open_in_demo("fieldbook.add_import")
def import_upload(request: HttpRequest) -> HttpResponse:
    """Import a visitor's file, or say what is wrong with it."""
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _home(request, form, status=400)
    file = form.cleaned_data["file"]
    return _start(request, file.name, file.read())


@require_safe
@never_cache
@open_in_demo("fieldbook.view_import")
def show_import(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how an import is going and what came of it; the page reloads itself until there is nothing new to come."""
    record = get_object_or_404(Import, pk=pk)
    watched = watch(record)
    rejects = list(record.rejected_rows.all()[:SHOWN_REJECTS])
    context = {
        "record": record,
        "watched": watched,
        "rejects": rejects,
        "more_rejects": max(0, watched.rejected - len(rejects)),
        "refresh": REFRESH_SECONDS if watched.is_running and "still" not in request.GET else None,
    }
    return render(request, "fieldbook/import.html", context)


@require_safe
@open_in_demo("fieldbook.view_import")
def rejects_file(request: HttpRequest, pk: int) -> FileResponse:
    """Download the rows that could not be imported."""
    record = get_object_or_404(Import, pk=pk)
    return _download(record.rejects_file, f"import-{pk}-rejects.csv")


@require_safe
@open_in_demo("fieldbook.view_import")
def report_file(request: HttpRequest, pk: int) -> FileResponse:
    """Download the report."""
    record = get_object_or_404(Import, pk=pk)
    return _download(record.report_file, f"import-{pk}-report.csv")


def _start(request: HttpRequest, name: str, data: bytes) -> HttpResponse:
    """Store the import and its job in one transaction, or find the import that these bytes had before."""
    sha256 = hashlib.sha256(data).hexdigest()
    with transaction.atomic():
        defaults = {"name": name, "file": ContentFile(data, name=f"{sha256}.csv")}
        record, _ = Import.objects.get_or_create(sha256=sha256, defaults=defaults)
        job = import_airports.using(idempotency_key=f"import {sha256}", tags=[f"import {record.pk}"]).enqueue(
            import_id=record.pk
        )
        record.job_id = job.id
        record.save(update_fields=["job_id"])
    if job.existed:
        messages.info(request, "This very file came before, so nothing is imported twice. Here is its import.")
    return redirect(record)


def _home(request: HttpRequest, form: UploadForm, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "airports": Airport.objects.count(),
        "imports": Import.objects.defer("report")[:SHOWN_IMPORTS],
    }
    return render(request, "fieldbook/home.html", context, status=status)


def _download(file: FieldFile, name: str) -> FileResponse:
    if not file:
        raise Http404("This import has no such file yet.")
    return FileResponse(file.open(), as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")
