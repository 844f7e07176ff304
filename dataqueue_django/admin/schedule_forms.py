"""The form of a schedule. It says what JobQueue is asked for; whether that is a schedule is for the queue to say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.admin import widgets
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..domain.options import backoff_word
from ..domain.records import CronSchedule, Overlap
from ..domain.retry import MODES
from ..domain.schedules import wanted_of
from . import fields
from .states import Text
from .texts import UNSEEN

OVERLAPS: Mapping[Overlap, Text] = {
    Overlap.SKIP: _("the tick is skipped"),
    Overlap.ALLOW: _("another job is added"),
    Overlap.REPLACE: _("the last job is cancelled, and another one added"),
}

CLOCKS = ("cron_expression", "every")
"""Of these the one that is filled says when it fires, so they are told together."""

OPTIONS = ("queue", "group_id", "priority", "max_attempts", "timeout", "isolate", "force_kill_on_timeout",
           "retry_delay", "retry_backoff", "retry_delay_max", "tags")  # fmt: skip
"""The options of jobs, in the order in which people think of them."""

PARTS: tuple[tuple[Any, Sequence[str]], ...] = (
    (None, ("schedule_name", "job_type", "payload")),
    (_("When"), ("cron_expression", "timezone", "every", "start_at", "end_at", "max_runs")),
    (_("Rules"), ("catch_up", "overlap", "jitter")),
    (_("Jobs"), OPTIONS),
)

EMPTY = "---------"
BY_DEFAULT = _("What is left empty is as the handler says, or else the settings.")


class _Lines(forms.CharField):
    """Text of several lines; browsers end each with CR LF, which is no change."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the text is another one."""
        return super().has_changed(initial, None if data is None else data.replace("\r\n", "\n"))


def _lines(label: Any, help_text: Any, rows: int) -> forms.CharField:
    widget = widgets.AdminTextareaWidget(attrs={"rows": rows})
    return _Lines(label=label, help_text=help_text, required=False, widget=widget)


def _maybe(label: Any) -> forms.NullBooleanField:
    field = forms.NullBooleanField(label=label, required=False)
    field.widget.choices = [("unknown", EMPTY), ("true", _("Yes")), ("false", _("No"))]
    return field


class ScheduleForm(forms.Form):
    """What people say about a schedule; a field that is left empty leaves it to the handler and the settings."""

    schedule_name = fields.text(_("Name"))
    job_type = forms.ChoiceField(label=_("Job type"))
    payload = _lines(_("Payload"), _("JSON; empty for none."), 6)
    cron_expression = fields.text(
        _("Cron expression"),
        _("Five fields such as 0 9 * * 1-5, or @daily. Either this or an interval."),
        required=False,
    )
    timezone = fields.text(
        _("Time zone"), _("In which the cron expression is read, such as Europe/Berlin."), initial="UTC"
    )
    every = fields.seconds(_("Every"), _("Seconds. Either this or a cron expression."))
    start_at = fields.moment(_("From"))
    end_at = fields.moment(_("Until"))
    max_runs = fields.whole(_("At most"), _("How often it fires; empty for no end."))
    catch_up = forms.IntegerField(
        label=_("Make up for"),
        initial=1,
        help_text=_("How many ticks that nobody was there for: 1 is the latest one, 0 none."),
    )
    overlap = forms.ChoiceField(label=_("While its last job has not ended"), choices=OVERLAPS.items())
    jitter = forms.FloatField(label=_("Jitter"), initial=0, help_text=_("Jobs run up to so many seconds later."))
    queue = fields.text(_("Queue"), required=False)
    group_id = fields.text(_("Group"), required=False)
    priority = fields.whole(_("Priority"))
    max_attempts = fields.whole(_("Attempts"))
    timeout = fields.seconds(_("Timeout"))
    isolate = _maybe(_("In a process of its own"))
    force_kill_on_timeout = _maybe(_("Killed at the timeout"))
    retry_delay = fields.seconds(_("Delay before a retry"))
    retry_backoff = forms.ChoiceField(label=_("How delays grow"), required=False)
    retry_delay_max = fields.seconds(_("Longest delay before a retry"))
    tags = _lines(_("Tags"), _("One on each line."), 3)

    def __init__(self, data: Any = None, *, record: CronSchedule | None, job_types: Sequence[str]) -> None:
        super().__init__(data, initial=None if record is None else said_of(record))
        here = gettext("In the time zone %(zone)s.") % {"zone": timezone.get_current_timezone_name()}
        self.fields["start_at"].help_text = self.fields["end_at"].help_text = here
        self.fields["retry_backoff"].choices = [("", EMPTY), *((mode, mode) for mode in MODES if mode)]  # type: ignore[attr-defined]
        known = dict.fromkeys([*job_types, *([record.job_type] if record else [])])
        self.fields["job_type"].choices = [(name, name) for name in sorted(known)]  # type: ignore[attr-defined]
        if record is not None:
            del self.fields["schedule_name"]

    def clean_payload(self) -> Any:
        """Return the payload that the text writes."""
        return None if not self.cleaned_data["payload"] else _parsed(self.cleaned_data["payload"])

    def clean_tags(self) -> list[str] | None:
        """Return the tags, or None."""
        return [tag.strip() for tag in self.cleaned_data["tags"].splitlines() if tag.strip()] or None

    def wanted(self) -> dict[str, Any]:
        """Return what `add_cron_job` is asked for: what was left empty is not said."""
        return {name: value for name, value in self._told().items() if value is not None}

    def updates(self) -> dict[str, Any]:
        """Return what `edit_cron_job` is asked for: only what was changed."""
        changed = set(self.changed_data)
        if changed.intersection(CLOCKS):
            changed.update(CLOCKS)
        return {name: value for name, value in self._told().items() if name in changed}

    def parts(self) -> list[tuple[Any, dict[str, Any]]]:
        """Return the fieldsets."""
        parts: list[tuple[Any, dict[str, Any]]] = [
            (title, {"fields": [name for name in names if name in self.fields]}) for title, names in PARTS
        ]
        parts[-1][1]["description"] = BY_DEFAULT
        return parts

    def _told(self) -> dict[str, Any]:
        return {name: None if value == "" and name != "payload" else value for name, value in self.cleaned_data.items()}


def said_of(schedule: CronSchedule) -> dict[str, Any]:
    """Return what a form would say to get this schedule."""
    wanted, options = wanted_of(schedule), schedule.options
    return {
        "job_type": schedule.job_type,
        "payload": "" if schedule.payload is None else written(schedule.payload),
        "cron_expression": wanted.cron_expression or "",
        "timezone": wanted.timezone,
        "every": None if schedule.every_ms is None else _in_seconds(schedule.every_ms),
        "start_at": wanted.start_at,
        "end_at": wanted.end_at,
        "max_runs": wanted.max_runs,
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap.value,
        "jitter": _in_seconds(schedule.jitter_ms),
        **options,
        "retry_backoff": backoff_word(options.get("retry_backoff")),
        "tags": "\n".join(options.get("tags", ())),
    }


def written(value: Any) -> str:
    """Return a JSON value as text to edit; characters that would not be seen are written as JSON's escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _in_seconds(milliseconds: int) -> float:
    seconds, rest = divmod(milliseconds, 1000)
    return milliseconds / 1000 if rest else seconds


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as why:  # besides bad JSON, numbers without end and lists without bottom
        said = why.msg if isinstance(why, json.JSONDecodeError) else gettext("it is too long or too deep")
        raise forms.ValidationError(gettext("This is no JSON: %(why)s.") % {"why": said}) from None
