"""What people may do to jobs: cancel, retry, delete. Each asks for its own permission, and goes through JobQueue."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, cast

import django
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import conf
from ..domain.lifecycle import Operation, allowed
from ..queue import JobQueue, get_queue
from .base import QueueModelAdmin
from .searching import as_id
from .states import Text, badge, state_of_row
from .texts import visible

MOST = 1_000
"""Jobs that one action takes; each is a transaction of its own, within one request."""


ACTOR_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done to a job."""

    name: str
    operation: Operation
    title: Text
    question: Text
    sure: Text
    done: Text
    flag: int = CHANGE
    asked: Text = ""
    """What is said where the job did not change yet, and was asked to."""


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "retry",
            Operation.RETRY,
            _("Retry"),
            _("The job becomes ready at once, with at least one more attempt."),
            _("Yes, retry it"),
            _("Retried."),
        ),
        Verb(
            "cancel",
            Operation.CANCEL_RUNNING,
            _("Cancel"),
            _("The job will not run; one that runs is asked to stop. It stays in the list and can be retried."),
            _("Yes, cancel it"),
            _("Cancelled."),
            asked=_("Asked to stop."),
        ),
        Verb(
            "delete",
            Operation.DELETE,
            _("Delete"),
            _("The job, its events and its tags are deleted for good."),
            _("Yes, delete it"),
            _("Deleted."),
            DELETION,
        ),
    )
}


class ActsOnJobs(QueueModelAdmin):
    """Actions of the list and buttons of the page. Hidden without permission, and refused as well."""

    actions = ("retry_selected", "cancel_selected")
    action_limit = MOST

    @property
    def queue(self) -> JobQueue:
        """The queue whose jobs are shown."""
        return get_queue(conf.home_alias())

    # -- permissions

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may retry jobs."""
        return self._may(request, "retry")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel jobs."""
        return self._may(request, "cancel")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may delete jobs."""
        return self._may(request, "delete")

    def _may(self, request: HttpRequest, verb: str) -> bool:
        """Whether the user may do this; what one may not see one may not touch."""
        return self.has_view_permission(request) and request.user.has_perm(f"{self.opts.app_label}.{verb}_job")

    # -- the list

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> Any:
        """Return the actions; deleting what is selected would go past the queue, so it is none of them.

        Django passes the location by name from 6.1 on.
        """
        where = {} if action_location is None else {"action_location": action_location}
        found = super().get_actions(request, **where)
        return {name: action for name, action in found.items() if name != "delete_selected"}

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Carry out an action on what is selected; what cannot be an id is not selected."""
        post = request.POST.copy()
        selected = post.getlist(ACTION_CHECKBOX_NAME)
        post.setlist(ACTION_CHECKBOX_NAME, [one for one in selected if as_id(one) is not None])
        request.POST = post  # type: ignore[assignment]
        return super().response_action(request, *args, **kwargs)

    @admin.action(description=_("Retry selected jobs"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Retry the selected jobs that are in a state for it."""
        done, _asked, skipped = self._do_to_all(request, queryset, VERBS["retry"])
        if done or skipped:
            self._tell(request, [ngettext("%d retried", "%d retried", done) % done], skipped)

    @admin.action(description=_("Cancel selected jobs"), permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Cancel the selected jobs that are in a state for it, and ask those that run to stop."""
        done, asked, skipped = self._do_to_all(request, queryset, VERBS["cancel"])
        told = [ngettext("%d cancelled", "%d cancelled", done) % done] if done or not asked else []
        if asked:
            told.append(ngettext("%d asked to stop", "%d asked to stop", asked) % asked)
        if done or asked or skipped:
            self._tell(request, told, skipped)

    def _do_to_all(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> tuple[int, int, int]:
        """Return how many jobs it was done to, asked of, and how many were in no state for it; zeros for too many."""
        rows = list(queryset.only("id", "job_type")[: MOST + 1])
        if len(rows) > MOST:
            self.message_user(request, too_many(verb), messages.ERROR)
            return 0, 0, 0
        changed = [row for row in rows if self._do(request, verb, row.pk)]
        asked = self._asked(verb, changed)
        self._log(request, changed, verb, asked)
        return len(changed) - len(asked), len(asked), len(rows) - len(changed)

    def _tell(self, request: HttpRequest, told: list[str], skipped: int) -> None:
        done = ", ".join(told)
        if not skipped:
            self.message_user(request, f"{done}.", messages.SUCCESS)
            return
        text = gettext("%(done)s, %(skipped)d skipped: not in a state for it.") % {"done": done, "skipped": skipped}
        self.message_user(request, text, messages.WARNING)

    # -- one job

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of a verb on one job."""
        do = path(
            "<path:object_id>/do/<slug:verb>/",
            self.admin_site.admin_view(self.act_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_action",
        )
        return [do, *super().get_urls()]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Delete one job through the queue, after asking."""
        return self.act_view(request, object_id, "delete")

    def act_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Ask whether to do something to a job; do it when that was answered by POST."""
        if verb not in VERBS:
            raise Http404
        if not self._may(request, verb):
            raise PermissionDenied
        job_id = as_id(unquote(object_id))
        row = None if job_id is None else self.get_object(request, str(job_id))
        if row is None:
            return self._gone(request)
        if request.method == "POST":
            return self._act(request, VERBS[verb], row)
        return self._ask(request, VERBS[verb], row)

    def open_verbs(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """Return what this user may do to this job in its state."""
        return [
            {"title": verb.title, "url": self.url("job_action", row.pk, verb.name)}
            for verb in VERBS.values()
            if _fits(verb, row) and self._may(request, verb.name)
        ]

    def _ask(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("%(verb)s job %(id)d?") % {"verb": verb.title, "id": row.pk},
            "verb": verb,
            "job_type": visible(row.job_type),
            "queue": visible(row.queue),
            "state": badge(row, row.clock),
            "possible": _fits(verb, row),
            "opts": self.opts,
            "name": str(row),
            "listed_crumbs": django.VERSION >= (6, 1),
            "media": self.media,
            "list": self.url("job_changelist"),
            "back": self.url("job_change", row.pk),
        }
        return TemplateResponse(request, "admin/dataqueue/job/act.html", context)

    def _act(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        if _fits(verb, row) and self._do(request, verb, row.pk):
            asked = self._asked(verb, [row])
            self._log(request, [row], verb, asked)
            told = verb.asked if asked else verb.done
            done = gettext("Job %(id)d: %(done)s") % {"id": row.pk, "done": str(told).lower()}
            self.message_user(request, done, messages.SUCCESS)
            gone = verb.operation is Operation.DELETE
            return HttpResponseRedirect(self.url("job_changelist") if gone else self.url("job_change", row.pk))
        refused = gettext("Job %(id)d is not in a state for it; nothing was changed.") % {"id": row.pk}
        self.message_user(request, refused, messages.WARNING)
        return HttpResponseRedirect(self.url("job_change", row.pk))

    def _gone(self, request: HttpRequest) -> HttpResponse:
        self.message_user(request, gettext("This job does not exist any more."), messages.WARNING)
        return HttpResponseRedirect(self.url("job_changelist"))

    # -- doing

    def _do(self, request: HttpRequest, verb: Verb, job_id: int) -> bool:
        """Do it through the queue; False when the job is in no state for it, or gone."""
        if verb.operation is Operation.DELETE:
            return self.queue.delete_job(job_id, strict=False)
        if verb.operation is Operation.RETRY:
            return self.queue.retry_job(job_id, actor=actor_of(request), strict=False)
        return self.queue.cancel_job(job_id, abort_running=True, actor=actor_of(request), strict=False)

    def _asked(self, verb: Verb, rows: list[Any]) -> set[int]:
        """The ids of those of the jobs that were asked to stop, and have not stopped yet."""
        found = self.queue.get_cancel_requests([row.pk for row in rows]) if verb.asked and rows else ()
        return {request.id for request in found}

    def _log(self, request: HttpRequest, rows: Iterable[Any], verb: Verb, asked: Collection[int]) -> None:
        """Write the admin's own log, beside the jobs' events."""
        for told, those in (
            (verb.done, [row for row in rows if row.pk not in asked]),
            (verb.asked, [row for row in rows if row.pk in asked]),
        ):
            if those:
                LogEntry.objects.log_actions(
                    user_id=cast(int, request.user.pk),
                    queryset=cast("QuerySet[Any]", those),
                    action_flag=verb.flag,
                    change_message=str(told),
                )


def _fits(verb: Verb, row: Any) -> bool:
    """Return whether the job's state lets it; a status that this version does not know lets nothing."""
    state = state_of_row(row, row.clock)
    return state is not None and allowed(verb.operation, state)


def actor_of(request: HttpRequest) -> str:
    """Return who asks, as events keep it: the user's key, which never changes, and name."""
    return f"user {request.user.pk} {request.user.get_username()}"[:ACTOR_LENGTH]


def too_many(verb: Verb) -> str:
    """Return why an action on very many jobs is refused, and what to use instead."""
    cancels = verb.operation is Operation.CANCEL_RUNNING
    instead = "JobQueue.cancel_all_upcoming_jobs()" if cancels else "JobQueue.get_jobs() with retry_job()"
    return gettext(
        "More than %(most)s jobs are selected, so nothing was done. Narrow the list, or use %(instead)s in code."
    ) % {"most": f"{MOST:,}", "instead": instead}
