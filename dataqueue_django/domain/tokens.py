"""What becomes of a token, once: somebody completes it, or its time is up. Then the jobs that wait for it wake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ..exceptions import InvalidAnswer, InvalidPayload, InvalidToken, PayloadTooLarge, shown
from .changes import AHEAD, After, Alternatives, Change, FieldOf, Guard, Verb
from .filters import JobFilter
from .options import plain, tag_list
from .pausing import UNPAUSED
from .portable import is_plain_text, portable
from .records import JSON, EventType, JobStatus, Kind, Token, TokenStatus
from .waits import token_seconds

MAX_ANSWER = 256 * 1024
MAX_SCHEMA = 64 * 1024
PREFIX = "wp_"
TIMED_OUT = "Token timed out"
CLOSED = (TokenStatus.COMPLETED, TokenStatus.TIMED_OUT)


class Completion(StrEnum):
    """What `complete_token` did; only the first completion of a token that has time left is true."""

    COMPLETED = "completed"
    ALREADY_COMPLETED = "already_completed"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"

    def __bool__(self) -> bool:
        """Whether this call completed the token."""
        return self is Completion.COMPLETED


def new_token(
    drawn: UUID, *, timeout: Any = None, tags: Any = None, answer_schema: JSON = None, job_id: int | None = None
) -> Token:
    """Return a token to be stored, its id made of `drawn`; raises InvalidToken, or InvalidJob for its tags."""
    seconds = token_seconds(timeout)
    ends = None if seconds is None else After(seconds)
    return Token(
        id=f"{PREFIX}{drawn}",
        job_id=job_id,
        timeout_at=ends,
        due_at=ends,
        tags=tag_list(tags),
        answer_schema=answer_schema,
    )


def token_id(given: Any) -> str:
    """Return the id of a token, given as such or as the token; raises InvalidToken for what cannot be one."""
    text = plain(given.id if isinstance(given, Token) else given)
    if text is None or len(text) > 64 or not is_plain_text(text):
        raise InvalidToken(f"The id of a token is {shown(given)}; expected a string such as '{PREFIX}…'.")
    return text


def answer(given: Any) -> JSON:
    """Return what completes a token, as it is stored; raises InvalidAnswer."""
    try:
        return portable(given, "the answer", MAX_ANSWER)
    except (InvalidPayload, PayloadTooLarge) as why:
        raise InvalidAnswer(str(why)) from None


def complete(id: str, output: JSON, *, actor: str = "") -> Alternatives:
    """Complete a token that waits; if its time is up it times out instead."""
    done = _close(id, TokenStatus.COMPLETED, output=output, completed_by=actor)
    return (
        Change(verb=Verb.CLOSE, kind=Kind.TOKEN, id=id, guard={**done.guard, "timeout_at": AHEAD}, set=done.set),
        *expire(id),
    )


def expire(id: str) -> Alternatives:
    """Let a token that waits time out."""
    return (_close(id, TokenStatus.TIMED_OUT),)


def verdict(choice: int | None, found: Token | None) -> Completion:
    """Return what a completion did: which alternative was applied, or else how the token stands."""
    if choice is not None:
        return (Completion.COMPLETED, Completion.EXPIRED)[choice]
    if found is None:
        return Completion.NOT_FOUND
    return Completion.EXPIRED if found.status is TokenStatus.TIMED_OUT else Completion.ALREADY_COMPLETED


def wake(job_id: int, id: str) -> Alternatives:
    """Make a job ready that waits for a token; one that was paused meanwhile stays paused."""
    fields = {"status": JobStatus.PENDING, "resuming": True, "wait_token_id": None, "updated_at": After()}

    def change(paused: Guard, ready: Mapping[str, Any]) -> Change:
        return Change(
            verb=Verb.WAKE,
            id=job_id,
            guard={"status": (JobStatus.WAITING,), "wait_token_id": (id,), **paused},
            set={**fields, **ready},
            event=EventType.RESUMED,
            metadata={"waitTokenId": id},
        )

    now = {"ready_at": After()}
    held = {"ready_at": FieldOf("paused_until"), "held_ready_at": After()}
    return (*(change(unpaused, now) for unpaused in UNPAUSED), change({}, held))


def all_awake(id: str) -> Alternatives:
    """Note that nobody waits for a closed token any more."""
    return (Change(verb=Verb.CLOSE, kind=Kind.TOKEN, id=id, guard={"status": CLOSED}, set={"due_at": None}),)


def waiting_for(ids: Collection[str]) -> JobFilter:
    """Return which jobs wait for one of these tokens."""
    return JobFilter(statuses=(JobStatus.WAITING,), wait_token_ids=tuple(ids))


def is_over(token: Token, now: datetime) -> bool:
    """Return whether a token's time is up although it was not closed yet."""
    return token.status is TokenStatus.WAITING and token.timeout_at is not None and token.timeout_at <= now


def outcome(token: Token) -> JSON:
    """Return what a closed token means to those who waited for it."""
    if token.status is TokenStatus.COMPLETED:
        return {"ok": True, "output": token.output, "completed_by": token.completed_by}
    return timed_out()


def timed_out() -> dict[str, JSON]:
    """Return what a token whose time was up means to those who waited for it."""
    return {"ok": False, "error": TIMED_OUT}


def _close(id: str, status: TokenStatus, **fields: Any) -> Change:
    return Change(
        verb=Verb.CLOSE,
        kind=Kind.TOKEN,
        id=id,
        guard={"status": (TokenStatus.WAITING,)},
        set={"status": status, "completed_at": After(), "due_at": After(), **fields},
    )
