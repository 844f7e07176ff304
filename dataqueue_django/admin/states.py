"""The one place that says how statuses and states are called and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..domain.holding_back import is_held
from ..domain.lifecycle import State, state_of
from ..domain.records import Job, JobStatus
from .texts import span, visible

Text = str | Promise

STATUSES: Mapping[JobStatus, Text] = {
    JobStatus.PENDING: _("Pending"),
    JobStatus.PROCESSING: _("Running"),
    JobStatus.WAITING: _("Waiting"),
    JobStatus.COMPLETED: _("Completed"),
    JobStatus.FAILED: _("Failed"),
    JobStatus.CANCELLED: _("Cancelled"),
}
"""The stored statuses, which lists are filtered by."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: a word, a sign beside it, and a class for its colour."""

    word: Text
    sign: str
    css: str


LOOKS: Mapping[State, Look] = {
    State.READY: Look(_("Ready"), "●", "ready"),
    State.DELAYED: Look(_("Scheduled"), "◷", "later"),
    State.BLOCKED: Look(_("Blocked"), "⊘", "held"),
    State.PAUSED: Look(_("Paused"), "‖", "held"),
    State.PROCESSING: Look(_("Running"), "▶", "running"),
    State.WAITING: Look(_("Sleeping"), "☾", "later"),
    State.RETRYING: Look(_("Retrying"), "↻", "trouble"),
    State.FAILED: Look(_("Failed"), "✕", "failed"),
    State.COMPLETED: Look(_("Completed"), "✓", "done"),
    State.CANCELLED: Look(_("Cancelled"), "–", "gone"),
    State.MISSING: Look(_("Missing"), "?", "gone"),
}


def record_of(row: Any) -> Job | None:
    """Return what of a job's row the rules ask about; None for a status that this version does not know."""
    try:
        status = JobStatus(row.status)
    except ValueError:
        return None
    return Job(
        id=row.pk,
        job_type=row.job_type,
        payload=None,
        created_at=row.created_at,
        updated_at=row.created_at,
        run_at=row.run_at,
        status=status,
        ready_at=row.ready_at,
        paused_at=row.paused_at,
        paused_until=row.paused_until,
        open_dependencies=row.open_dependencies,
    )


def state_of_row(row: Any, now: datetime) -> State | None:
    """Return the state of a job's row; None for a status that this version does not know."""
    record = record_of(row)
    return None if record is None else state_of(record, now)


def shown_state(row: Any, now: datetime) -> State | None:
    """Return the state to show: for who looks, one that waits or will be retried is first of all paused, if it is."""
    record = record_of(row)
    if record is None:
        return None
    return State.PAUSED if is_held(record, now) else state_of(record, now)


def label(row: Any, now: datetime) -> str:
    """Return a job's state in words, such as "Retrying in 40 s"."""
    state = shown_state(row, now)
    if state is None:
        return visible(row.status)
    if state is State.WAITING and row.wait_token_id:
        return gettext("Awaiting approval")
    word = str(LOOKS[state].word)
    until = _until(state, row)
    if until is None or until <= now:
        return word
    lasts = state in (State.WAITING, State.PAUSED)
    phrase = gettext("%(state)s for %(time)s") if lasts else gettext("%(state)s in %(time)s")
    return phrase % {"state": word, "time": span(until - now)}


def badge(row: Any, now: datetime) -> SafeString:
    """Return a job's state as a word with a sign and a colour."""
    state = shown_state(row, now)
    return drawn(LOOKS[state or State.MISSING], label(row, now))


def drawn(look: Look, words: Text) -> SafeString:
    """Return words with the sign and the colour of a look."""
    pattern = '<span class="dq-state dq-{}"><span aria-hidden="true">{}</span> {}</span>'
    return format_html(pattern, look.css, look.sign, words)


def _until(state: State, row: Any) -> datetime | None:
    """When the state will end by itself, if that is known."""
    if state in (State.DELAYED, State.RETRYING):
        return row.ready_at  # type: ignore[no-any-return]
    if state is State.PAUSED:
        return row.paused_until  # type: ignore[no-any-return]
    return row.wait_until if state is State.WAITING else None
