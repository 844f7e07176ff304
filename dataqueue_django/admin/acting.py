"""What people may do to jobs: cancel, retry, pause, resume, delete. Each by permission, and through JobQueue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..domain.lifecycle import Operation, allowed, state_of
from ..domain.pausing import is_so_already
from ..exceptions import DataQueueError
from .states import Text, badge, record_of
from .texts import visible
from .verbs import MOST, ActsOnRows, Verb, actor_of


@dataclass(frozen=True, kw_only=True, slots=True)
class JobVerb(Verb):
    """One thing that can be done to a job."""

    operation: Operation
    asked: Text = ""
    """What is said where the job did not change yet, and was asked to."""


VERBS = {
    verb.name: verb
    for verb in (
        JobVerb(
            name="retry",
            operation=Operation.RETRY,
            title=_("Retry"),
            question=_("The job becomes ready at once, with at least one more attempt."),
            sure=_("Yes, retry it"),
            done=_("Retried."),
        ),
        JobVerb(
            name="cancel",
            operation=Operation.CANCEL_RUNNING,
            title=_("Cancel"),
            question=_(
                "The job will not run; one that runs is asked to stop. It stays in the list and can be retried."
            ),
            sure=_("Yes, cancel it"),
            done=_("Cancelled."),
            asked=_("Asked to stop."),
            is_grave=True,
        ),
        JobVerb(
            name="pause",
            operation=Operation.PAUSE,
            title=_("Pause"),
            question=_("No worker takes the job until it is resumed. What it waits for may come meanwhile."),
            sure=_("Yes, pause it"),
            done=_("Paused."),
            asks_why=True,
        ),
        JobVerb(
            name="resume",
            operation=Operation.RESUME,
            title=_("Resume"),
            question=_("The job can be taken again, from when it could have been without the pause."),
            sure=_("Yes, resume it"),
            done=_("Resumed."),
            permission="pause",
        ),
        JobVerb(
            name="delete",
            operation=Operation.DELETE,
            title=_("Delete"),
            question=_("The job, its events and its tags are deleted for good."),
            sure=_("Yes, delete it"),
            done=_("Deleted."),
            flag=DELETION,
            is_grave=True,
        ),
    )
}


class ActsOnJobs(ActsOnRows):
    """Actions of the list and buttons of the page. Hidden without permission, and refused as well."""

    verbs: ClassVar = VERBS
    actions = ("retry_selected", "cancel_selected", "pause_selected", "resume_selected")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may retry jobs."""
        return self.may(request, "retry")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel jobs."""
        return self.may(request, "cancel")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may pause and resume jobs."""
        return self.may(request, "pause")

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return whether the job's state lets it; a status that this version does not know lets nothing."""
        record, operation = record_of(row), VERBS[verb.name].operation
        if record is None or not allowed(operation, state_of(record, row.clock)):
            return False
        steers_pause = operation in (Operation.PAUSE, Operation.RESUME)
        return not (steers_pause and is_so_already(operation, record, row.clock))

    def answer(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        """Answer a request to do something to a job; what the queue refuses is said."""
        try:
            return super().answer(request, verb, row)
        except DataQueueError as why:
            self.message_user(request, visible(why), messages.ERROR)
            return HttpResponseRedirect(self.page("change", row.pk))

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """Do it through the queue; None when the job is in no state for it, or gone."""
        known = VERBS[verb.name]
        if not self._do(request, known, row.pk, request.POST.get("reason", "").strip()):
            return None
        return known.asked if self._asked(known, [row]) else known.done

    def described(self, row: Any) -> SafeString:
        """Return the line that tells which job a question is about."""
        about = (badge(row, row.clock), visible(row.job_type), _("queue"), visible(row.queue))
        return format_html("{} · {} · {} {}", *about)

    # -- the list

    @admin.action(description=_("Retry selected jobs"), permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Retry the selected jobs that are in a state for it."""
        done, _asked, skipped = self._do_to_all(request, queryset, VERBS["retry"])
        if done or skipped:
            self.say_done(request, [ngettext("%d retried", "%d retried", done) % done], skipped)

    @admin.action(description=_("Cancel selected jobs"), permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Cancel the selected jobs that are in a state for it, and ask those that run to stop."""
        done, asked, skipped = self._do_to_all(request, queryset, VERBS["cancel"])
        told = [ngettext("%d cancelled", "%d cancelled", done) % done] if done or not asked else []
        if asked:
            told.append(ngettext("%d asked to stop", "%d asked to stop", asked) % asked)
        if done or asked or skipped:
            self.say_done(request, told, skipped)

    @admin.action(description=_("Pause selected jobs"), permissions=["pause"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pause the selected jobs that are in a state for it."""
        done, _asked, skipped = self._do_to_all(request, queryset, VERBS["pause"])
        if done or skipped:
            self.say_done(request, [ngettext("%d paused", "%d paused", done) % done], skipped)

    @admin.action(description=_("Resume selected jobs"), permissions=["pause"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Let the selected jobs be taken again."""
        done, _asked, skipped = self._do_to_all(request, queryset, VERBS["resume"])
        if done or skipped:
            self.say_done(request, [ngettext("%d resumed", "%d resumed", done) % done], skipped)

    def _do_to_all(self, request: HttpRequest, queryset: QuerySet[Any], verb: JobVerb) -> tuple[int, int, int]:
        """Return how many jobs it was done to, asked of, and how many were in no state for it; zeros for too many."""
        rows = list(queryset.only("id", "job_type")[: MOST + 1])
        if len(rows) > MOST:
            self.message_user(request, too_many(verb), messages.ERROR)
            return 0, 0, 0
        changed = [row for row in rows if self._do(request, verb, row.pk)]
        asked = self._asked(verb, changed)
        for told, those in (
            (verb.done, [row for row in changed if row.pk not in asked]),
            (verb.asked, [row for row in changed if row.pk in asked]),
        ):
            if those:
                self.log(request, those, verb.flag, told)
        return len(changed) - len(asked), len(asked), len(rows) - len(changed)

    # -- doing

    def _do(self, request: HttpRequest, verb: JobVerb, job_id: int, reason: str = "") -> bool:
        """Do it through the queue; False when the job is in no state for it, or gone."""
        if verb.operation is Operation.DELETE:
            return self.queue.delete_job(job_id, strict=False)
        if verb.operation is Operation.RETRY:
            return self.queue.retry_job(job_id, actor=actor_of(request), strict=False)
        if verb.operation is Operation.PAUSE:
            return self.queue.pause_job(job_id, reason=reason, actor=actor_of(request), strict=False)
        if verb.operation is Operation.RESUME:
            return self.queue.resume_job(job_id, actor=actor_of(request), strict=False)
        return self.queue.cancel_job(job_id, abort_running=True, actor=actor_of(request), strict=False)

    def _asked(self, verb: JobVerb, rows: list[Any]) -> set[int]:
        """The ids of those of the jobs that were asked to stop, and have not stopped yet."""
        found = self.queue.get_cancel_requests([row.pk for row in rows]) if verb.asked and rows else ()
        return {request.id for request in found}


def too_many(verb: JobVerb) -> str:
    """Return why an action on very many jobs is refused, and what to use instead."""
    cancels = verb.operation is Operation.CANCEL_RUNNING
    instead = "JobQueue.cancel_all_upcoming_jobs()" if cancels else f"JobQueue.get_jobs() with {verb.name}_job()"
    return gettext(
        "More than %(most)s jobs are selected, so nothing was done. Narrow the list, or use %(instead)s in code."
    ) % {"most": f"{MOST:,}", "instead": instead}
