"""The page: when the digest is written next, the buttons, and the digests that were written."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import user_passes_test
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dataqueue_django import JobStatus, get_queue
from example_project.access import open_in_demo
from example_project.album.storages import whole_files

from .forms import PauseForm
from .names import SCHEDULE
from .watching import find, watch

REFRESH_SECONDS = 1
HARMLESS = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""What a digest may do in a browser: be read."""


def may_pause(user: Any) -> bool:
    """Whether somebody may decide that there are no digests: staff alone, in the demo as well."""
    return bool(user.is_staff and user.has_perm("dataqueue.pause_cronschedule"))


staff_only = user_passes_test(may_pause, login_url="admin:login")


@require_safe
@never_cache
@open_in_demo("dataqueue.view_cronschedule")
def show(request: HttpRequest) -> HttpResponse:
    """Show the schedule; the page reloads itself while a digest is being written."""
    return _page(request, PauseForm())


@require_POST
@open_in_demo("dataqueue.run_cronschedule")
def run_now(request: HttpRequest) -> HttpResponse:
    """Ask for a digest of today so far, unless one has been asked for and is not written yet."""
    schedule = find()
    if schedule is None:
        messages.error(request, "There is no schedule to run yet: start a worker.")
    elif (job_id := get_queue().run_cron_job(schedule.id, actor=_actor(request))) is None:
        messages.info(request, "The last digest is not written yet, so no second one was asked for: overlap is “skip”.")
    else:
        messages.info(request, f"A digest of today so far was asked for: job {job_id}.")
    return redirect("digest:digest")


@require_POST
@staff_only
def pause(request: HttpRequest) -> HttpResponse:
    """Write no digests by night until somebody resumes it."""
    form = PauseForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    schedule = find()
    if schedule is not None and get_queue().pause_cron_job(
        schedule.id, reason=form.cleaned_data["reason"], actor=_actor(request)
    ):
        messages.info(request, "The digest is paused.")
    else:
        messages.info(request, "There was nothing to pause.")
    return redirect("digest:digest")


@require_POST
@staff_only
def resume(request: HttpRequest) -> HttpResponse:
    """Write digests again, from the next night on."""
    schedule = find()
    if schedule is not None and get_queue().resume_cron_job(schedule.id):
        messages.info(request, "The digest is written again, from the next night on.")
    else:
        messages.info(request, "There was nothing to resume.")
    return redirect("digest:digest")


@require_safe
@never_cache
@open_in_demo("dataqueue.view_cronschedule")
def document(request: HttpRequest, job_id: int) -> FileResponse:
    """Show the digest that a job has written; a later run of the same day may have replaced it."""
    job = get_queue().get_job(job_id)
    if job is None or job.job_type != SCHEDULE or job.status != JobStatus.COMPLETED:
        raise Http404("This job has written no digest.")
    name = job.output["file"]
    if not whole_files().exists(name):
        raise Http404("The file is gone.")
    return FileResponse(
        whole_files().open(name),
        content_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": HARMLESS},
    )


def _page(request: HttpRequest, form: PauseForm, status: int = 200) -> HttpResponse:
    watched = watch()
    is_moving = watched is None or watched.is_running
    context = {
        "watched": watched,
        "form": form,
        "may_pause": may_pause(request.user),
        "refresh": REFRESH_SECONDS if is_moving and status == 200 and "still" not in request.GET else None,
        "is_moving": is_moving,
    }
    return render(request, "digest/digest.html", context, status=status)


def _actor(request: HttpRequest) -> str:
    user = request.user
    return f"user {user.pk} {user.get_username()}" if user.is_authenticated else "a visitor"
