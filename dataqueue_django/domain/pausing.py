"""Pausing one job: it stays where it is, and nobody claims it until it is resumed or the pause has ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .changes import DUE, PRESENT, After, Alternatives, Change, FieldOf, Guard, NotBefore, Verb
from .lifecycle import TABLE, Cell, Operation, is_paused, state_of
from .records import FOREVER, EventType, Job, JobStatus

NOT_PAUSED: Mapping[str, Any] = dict.fromkeys(
    ("paused_at", "paused_by", "pause_reason", "paused_until", "held_ready_at")
)
"""The fields of a job that nobody has paused."""

UNPAUSED: tuple[Guard, ...] = ({"paused_at": (None,)}, {"paused_until": DUE})
"""What is true of a job that is not paused: nobody paused it, or that has ended."""


def pause(job_id: int, *, actor: str = "", reason: str = "", until: datetime | None = None) -> Alternatives:
    """Keep a job that has not started, that waits or that will be retried from being claimed.

    It stays so until it is resumed, or until a time. One whose token is closed meanwhile stays paused.
    """
    fields = {
        "paused_at": After(),
        "paused_by": actor,
        "pause_reason": reason,
        "paused_until": until,
        "held_ready_at": FieldOf("ready_at"),
        "updated_at": After(),
    }
    kinds: tuple[tuple[Guard, Any], ...] = (
        ({"status": (JobStatus.PENDING, JobStatus.WAITING)}, None if until is None else NotBefore("ready_at", until)),
        ({"status": (JobStatus.FAILED,), "ready_at": PRESENT}, NotBefore("ready_at", until or FOREVER)),
    )
    told = {**({"reason": reason} if reason else {}), **({} if until is None else {"until": until.isoformat()})} or None
    return tuple(
        Change(
            verb=Verb.PAUSE,
            id=job_id,
            guard={**guard, **unpaused},
            set={**fields, "ready_at": ready},
            event=EventType.PAUSED,
            metadata=told,
            actor=actor,
        )
        for guard, ready in kinds
        for unpaused in UNPAUSED
    )


def resume(job_id: int, *, actor: str = "") -> Alternatives:
    """Let a paused job be claimed from when it could have been."""
    return (
        Change(
            verb=Verb.RESUME,
            id=job_id,
            guard={"paused_at": PRESENT, "status": (JobStatus.PENDING, JobStatus.WAITING, JobStatus.FAILED)},
            set={**NOT_PAUSED, "ready_at": FieldOf("held_ready_at"), "updated_at": After()},
            event=EventType.UNPAUSED,
            actor=actor,
        ),
    )


def is_so_already(operation: Operation, job: Job, now: datetime) -> bool:
    """Return whether pausing or resuming a job has nothing to do, since it is as that would leave it."""
    cell = TABLE[operation][state_of(job, now)]
    if cell is Cell.SAME:  # the state does not say whether it is paused
        return is_paused(job, now) is (operation is Operation.PAUSE)
    return cell is Cell.NOTHING
