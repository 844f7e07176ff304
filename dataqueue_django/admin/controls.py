"""What keeps workers from jobs: queues, pauses and limits. They are looked at here, and changed through JobQueue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.models import ADDITION, DELETION
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..domain.controls import Controls, allows, holds, in_words, scope_id
from ..domain.records import Limit as LimitRecord
from ..domain.records import Pause as PauseRecord
from ..exceptions import DataQueueError
from ..models import Limit, Pause, Queue
from . import texts
from .columns import filled, line, lines
from .control_forms import LimitForm, PauseForm
from .states import Look, Text, drawn
from .verbs import MOST, ActsOnRows, Verb, actor_of

HOLDS = Look(_("Paused"), "‖", "trouble")
ENDED = Look(_("Ended"), "–", "gone")
OPEN = Look(_("Open"), "●", "ready")

RESUME = Verb(
    name="resume",
    title=_("Resume"),
    question=_("Workers take these jobs again, unless something else keeps them from it."),
    sure=_("Yes, resume them"),
    done=_("Resumed."),
    permission="pause",
)


class ActsOnControls(ActsOnRows):
    """Rows named by texts, whose changes all take one permission: `codename`. Those that `asks` a form are added."""

    codename: ClassVar[str]
    asks: ClassVar[Callable[[Any], forms.Form] | None] = None
    ordering = ("id",)
    change_form_template = "admin/dataqueue/job/change_form.html"

    def key_from(self, text: str) -> str | None:
        """Return the key that a text writes."""
        return None if "\0" in text else text

    def may(self, request: HttpRequest, verb: str) -> bool:
        """Return whether the user may do this; what one may not see one may not touch."""
        return self.has_view_permission(request) and request.user.has_perm(f"{self.opts.app_label}.{self.codename}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may add rows."""
        return self.asks is not None and self.may(request, "add")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what takes a row away has its own verb."""
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may do anything here."""
        return self.may(request, "act")

    def answer(self, request: HttpRequest, verb: Verb, row: Any) -> HttpResponse:
        """Answer a request to do something to a row; what the queue refuses is said."""
        try:
            return super().answer(request, verb, row)
        except DataQueueError as why:
            self.message_user(request, texts.visible(why), messages.ERROR)
            return HttpResponseRedirect(self.page("change", quote(row.pk)))

    def do_to_all(self, request: HttpRequest, rows: QuerySet[Any], verb: Verb, words: Callable[[int], str]) -> None:
        """Do something to the selected rows, and tell to how many."""
        selected = list(rows.only(*self.list_columns)[: MOST + 1])
        if len(selected) > MOST:
            text = gettext("More than %(most)s are selected, so nothing was done. Narrow the list.")
            self.message_user(request, text % {"most": f"{MOST:,}"}, messages.ERROR)
            return
        try:
            done = [row for row in selected if self.carry_out(request, verb, row) is not None]
        except DataQueueError as why:
            self.message_user(request, texts.visible(why), messages.ERROR)
            return
        if done:
            self.log(request, done, verb.flag, verb.done)
        if selected:
            self.say_done(request, [words(len(done)) % len(done)], len(selected) - len(done))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Show a row, and what may be done to it."""
        context |= {"explanation": "", "verbs": self.open_verbs(request, obj), "histories": []}
        return super().render_change_form(request, context, add, change, form_url, obj)

    # -- adding

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask what is to be added, and add it."""
        if self.asks is None or not self.has_add_permission(request):
            raise PermissionDenied
        form = type(self).asks(request.POST if request.method == "POST" else None)  # type: ignore[misc]
        if form.is_valid():
            try:
                row = self.store(request, form)
            except DataQueueError as why:
                form.add_error(None, texts.visible(why))
            else:
                self.log(request, [row], ADDITION, gettext("Set."))
                self.say(request, row, gettext("Set."))
                return HttpResponseRedirect(self.page("change", quote(row.pk)))
        return self._show(request, form)

    def store(self, request: HttpRequest, form: Any) -> Any:
        """Do what a form says, through the queue, and return the row; what the queue refuses is raised."""
        raise NotImplementedError

    def _show(self, request: HttpRequest, form: forms.Form) -> HttpResponse:
        request.current_app = self.admin_site.name
        parts = [(None, {"fields": list(form.fields)})]
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Add %(kind)s") % {"kind": self.opts.verbose_name},
            "adminform": AdminForm(cast(Any, form), parts, {}, model_admin=self),
            "errors": AdminErrorList(cast(Any, form), []),
            "add": True,
            "change": False,
            "original": None,
            "opts": self.opts,
            "has_view_permission": True,
            "inline_admin_formsets": [],
            "media": self.media,
            "back": self.page("changelist"),
        }
        return TemplateResponse(request, "admin/dataqueue/cronschedule/edit.html", context)


class QueueAdmin(ActsOnControls):
    """Queues that were declared, and whether they are paused."""

    codename = "pause_queue"
    verbs: ClassVar = {
        "pause": Verb(
            name="pause",
            title=_("Pause"),
            question=_("Workers take no more jobs of this queue until it is resumed. Jobs that run go on."),
            sure=_("Yes, pause it"),
            done=_("Paused."),
            asks_why=True,
        ),
        "resume": RESUME,
    }
    actions = ("pause_selected", "resume_selected")
    list_display = (line(Queue, "id", title=_("name")), "state", *lines(Queue, "description"), "since")
    list_columns = ("description", "created_at")
    fields = (line(Queue, "id", title=_("name")), "state", *lines(Queue, "description", "created_at"))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, each row with the pauses that hold."""
        found = super().get_changelist_instance(request)
        pauses = tuple(self.queue.get_pauses())
        for row in found.result_list:
            row.pauses = pauses
        return found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return one row with the pauses that hold, or None."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.pauses = tuple(self.queue.get_pauses())
        return row

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return whether the queue itself is paused, or is not."""
        is_paused = scope_id(row.pk) in {pause.id for pause in row.pauses}
        return is_paused is (verb.name == "resume")

    def called(self, row: Any) -> str:
        """Return how sentences call a queue."""
        return gettext("queue %(name)s") % {"name": texts.visible(row.pk)}

    def described(self, row: Any) -> Text:
        """Return the line that tells which queue a question is about."""
        return self.state(row)

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """Do it through the queue; None when it was not paused."""
        if verb.name == "resume":
            return verb.done if self.queue.resume_queue(row.pk, actor=actor_of(request)) else None
        self.queue.pause_queue(row.pk, reason=request.POST.get("reason", "").strip(), actor=actor_of(request))
        return verb.done

    @admin.action(description=_("Pause selected queues"), permissions=["act"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pause the selected queues."""
        self.do_to_all(request, queryset, self.verbs["pause"], lambda n: ngettext("%d paused", "%d paused", n))

    @admin.action(description=_("Resume selected queues"), permissions=["act"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Resume the selected queues."""
        self.do_to_all(request, queryset, self.verbs["resume"], lambda n: ngettext("%d resumed", "%d resumed", n))

    @admin.display(description=_("state"))
    def state(self, row: Any) -> SafeString:
        """Return whether workers take its jobs; if not, why and by whom."""
        pause = Controls(pauses=row.pauses).pause_of(row.pk, "", row.clock)
        if pause is None:
            return drawn(OPEN, OPEN.word)
        why = [texts.visible(word) for word in (in_words(pause), pause.reason, pause.actor) if word]
        return drawn(HOLDS, f"{HOLDS.word} ({', '.join(why)})")

    @admin.display(description=_("declared"))
    def since(self, row: Any) -> Any:
        """Return how long ago it was declared."""
        return texts.ago(row.created_at, row.clock)


class PauseAdmin(ActsOnControls):
    """Pauses of queues, of job types, and of everything."""

    codename = "pause_queue"
    asks = PauseForm
    verbs: ClassVar = {"resume": replace(RESUME, flag=DELETION)}
    actions = ("resume_selected",)
    list_display = ("scope", "state", *lines(Pause, "reason", "actor"), "ends", "since")
    list_columns = ("queue", "job_type", "reason", "actor", "until", "created_at")
    fields = ("scope", "state", *lines(Pause, "queue", "job_type", "reason", "actor", "until", "created_at"))

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return whether the pause holds."""
        return holds(pause_of(row), row.clock)

    def called(self, row: Any) -> str:
        """Return how sentences call a pause."""
        return gettext("pause of %(scope)s") % {"scope": self.scope(row)}

    def described(self, row: Any) -> Text:
        """Return the line that tells which pause a question is about."""
        return self.state(row)

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """End the pause through the queue; None when it is gone."""
        by = actor_of(request)
        if row.job_type:
            ended = self.queue.resume_job_type(row.job_type, queue=row.queue or None, actor=by)
        else:
            ended = self.queue.resume_queue(row.queue, actor=by) if row.queue else self.queue.resume_all(actor=by)
        return verb.done if ended else None

    def store(self, request: HttpRequest, form: PauseForm) -> Pause:
        """Pause what the form says."""
        scope = form.scope()
        said: dict[str, Any] = {name: form.cleaned_data[name] for name in ("reason", "until")}
        said["actor"] = actor_of(request)
        if scope["job_type"]:
            made = self.queue.pause_job_type(scope["job_type"], queue=scope["queue"], **said)
        else:
            name = scope["queue"]
            made = self.queue.pause_queue(name, **said) if name else self.queue.pause_all(**said)
        return Pause(pk=made.id, queue=made.queue, job_type=made.job_type)

    @admin.action(description=_("Resume selected pauses"), permissions=["act"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End the selected pauses."""
        self.do_to_all(request, queryset, self.verbs["resume"], lambda n: ngettext("%d resumed", "%d resumed", n))

    @admin.display(description=_("what is paused"))
    def scope(self, row: Any) -> str:
        """Return what it is about."""
        return texts.visible(in_words(pause_of(row)))

    @admin.display(description=_("state"))
    def state(self, row: Any) -> SafeString:
        """Return whether it holds."""
        look = HOLDS if holds(pause_of(row), row.clock) else ENDED
        return drawn(look, look.word)

    @admin.display(description=_("until"))
    def ends(self, row: Any) -> Any:
        """Return when it ends by itself."""
        return texts.ago(row.until, row.clock)

    @admin.display(description=_("since"))
    def since(self, row: Any) -> Any:
        """Return how long ago it began."""
        return texts.ago(row.created_at, row.clock)


class LimitAdmin(ActsOnControls):
    """How many jobs of a scope may run, begin or wait."""

    codename = "set_limit"
    asks = LimitForm
    verbs: ClassVar = {
        "remove": Verb(
            name="remove",
            title=_("Remove"),
            question=_("The limit holds no more. What else limits these jobs stays."),
            sure=_("Yes, remove it"),
            done=_("Removed."),
            permission="set",
            flag=DELETION,
            is_grave=True,
        )
    }
    actions = ("remove_selected",)
    list_display = ("scope", "allowed", *lines(Limit, "actor"), "since")
    list_columns = tuple(field.name for field in fields(LimitRecord) if field.name != "id")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what the page shows: that which the limit says."""
        return [(None, {"fields": ["scope", "allowed", *filled(obj, lines(Limit, *self.list_columns))]})]

    def fits(self, verb: Verb, row: Any) -> bool:
        """Return True: every limit can be removed."""
        return True

    def called(self, row: Any) -> str:
        """Return how sentences call a limit."""
        return gettext("limit of %(scope)s") % {"scope": self.scope(row)}

    def described(self, row: Any) -> Text:
        """Return the line that tells which limit a question is about."""
        return self.allowed(row)

    def carry_out(self, request: HttpRequest, verb: Verb, row: Any) -> Text | None:
        """Remove it through the queue; None when it is gone."""
        removed = self.queue.remove_limit(
            queue=row.queue or None,
            job_type=row.job_type or None,
            per_group=row.per_group,
            group_id=row.group_id,
            actor=actor_of(request),
        )
        return verb.done if removed else None

    def store(self, request: HttpRequest, form: LimitForm) -> Limit:
        """Set the limit that the form says."""
        made = self.queue.set_limit(**form.wanted(), actor=actor_of(request))
        return Limit(**{field.name: getattr(made, field.name) for field in fields(made)})

    @admin.action(description=_("Remove selected limits"), permissions=["act"])
    def remove_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Remove the selected limits."""
        self.do_to_all(request, queryset, self.verbs["remove"], lambda n: ngettext("%d removed", "%d removed", n))

    @admin.display(description=_("what is limited"))
    def scope(self, row: Any) -> str:
        """Return what it is about."""
        return texts.visible(in_words(limit_of(row)))

    @admin.display(description=_("at most"))
    def allowed(self, row: Any) -> str:
        """Return what it allows."""
        return allows(limit_of(row)) or texts.NOTHING

    @admin.display(description=_("set"))
    def since(self, row: Any) -> Any:
        """Return how long ago it was set."""
        return texts.ago(row.updated_at, row.clock)


def pause_of(row: Any) -> PauseRecord:
    """Return what of a row the rules ask about."""
    return PauseRecord(id=row.pk, queue=row.queue, job_type=row.job_type, until=row.until)


def limit_of(row: Any) -> LimitRecord:
    """Return the limit that a row holds."""
    return LimitRecord(**{field.name: getattr(row, field.name) for field in fields(LimitRecord)})
