"""Jobs: the list, and the page of one job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..domain.lifecycle import State
from ..models import Job, JobEvent, JobLog, Step, Token
from . import searching, texts
from .acting import ActsOnJobs
from .columns import Shown, filled, lines
from .events import author, summary
from .filters import JobTypeFilter, QueueFilter, StatusFilter
from .history import beginning, with_beginnings
from .states import badge, state_of_row
from .tokens import condition, key_of

SHOWN = 50
"""Events, steps and lines on the page of a job: the newest."""

WHEN = ("run_at", "ready_at", "created_at", "started_at", "last_started_at", "last_failed_at", "last_retried_at",
        "last_cancelled_at", "finished_at", "updated_at", "wait_until", "expires_at",
        "cancel_requested_at", "dead_lettered_at", "scheduled_for")  # fmt: skip
PAUSE = ("paused_at", "paused_by", "pause_reason", "paused_until")
RULES = ("max_attempts", "retry_delay_ms", "retry_backoff", "retry_delay_max_ms", "timeout_ms", "isolate",
         "dead_letter_job_type", "dead_letter_job_id")  # fmt: skip
INSIDE = ("claim_seq", "worker_id", "locked_by", "locked_at", "crash_count", "retried_count", "resuming", "position",
          "lifo", "dedup_key", "dedup_until", "parent_id", "open_dependencies", "wait_token_id",
          "pending_reason", "context")  # fmt: skip


HISTORIES = {
    "step": (_("Steps"), _("All steps"), _("All steps, there are more")),
    "joblog": (_("Log"), _("All lines"), _("All lines, there are more")),
    "jobevent": (_("Last events"), _("All events"), _("All events, there are more")),
}


class JobAdmin(ActsOnJobs):
    """The list of jobs and the page of one; nothing is edited, what changes a job goes through JobQueue."""

    list_display = ("id", "state", *lines(Job, "job_type", "queue"), "tries", "priority", "created", "ended", "holder")
    list_display_links = ("id",)
    list_columns = (
        "job_type", "queue", "status", "priority", "run_at", "ready_at", "created_at", "attempts", "max_attempts",
        "locked_by", "finished_at", "paused_at", "paused_until", "open_dependencies", "wait_until", "wait_token_id",
    )  # fmt: skip
    list_filter = (StatusFilter, QueueFilter, JobTypeFilter)
    offered = ("queue", "job_type")
    search_fields = ("id",)
    search_help_text = searching.HELP

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the jobs that fit what was typed; see `searching`."""
        return searching.find(queryset, search_term, lambda: self.offered_values(request, "job_type")), False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what the page shows: what matters always, the rest where there is something to show."""
        row = obj
        main: list[str | Shown] = ["state", *lines(Job, "job_type", "queue"), "tries", "labels"]
        if state_of_row(row, row.clock) is State.WAITING and (row.wait_token_id or row.wait_until):
            main.append("awaits")
        if row.cron_schedule_id:
            main.append("schedule")
        more = filled(row, lines(Job, "group_id", "idempotency_key", "failure_reason", "progress", "progress_message"))
        parts: list[tuple[Any, Sequence[str | Shown]]] = [
            (None, [*main, *more]),
            (_("Pause"), filled(row, lines(Job, *PAUSE))),
            (_("Data"), [*lines(Job, "payload"), *filled(row, lines(Job, "output", "progress_data"))]),
            (_("Errors"), ["errors"] if row.error_history else []),
            (_("Times"), filled(row, lines(Job, *WHEN))),
        ]
        folded = {"classes": ["collapse"]}
        return [
            *((title, {"fields": fields}) for title, fields in parts if fields),
            (_("Rules"), {"fields": ["priority", *filled(row, lines(Job, *RULES))], **folded}),
            (_("Inside"), {"fields": filled(row, lines(Job, *INSIDE)), **folded}),
        ]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Show a job: why it is where it is, what may be done to it, its fields, its history, log and last events."""
        known = state_of_row(obj, obj.clock) is not None
        explanation = self.queue.explain_job(obj.pk) if known else None
        context |= {
            "explanation": texts.visible(explanation.text) if explanation else "",
            "verbs": self.open_verbs(request, obj),
            "histories": [self._steps(obj.pk), self._lines(obj.pk), self._events(obj.pk)],
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _events(self, job_id: int) -> dict[str, Any]:
        found = self._newest(JobEvent.objects, job_id)
        heads = (_("Time"), _("Event"), _("Attempt"), _("By"), _("Details"))
        cells = [
            (texts.moment(row.created_at), texts.visible(row.event_type), row.attempt, author(row), summary(row))
            for row in found
        ]
        return self._history("jobevent", job_id, heads, cells)

    def _steps(self, job_id: int) -> dict[str, Any]:
        found = self._newest(with_beginnings(Step.objects.all()), job_id)
        heads = (_("Time"), _("Kind"), _("Name or place"), _("Attempt"), _("Result"))
        cells = [
            (texts.moment(row.created_at), texts.visible(row.kind), texts.visible(row.name), row.attempt,
             beginning(row.beginning))
            for row in found
        ]  # fmt: skip
        return self._history("step", job_id, heads, cells)

    def _lines(self, job_id: int) -> dict[str, Any]:
        found = self._newest(JobLog.objects, job_id)
        heads = (_("Time"), _("Level"), _("Logger"), _("Attempt"), _("Message"))
        cells = [
            (texts.moment(row.created_at), texts.visible(row.level), texts.visible(row.logger), row.attempt,
             texts.visible(row.message))
            for row in found
        ]  # fmt: skip
        return self._history("joblog", job_id, heads, cells)

    def _newest(self, rows: Any, job_id: int) -> list[Any]:
        """The newest rows of a job, the newest first, and one more than is shown."""
        return list(rows.using(self.database).filter(job_id=job_id).order_by("-id")[: SHOWN + 1])

    def _history(self, name: str, job_id: int, heads: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
        """What the page says of one kind of rows; the link leads to the list of all of this job's."""
        title, all_of_them, more = HISTORIES[name]
        return {
            "name": name,
            "always": name == "jobevent",
            "title": title,
            "heads": heads,
            "rows": rows[:SHOWN],
            "all": more if len(rows) > SHOWN else all_of_them,
            "url": f"{self.url(f'{name}_changelist')}?{urlencode({'job': job_id})}",
        }

    # -- columns

    @admin.display(description=_("state"))
    def state(self, row: Any) -> SafeString:
        """Return the state as operators see it."""
        return badge(row, row.clock)

    @admin.display(description=_("attempts"))
    def tries(self, row: Any) -> str:
        """Return the attempts so far and those allowed."""
        return f"{row.attempts} / {row.max_attempts}"

    @admin.display(description=_("created"))
    def created(self, row: Any) -> Any:
        """Return how long ago the job was added."""
        return texts.ago(row.created_at, row.clock)

    @admin.display(description=_("ended"))
    def ended(self, row: Any) -> Any:
        """Return how long ago the job ended."""
        return texts.ago(row.finished_at, row.clock)

    @admin.display(description=_("worker"))
    def holder(self, row: Any) -> str:
        """Return the worker that has the job."""
        return texts.visible(row.locked_by) if row.locked_by else texts.NOTHING

    @admin.display(description=_("tags"))
    def labels(self, row: Any) -> SafeString | str:
        """Return the job's tags, each a link to the jobs that have it."""
        base = self.url("job_changelist")
        links = ((f"{base}?{urlencode({'q': _tag_term(str(tag))})}", texts.visible(tag)) for tag in row.tags or ())
        return format_html_join(" ", '<a class="dq-tag" href="{}">{}</a>', links) or texts.NOTHING

    @admin.display(description=_("waits for"))
    def awaits(self, row: Any) -> SafeString | str:
        """Return the time that a job waits for, or the token with what became of it."""
        if not row.wait_token_id:
            return texts.moment(row.wait_until)
        shown = texts.visible(row.wait_token_id)
        tokens = Token.objects.using(self.database).filter(pk=row.wait_token_id).annotate(clock=Now())
        token = tokens.defer("output", "answer_schema").first()
        if token is None:
            return shown
        where = self.url("token_change", key_of(row.wait_token_id))
        link = format_html('<a href="{}">{}</a>: {}', where, shown, condition(token))
        if token.timeout_at is None:
            return link
        return format_html("{}, {} {}", link, _("times out"), texts.moment(token.timeout_at))

    @admin.display(description=_("schedule"))
    def schedule(self, row: Any) -> SafeString | str:
        """Return a link to the schedule that added the job."""
        found = self.queue.get_cron_job(row.cron_schedule_id)
        if found is None:
            return gettext("%(id)d, which is deleted") % {"id": row.cron_schedule_id}
        where = self.url("cronschedule_change", found.id)
        return format_html('<a href="{}">{}</a>', where, texts.visible(found.schedule_name))

    @admin.display(description=_("newest first"))
    def errors(self, row: Any) -> SafeString:
        """Return the errors of all attempts that are kept."""
        return texts.errors(row.error_history, name="errors", whole="errors" in row.uncut)


def _tag_term(tag: str) -> str:
    """What finds a tag; in quotes where it holds a space or a quote."""
    if not any(character.isspace() or character in "\"'\\" for character in tag):
        return f"tag:{tag}"
    return 'tag:"' + tag.replace("\\", "\\\\").replace('"', '\\"') + '"'
