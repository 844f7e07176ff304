"""What people ask of a job: cancel it, retry it, edit it, or stop it while it runs. Each returns what a commit tries.

A store judges the guards under the row's lock, so whoever comes second finds them not to hold, and nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..exceptions import InvalidEdit, InvalidJob, did_you_mean, shown
from .changes import PRESENT, Add, After, Alternatives, AtLeast, Change, Guard, Need, NotBefore, Verb
from .options import INT32, MAX_ATTEMPTS, backoff_word, millis, moment, tag_list, whole
from .pausing import NOT_PAUSED, UNPAUSED
from .records import CancelRequest, EventType, Job, JobStatus, Kind

NOT_STARTED = (JobStatus.PENDING,)


def cancel(job_id: int, *, actor: str = "", reason: str = "") -> Alternatives:
    """Cancel a job that has not started, that waits, or that failed and would be tried again."""
    fields = {
        "status": JobStatus.CANCELLED,
        "ready_at": None,
        "finished_at": After(),
        "last_cancelled_at": After(),
        "updated_at": After(),
        "resuming": False,
        "pending_reason": None,
        "wait_until": None,
        "wait_token_id": None,
    }
    guards: tuple[Guard, ...] = (
        {"status": (*NOT_STARTED, JobStatus.WAITING)},
        {"status": (JobStatus.FAILED,), "ready_at": PRESENT},
    )
    return tuple(
        Change(
            verb=Verb.CANCEL,
            id=job_id,
            guard=guard,
            set=fields,
            event=EventType.CANCELLED,
            metadata=_why(reason),
            actor=actor,
            withdraw=True,
        )
        for guard in guards
    )


def ask_to_stop(job_id: int, claim_seq: int, *, actor: str = "", reason: str = "") -> Alternatives:
    """Ask that the execution `claim_seq` of a running job stops, without locking the job; the last to ask is heard."""
    return (
        Change(
            verb=Verb.REQUEST,
            id=job_id,
            guard={"claim_seq": (claim_seq,)},
            event=EventType.CANCEL_REQUESTED,
            metadata=_why(reason),
            actor=actor,
            put=(CancelRequest(id=job_id, claim_seq=claim_seq, actor=actor, reason=reason),),
            unlocked=True,
        ),
    )


def still_in(job_id: int, claim_seq: int) -> Alternatives:
    """Change nothing, but find out behind the job's lock whether it is in this execution: its end is then to come."""
    return (Change(verb=Verb.REQUEST, id=job_id, guard={"claim_seq": (claim_seq,)}),)


def catch_up(request: CancelRequest, job: Job | None) -> Alternatives:
    """See to a request whose execution is over, given the job as it is now.

    The job had left its worker, or was claimed again, while the request was written. One that could run again is
    cancelled in the name of who asked, one that runs is asked anew, and after one that has ended the request goes.
    """
    guard = {"claim_seq": (request.claim_seq,)}
    of_it = Change(verb=Verb.REQUEST, kind=Kind.CANCEL, id=request.id, guard=guard)
    if job is None or job.is_terminal:
        return (replace(of_it, withdraw=True),)
    if job.status is JobStatus.PROCESSING:
        return (replace(of_it, set={"claim_seq": job.claim_seq}),)
    still = Need(Kind.CANCEL, request.id, guard)
    return tuple(replace(change, needs=(still,), as_asked=True) for change in cancel(request.id))


def cancel_upcoming(job_id: int, *, actor: str = "", still: Guard | None = None) -> Alternatives:
    """Cancel a job that has not started, if the fields in `still` have the values they had when it was chosen."""
    before, _ = cancel(job_id, actor=actor)
    guard = {"status": NOT_STARTED, **(still or {})}
    return (Change(verb=Verb.CANCEL, id=job_id, guard=guard, set=before.set, event=EventType.CANCELLED, actor=actor),)


def retry(job_id: int, *, actor: str = "") -> Alternatives:
    """Make a failed or cancelled job ready now, with at least one more attempt than it has used."""
    fields = {
        "status": JobStatus.PENDING,
        "ready_at": After(),
        "max_attempts": AtLeast("attempts", 1),
        "retried_count": Add(1),
        "last_retried_at": After(),
        "updated_at": After(),
        "finished_at": None,
        **NOT_PAUSED,
    }
    guard = {"status": (JobStatus.FAILED, JobStatus.CANCELLED)}
    return (
        Change(
            verb=Verb.RETRY,
            id=job_id,
            guard=guard,
            set=fields,
            event=EventType.RETRIED,
            actor=actor,
            withdraw=True,
        ),
    )


def edit(job_id: int, fields: Mapping[str, Any], *, actor: str = "", still: Guard | None = None) -> Alternatives:
    """Give a job that has not started new values, as `edited_fields` returns them.

    A new `run_at` also says from when it may be claimed, unless the job is paused or blocked.
    """
    guard = {"status": NOT_STARTED, **(still or {})}
    values = {**fields, "updated_at": After()}
    claimable = {**values, "ready_at": values["run_at"]} if "run_at" in values else values

    def change(guard: Guard, values: Mapping[str, Any]) -> Change:
        return Change(
            verb=Verb.EDIT,
            id=job_id,
            guard=guard,
            set=values,
            event=EventType.EDITED,
            metadata={"fields": sorted(fields)},
            actor=actor,
        )

    if "run_at" not in values:
        return (change(guard, values),)
    run_at = values["run_at"]
    held = {**values, "held_ready_at": run_at, "ready_at": NotBefore("paused_until", run_at)}
    unblocked = {**guard, "open_dependencies": (0,)}
    return (
        *(change({**unblocked, **unpaused}, claimable) for unpaused in UNPAUSED),
        change(unblocked, held),
        change(guard, values),
    )


EDITABLE = (
    "payload",
    "priority",
    "max_attempts",
    "run_at",
    "timeout",
    "tags",
    "retry_delay",
    "retry_backoff",
    "retry_delay_max",
)
"""What may be edited (DataQueue "EditJobOptions")."""

FIXED = ("id", "job_type", "queue", "status", "attempts", "idempotency_key", "claim_seq", "created_at")


def edited_fields(updates: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """Return the fields that `updates` change, for `edit`; raises InvalidJob for a value no job may have.

    A payload is left as it is given: what fits depends on the handler. None clears `timeout`, `tags` and the retry
    options; for `run_at` it means now, by the store's clock. `max_attempts` never ends up below the attempts already
    used plus one, so that an edited job can still run. Raises InvalidEdit for a name that cannot be edited.
    """
    for name in updates:
        if name in FIXED:
            raise InvalidEdit(f"{name!r} cannot be edited; add a new job instead.")
        if name not in EDITABLE:
            raise InvalidEdit(f"{shown(name)} cannot be edited.{did_you_mean(name, EDITABLE)}")
    fields: dict[str, Any] = {}
    for name, value in updates.items():
        fields |= _field(name, value, now)
    return fields


def _why(reason: str) -> dict[str, str] | None:
    return {"reason": reason} if reason else None


def _field(name: str, value: Any, now: datetime) -> dict[str, Any]:
    if name == "payload":
        return {"payload": value}
    if name == "tags":
        return {"tags": tag_list(value)}
    if name == "run_at":
        return {"run_at": After() if value is None else moment("run_at", value, now)}
    if name == "retry_backoff":
        return {"retry_backoff": backoff_word(value)}
    if name in ("timeout", "retry_delay", "retry_delay_max"):
        return {f"{name}_ms": millis(name, value)}
    if value is None:
        raise InvalidJob(f"{name} is None; expected a whole number, since it cannot be cleared.")
    if name == "priority":
        return {"priority": whole("priority", value, -INT32, INT32 - 1, 0)}
    return {"max_attempts": AtLeast("attempts", 1, whole("max_attempts", value, 1, MAX_ATTEMPTS, 3))}
