"""Who does what has to be done now and then, and done by one: the changes by which a duty is taken and reported on.

Whoever moves `due_at` has the duty for one period, and everybody else quietly has not. Nobody holds a lock meanwhile,
and nobody has to give anything back: should the holder die, the duty comes due again like any other time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .changes import DUE, After, Alternatives, Change, Guard, Verb
from .portable import clean_text
from .records import JSON, Duty, Kind

LONGEST_ERROR = 500
PAUSE = 1.0
"""Seconds until a duty goes on that has not done all there is to do: others have to get at the store, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What one time of a duty did: numbers for people, `ready` jobs that can be claimed now, and what to remember.

    With `more` there is more to do than fits into one time; then it is due again after a pause.
    """

    report: Mapping[str, int] = field(default_factory=dict)
    ready: int = 0
    state: JSON = None
    more: bool = False


def new_duty(name: str) -> Duty:
    """Return a duty that was never done, due at once."""
    return Duty(id=name, due_at=After())


def is_due(duty: Duty, now: datetime) -> bool:
    """Return whether a duty can be taken, for those who would rather not ask in vain; the guard decides."""
    return duty.due_at is not None and duty.due_at <= now


def take(duty: Duty, every: float, by: str, at: datetime, *, anyway: bool = False) -> Alternatives:
    """Take a duty as it was read, if it is still so and due; then it is the taker's for `every` seconds.

    `anyway` takes it before it is due as well, but not from somebody who is at it. `at` is the store's time, by which
    the taker knows it again.
    """
    seen: Guard = {"started_at": (duty.started_at,), "done_by": (duty.done_by,), "finished_at": (duty.finished_at,)}
    guards: list[Guard] = [{**seen, "due_at": DUE}]
    if anyway and (duty.started_at is None or duty.finished_at is not None):
        guards.append(seen)
    fields = {"due_at": After(every), "started_at": at, "done_by": by, "finished_at": None}
    return tuple(Change(kind=Kind.DUTY, verb=Verb.DUTY, id=duty.id, guard=guard, set=fields) for guard in guards)


def finish(name: str, by: str, at: datetime, done: Done) -> Change:
    """Report what was done, if the duty is still that of who took it at `at`.

    What was done 0 times is left out: so those that had nothing to do are written in one statement.
    """
    report = {name: count for name, count in done.report.items() if count}
    fields = {"finished_at": After(), "report": report, "error": "", "state": done.state}
    return _reported(name, by, at, {**fields, "due_at": After(PAUSE)} if done.more else fields)


def fail(name: str, by: str, at: datetime, error: BaseException) -> Change:
    """Report that it could not be done; it is due again as usual, and remembers what it remembered."""
    return _reported(name, by, at, {"finished_at": After(), "error": in_one_line(error)})


def in_one_line(error: BaseException) -> str:
    """Return what an error says as one line that every store can keep."""
    text = " ".join(clean_text(error).split())
    return clean_text(f"{type(error).__name__}: {text}".removesuffix(": "), LONGEST_ERROR)


def _reported(name: str, by: str, at: datetime, fields: Mapping[str, object]) -> Change:
    guard: Guard = {"started_at": (at,), "done_by": (by,), "finished_at": (None,)}
    return Change(kind=Kind.DUTY, verb=Verb.DUTY, id=name, guard=guard, set=fields)
