"""Schedules: the list, the page of one, and what may be done to it. All of it goes through JobQueue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..domain.records import CronSchedule as Record
from ..domain.records import Overlap, ScheduleStatus
from ..domain.schedules import Act, is_open_to, is_over, was_taken_out
from ..exceptions import DataQueueError
from ..models import CronSchedule
from . import texts
from .columns import filled, line, lines
from .filters import SchedulePlaceFilter, ScheduleStatusFilter
from .schedule_forms import OVERLAPS, ScheduleForm
from .searching import LONGEST
from .states import Look, Text, drawn
from .ticks import HEADS, cells, link
from .verbs import MOST, ActsOnRows, Verb, actor_of

SHOWN = 50
"""Ticks on the page of a schedule: the newest."""

RUNS_SHOWN = 10

REFUSED_SHOWN = 3
"""Refusals that are told of one action: most are for the same reason."""

ACTIVE = Look(_("Active"), "●", "ready")
PAUSED = Look(_("Paused"), "‖", "trouble")
OVER = Look(_("Over"), "–", "gone")

IN_CODE = _(
    "This schedule is declared in the project's code and changed there. Here it can be paused, resumed and run."
)
TAKEN_OUT = _("This schedule was declared in the project's code, which no longer has it.")

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            name="run",
            title=_("Run now"),
            question=_("A job is added at once. When the schedule fires next stays as it is."),
            sure=_("Yes, run it now"),
            done=_("Run."),
        ),
        Verb(
            name="pause",
            title=_("Pause"),
            question=_("It does not fire until it is resumed. Jobs that it has added stay as they are."),
            sure=_("Yes, pause it"),
            done=_("Paused."),
            asks_why=True,
        ),
        Verb(
            name="resume",
            title=_("Resume"),
            question=_("It fires again from its next tick on. What was due meanwhile stays undone."),
            sure=_("Yes, resume it"),
            done=_("Resumed."),
            permission="pause",
        ),
        Verb(
            name="edit",
            title=_("Change"),
            question="",
            sure=_("Save"),
            done=_("Changed."),
            permission="change",
        ),
        Verb(
            name="delete",
            title=_("Delete"),
            question=_("The schedule and its ticks are deleted for good. Its jobs stay as they are."),
            sure=_("Yes, delete it"),
            done=_("Deleted."),
            flag=DELETION,
            is_grave=True,
        ),
    )
}


class CronScheduleAdmin(ActsOnRows):
    """The list of schedules and the page of one. Those that people have stored are added, changed and deleted here."""

    verbs: ClassVar = VERBS
    actions = ("run_selected", "pause_selected", "resume_selected")
    list_display = ("name", "state", "place", *lines(CronSchedule, "job_type"), "fires", "upcoming", "ran")
    list_columns = (
        "schedule_name", "job_type", "cron_expression", "timezone", "every_ms", "next_run_at", "last_enqueued_at",
        "last_job_id", "status", "paused_by", "pause_reason", "declared",
    )  # fmt: skip
    list_filter = (SchedulePlaceFilter, ScheduleStatusFilter)
    search_fields = ("schedule_name",)
    search_help_text = _("The whole name of a schedule.")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the schedule whose name was typed."""
        term = search_term.strip()
        if not term:
            return queryset, False
        fits = len(term) <= LONGEST and "\0" not in term
        return (queryset.filter(schedule_name=term) if fits else queryset.none()), False

    # -- permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add schedules."""
        return self.may(request, "add")

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add jobs of schedules."""
        return self.may(request, "run")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may pause and resume schedules."""
        return self.may(request, "pause")

    # -- verbs

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return whether a schedule lets it."""
        return is_open_to(record_of(row), Act(verb.name))

    def refusal(self, verb: Verb, row: Any) -> str:
        """Return why a verb does not fit a schedule."""
        return str(IN_CODE) if verb.name in ("edit", "delete") else super().refusal(verb, row)

    def called(self, row: Any) -> str:
        """Return how sentences call a schedule."""
        return gettext("schedule %(name)s") % {"name": texts.visible(row.schedule_name)}

    def described(self, row: Any) -> SafeString:
        """Return the line that tells which schedule a question is about."""
        return format_html("{} · {} · {}", self.state(row), texts.visible(row.job_type), when(row))

    def answer(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        """Answer a request to do something to a schedule; what the queue refuses is said."""
        try:
            if verb.name == "edit" and self.fits(verb, row):
                return self._form_page(request, row)
            return super().answer(request, verb, row)
        except DataQueueError as why:
            self.message_user(request, texts.visible(why), messages.ERROR)
            return HttpResponseRedirect(self.page("change", row.pk))

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """Do it through the queue; None when the schedule is in no state for it, or gone."""
        if verb.name == "run":
            job_id = self.queue.run_cron_job(row.pk, actor=actor_of(request), strict=False)
            return None if job_id is None else gettext("Job %(id)d was added.") % {"id": job_id}
        return verb.done if self._steer(request, verb, row.pk) else None

    def _steer(self, request: HttpRequest, verb: Verb, id: int) -> bool:
        if verb.name == "pause":
            reason = request.POST.get("reason", "").strip()
            return self.queue.pause_cron_job(id, reason=reason, actor=actor_of(request), strict=False)
        if verb.name == "resume":
            return self.queue.resume_cron_job(id, strict=False)
        return self.queue.remove_cron_job(id, strict=False)

    @admin.action(description=_("Run selected schedules now"), permissions=["run"])
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Add a job of each selected schedule."""
        self._do_to_all(request, queryset, VERBS["run"], lambda n: ngettext("%d run", "%d run", n))

    @admin.action(description=_("Pause selected schedules"), permissions=["pause"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pause the selected schedules."""
        self._do_to_all(request, queryset, VERBS["pause"], lambda n: ngettext("%d paused", "%d paused", n))

    @admin.action(description=_("Resume selected schedules"), permissions=["pause"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Resume the selected schedules."""
        self._do_to_all(request, queryset, VERBS["resume"], lambda n: ngettext("%d resumed", "%d resumed", n))

    def _do_to_all(
        self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb, words: Callable[[int], str]
    ) -> None:
        rows = list(queryset.only("id", "schedule_name")[: MOST + 1])
        if len(rows) > MOST:
            text = gettext("More than %(most)s schedules are selected, so nothing was done. Narrow the list.")
            self.message_user(request, text % {"most": f"{MOST:,}"}, messages.ERROR)
            return
        done = 0
        refused: list[str] = []
        for row in rows:
            try:
                told = self.carry_out(request, verb, row)
            except DataQueueError as why:
                refused.append(f"{self.called(row)}: {why}")
                continue
            if told is not None:
                self.log(request, [row], verb.flag, told)
                done += 1
        for text in refused[:REFUSED_SHOWN]:
            self.message_user(request, texts.visible(text), messages.ERROR)
        if rows:
            self.say_done(request, [words(done) % done], len(rows) - done)

    # -- adding and changing

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask for a new schedule and add it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._form_page(request, None)

    def _form_page(self, request: HttpRequest, row: Any) -> HttpResponse:
        record = None if row is None else self.queue.get_cron_job(row.pk)
        if row is not None and record is None:
            return self.gone(request)
        data = request.POST if request.method == "POST" else None
        form = ScheduleForm(data, record=record, job_types=self.queue.handlers.types())
        if form.is_valid():
            try:
                return self._save(request, form, record)
            except DataQueueError as why:
                form.add_error(None, texts.visible(why))
        return self._show(request, form, row)

    def _save(self, request: HttpRequest, form: ScheduleForm, record: Record | None) -> HttpResponse:
        """Add or change a schedule as the form says; what the queue refuses is raised, and nothing is stored."""
        if record is None:
            id = self.queue.add_cron_job(**form.wanted())
            return self._saved(request, id, form.cleaned_data["schedule_name"], ADDITION, gettext("Added."))
        updates = form.updates()
        if not updates or not self.queue.edit_cron_job(record.id, strict=False, **updates):
            self.message_user(request, gettext("Nothing was changed."), messages.WARNING)
            return HttpResponseRedirect(self.page("change", record.id))
        told = gettext("Changed %(fields)s.") % {"fields": ", ".join(updates)}
        return self._saved(request, record.id, record.schedule_name, CHANGE, told)

    def _saved(self, request: HttpRequest, id: int, name: str, flag: int, told: str) -> HttpResponse:
        row = CronSchedule(pk=id, schedule_name=name)
        self.log(request, [row], flag, told)
        self.say(request, row, told)
        return HttpResponseRedirect(self.page("change", id))

    def _show(self, request: HttpRequest, form: ScheduleForm, row: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        drawn_form = AdminForm(cast(Any, form), form.parts(), {}, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add schedule") if row is None else gettext("Change %(name)s") % {"name": self.called(row)},
            "adminform": drawn_form,
            "errors": AdminErrorList(cast(Any, form), []),
            "add": row is None,
            "change": False,
            "original": row,
            "opts": self.opts,
            "has_view_permission": True,
            "inline_admin_formsets": [],
            "media": self.media,
            "back": self.page("changelist") if row is None else self.page("change", row.pk),
        }
        return TemplateResponse(request, "admin/dataqueue/cronschedule/edit.html", context)

    # -- the page

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what the page shows: what matters always, the rest where there is something to show."""
        row = obj
        main = ["state", "place", *lines(CronSchedule, "job_type"), "fires", "next_runs", "ran", "times_run"]
        limits = filled(row, lines(CronSchedule, "start_at", "end_at", "last_tick_at"))
        held = filled(row, lines(CronSchedule, "paused_at", "paused_by", "pause_reason"))
        parts = (
            (None, main),
            (_("Paused"), held),
            (_("Rules"), ["made_up", "overlapping", line(CronSchedule, "jitter_ms", title=_("jitter")), *limits]),
            (_("Jobs"), lines(CronSchedule, "payload", "options")),
            (_("Times"), lines(CronSchedule, "created_at", "updated_at")),
        )
        return [(title, {"fields": fields}) for title, fields in parts if fields]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Show a schedule: what may be done to it, its fields, and its last ticks."""
        found = self.queue.get_cron_ticks(obj.pk, limit=SHOWN + 1)
        history = {
            "name": "crontick",
            "always": True,
            "title": _("Last ticks"),
            "heads": HEADS,
            "rows": [cells(tick, self.url) for tick in found[:SHOWN]],
            "all": _("All ticks, there are more") if len(found) > SHOWN else _("All ticks"),
            "url": f"{self.url('crontick_changelist')}?{urlencode({'schedule': obj.pk})}",
        }
        in_code = TAKEN_OUT if was_taken_out(record_of(obj)) else IN_CODE
        context |= {
            "explanation": in_code if obj.declared else "",
            "verbs": self.open_verbs(request, obj),
            "histories": [history],
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    # -- columns

    @admin.display(description=_("name"))
    def name(self, row: Any) -> str:
        """Return the name."""
        return texts.visible(row.schedule_name)

    @admin.display(description=_("when"))
    def fires(self, row: Any) -> str:
        """Return when it fires."""
        return when(row)

    @admin.display(description=_("next run"))
    def upcoming(self, row: Any) -> SafeString | str:
        """Return when it fires next, in the site's zone and its own."""
        return texts.NOTHING if row.next_run_at is None else clocks(row, row.next_run_at)

    @admin.display(description=_("next runs"))
    def next_runs(self, row: Any) -> SafeString | str:
        """Return when it fires next, several times, in the site's zone and its own."""
        try:
            runs = self.queue.get_next_cron_runs(row.pk, RUNS_SHOWN)
        except DataQueueError as why:
            return texts.visible(why)
        items = format_html_join("", "<li>{}</li>", ((clocks(row, run),) for run in runs))
        return format_html('<ol class="dq-runs">{}</ol>', items) if runs else texts.NOTHING

    @admin.display(description=_("last run"))
    def ran(self, row: Any) -> SafeString | str:
        """Return how long ago it added a job, and a link to that."""
        if row.last_job_id is None:
            return texts.NOTHING
        job = link(self.url("job_change", row.last_job_id), gettext("job %(id)d") % {"id": row.last_job_id})
        return format_html("{}, {}", texts.ago(row.last_enqueued_at, row.clock), job)

    @admin.display(description=_("state"))
    def state(self, row: Any) -> SafeString:
        """Return whether it fires; of one that is paused, why and by whom."""
        record = record_of(row)
        if record.status is not ScheduleStatus.PAUSED:
            return drawn(OVER, OVER.word) if is_over(record) else drawn(ACTIVE, ACTIVE.word)
        why = ", ".join(texts.visible(word) for word in (row.pause_reason, row.paused_by) if word)
        paused = drawn(PAUSED, PAUSED.word)
        return format_html('{} <span class="dq-details">{}</span>', paused, why) if why else paused

    @admin.display(description=_("stands in"))
    def place(self, row: Any) -> SafeString:
        """Return whether it is declared in code or was stored by people."""
        return format_html('<span class="dq-tag">{}</span>', _("In code") if row.declared else _("Stored"))

    @admin.display(description=_("runs"))
    def times_run(self, row: Any) -> str:
        """Return how often it has fired, and how often it may."""
        return str(row.runs) if row.max_runs is None else f"{row.runs} / {row.max_runs}"

    @admin.display(description=_("missed ticks made up for"))
    def made_up(self, row: Any) -> str:
        """Return how many ticks are made up for that nobody was there for."""
        return {0: gettext("none"), 1: gettext("the latest")}.get(row.catch_up, str(row.catch_up))

    @admin.display(description=_("while the last job has not ended"))
    def overlapping(self, row: Any) -> Text:
        """Return what a tick does while the job of an earlier one has not ended."""
        return OVERLAPS[Overlap(row.overlap)] if row.overlap in tuple(Overlap) else texts.visible(row.overlap)


def record_of(row: Any) -> Record:
    """Return what of a row the rules ask about; a status that this version does not know is that of one that rests."""
    known = row.status in tuple(ScheduleStatus)
    return Record(
        schedule_name=row.schedule_name,
        job_type=row.job_type,
        status=ScheduleStatus(row.status) if known else ScheduleStatus.PAUSED,
        next_run_at=row.next_run_at,
        paused_by=row.paused_by,
        pause_reason=row.pause_reason,
        declared=row.declared,
    )


def clocks(row: Any, moment: datetime) -> SafeString | str:
    """Return a time in the site's zone and in that which the schedule is read in, if it is read in one."""
    return texts.moment_there(moment, row.timezone) if row.cron_expression else texts.moment(moment)


def when(row: Any) -> str:
    """Return when a schedule fires, in words."""
    if row.every_ms is not None:
        return gettext("every %(time)s") % {"time": texts.exact_span(timedelta(milliseconds=row.every_ms))}
    return f"{texts.visible(row.cron_expression)} ({texts.visible(row.timezone)})"
