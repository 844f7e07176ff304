"""What keeps a job that is due from workers, in words: a pause of the job or of more, a limit, or a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .admission import Use
from .controls import Controls
from .lifecycle import State, is_paused, state_of
from .records import Job, Limit, Pause
from .wording import because, by, number, time

Held = tuple[str, str, Mapping[str, Any]]
"""A word that a program can switch on, a sentence, and facts."""


def is_held(job: Job, now: datetime) -> bool:
    """Return whether somebody has paused a job that would go on otherwise."""
    return state_of(job, now) in (State.PAUSED, State.WAITING, State.RETRYING) and is_paused(job, now)


def pause_of_job(job: Job) -> Held:
    """Return why a job that is paused itself does not run."""
    facts = {
        "paused_by": job.paused_by,
        "paused_why": job.pause_reason,
        "paused_at": job.paused_at,
        "until": job.paused_until,
    }
    return "paused", _paused("It", job.paused_by, job.pause_reason, job.paused_until, "it"), facts


def what_holds_back(job: Job, controls: Controls, uses: Sequence[Use], now: datetime) -> Held | None:
    """Return what keeps a job that is due from being claimed by anybody, or None."""
    pause = controls.pause_of(job.queue, job.job_type, now)
    if pause is not None:
        return _pause(pause)
    return next((held for use in uses if (held := _limit(use, job)) is not None), None)


def called(queue: str, job_type: str) -> str:
    """Return what a scope is called in a sentence; an empty name means any."""
    if not job_type:
        return f"the queue {queue!r}" if queue else "everything"
    return f"the job type {job_type!r}" + (f" in the queue {queue!r}" if queue else "")


def _pause(pause: Pause) -> Held:
    facts = {
        "pause": pause.id,
        "paused_by": pause.actor,
        "paused_why": pause.reason,
        "paused_at": pause.created_at,
        "until": pause.until,
    }
    word = "job_type_paused" if pause.job_type else "queue_paused" if pause.queue else "all_paused"
    what = called(pause.queue, pause.job_type)
    return word, _paused(what[0].upper() + what[1:], pause.actor, pause.reason, pause.until, "that"), facts


def _paused(what: str, actor: str | None, reason: str | None, until: datetime | None, it: str) -> str:
    end = "" if until is None else f", or at {time(until)}"
    return f"{what} was paused{by(actor)}{because(reason)}; it runs once {it} is resumed{end}."


def _limit(use: Use, job: Job) -> Held | None:
    """Why a job cannot begin under a limit, if it cannot."""
    limit, whose = use.limit, _whose(use.limit, job)
    facts = {"limit": limit.id, "running": use.running}
    if limit.concurrency is not None and use.running >= limit.concurrency:
        most = number(limit.concurrency, "running job")
        return "limit_reached", f"The limit of {most} of {whose} is reached ({use.running} running).", facts
    if use.permits is None or use.permits.granted > 0 or limit.per is None:
        return None
    facts["next_in"] = use.permits.retry_after
    rate = f"The rate of {limit.rate} per {limit.per.total_seconds():g} s of {whose}"
    if use.closed_until is not None:
        text = f"{rate} is closed until {time(use.closed_until)}: a handler was told that no more is allowed."
        return "rate_closed", text, {**facts, "until": use.closed_until}
    return "rate_reached", f"{rate} is used up; the next may begin in {use.permits.retry_after:.3g} s.", facts


def _whose(limit: Limit, job: Job) -> str:
    """Return what a limit is over, in a sentence about a job."""
    scope = called(limit.queue, limit.job_type)
    if not limit.is_of_groups:
        return scope
    group = f"the group {job.group_id!r}"
    return group if scope == "everything" else f"{group} of {scope}"
