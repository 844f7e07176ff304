"""Ticks: the moments at which schedules were due, and the jobs that were added for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..domain.records import TickOutcome
from ..models import CronTick
from . import texts
from .base import QueueModelAdmin
from .columns import lines
from .filters import ScheduleFilter
from .states import Text

OUTCOMES: Mapping[str, Text] = {
    TickOutcome.ENQUEUED: _("A job was added"),
    TickOutcome.SKIPPED: _("Skipped, this job had not ended"),
    TickOutcome.BY_HAND: _("Run by hand"),
}

HEADS = (_("Tick"), _("What became of it"), _("Job"), _("By"))


class CronTickAdmin(QueueModelAdmin):
    """Ticks, of all schedules or of one."""

    list_display = ("id", "schedule", "due", "became", "job", *lines(CronTick, "actor"))
    list_columns = ("schedule_id", "tick_at", "outcome", "job_id", "actor")
    list_filter = (ScheduleFilter,)
    fields = ("schedule", "due", "became", "job", *lines(CronTick, "actor", "created_at"))

    @admin.display(description=_("schedule"))
    def schedule(self, row: Any) -> SafeString:
        """Return a link to the schedule."""
        return link(self.url("cronschedule_change", row.schedule_id), row.schedule_id)

    @admin.display(description=_("tick"))
    def due(self, row: Any) -> SafeString | str:
        """Return when it was due."""
        return texts.moment(row.tick_at)

    @admin.display(description=_("what became of it"))
    def became(self, row: Any) -> Text:
        """Return what became of it."""
        return outcome(row)

    @admin.display(description=_("job"))
    def job(self, row: Any) -> SafeString | str:
        """Return a link to the job."""
        return job_link(row, self.url)


def cells(tick: Any, url: Callable[..., str]) -> tuple[Any, ...]:
    """Return what a line says of a tick; see HEADS."""
    who = texts.visible(tick.actor) or texts.NOTHING
    return texts.moment(tick.tick_at), outcome(tick), job_link(tick, url), who


def outcome(tick: Any) -> Text:
    """Return in words what became of a tick."""
    return OUTCOMES.get(tick.outcome) or texts.visible(tick.outcome)


def job_link(tick: Any, url: Callable[..., str]) -> SafeString | str:
    """Return a link to the job of a tick, if it has one."""
    return texts.NOTHING if tick.job_id is None else link(url("job_change", tick.job_id), tick.job_id)


def link(address: str, words: object) -> SafeString:
    """Return a link."""
    return format_html('<a href="{}">{}</a>', address, words)
