"""A Change is the only way a stored record moves: set these fields if this guard still holds, then do what follows.

The same `apply_change` serves the memory store and the ORM store's portable path, so a guard is judged in one place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from .records import JSON, EventType, Kind, NewJob


class Verb(StrEnum):
    """The transition a Change carries out; stores may have a faster way for some of them."""

    COMPLETE = "complete"
    FAIL = "fail"
    RELEASE = "release"
    SNOOZE = "snooze"
    RECLAIM = "reclaim"
    CANCEL = "cancel"
    RETRY = "retry"
    EDIT = "edit"
    PROGRESS = "progress"
    BEAT = "beat"
    EXPIRE = "expire"
    STOP = "stop"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class After:
    """A time relative to the store's own clock at the moment the change is applied."""

    seconds: float = 0.0

    def resolve(self, _current: Any, _fields: Mapping[str, Any], now: datetime) -> datetime:
        """Return the absolute time."""
        return now + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class Add:
    """The field's own value plus `amount`."""

    amount: int

    def resolve(self, current: Any, _fields: Mapping[str, Any], _now: datetime) -> int:
        """Return the sum."""
        return int(current) + self.amount


@dataclass(frozen=True, slots=True)
class Append:
    """The field's own list with `item`, stamped with the store's time, at its end; cut to the last `keep` items."""

    item: Mapping[str, JSON]
    keep: int

    def resolve(self, current: Any, _fields: Mapping[str, Any], now: datetime) -> tuple[JSON, ...]:
        """Return the longer list."""
        return (*(current or ()), {**self.item, "timestamp": now.isoformat()})[-self.keep :]


@dataclass(frozen=True, slots=True)
class FieldOf:
    """The value another field of the same record had before the change."""

    name: str

    def resolve(self, _current: Any, fields: Mapping[str, Any], _now: datetime) -> Any:
        """Return that field's value."""
        return fields[self.name]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The number `value` (None: the field's own), but no less than the field `other` plus `more`."""

    other: str
    more: int = 0
    value: int | None = None

    def resolve(self, current: Any, fields: Mapping[str, Any], _now: datetime) -> int:
        """Return the larger number."""
        return max(int(current) if self.value is None else self.value, int(fields[self.other]) + self.more)


RELATIVE = (After, Add, Append, FieldOf, AtLeast)
"""Values that a store resolves against the record and its own clock."""


class _Present(Collection[Any]):
    """Every value but None."""

    def __contains__(self, value: object) -> bool:
        return value is not None

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("PRESENT stands for values without number")

    def __len__(self) -> int:
        return sys.maxsize

    def __repr__(self) -> str:
        return "PRESENT"


PRESENT: Final = _Present()
"""In a guard: any value but None."""

Guard = Mapping[str, Collection[Any]]
"""Field name → the values it may have for the change to apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Set these fields on one record if its guard still holds; then do what follows.

    `event` is written in the same transaction. `spawn` is inserted only if the guard held, and its id stored in the
    field `link`. The Changes in `then` are tried only if the guard held; one of them failing its guard undoes nothing.
    """

    verb: Verb
    id: int
    kind: Kind = Kind.JOB
    guard: Guard = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    event: EventType | None = None
    metadata: JSON = None
    actor: str = ""
    spawn: NewJob | None = None
    link: str | None = None
    then: tuple[Change, ...] = ()


Alternatives = tuple[Change, ...]
"""An item of a commit: the first Change whose guard holds is applied, the others are not tried."""


class Verdict(StrEnum):
    """What became of one item of a commit."""

    APPLIED = "applied"
    LOST = "lost"
    BUSY = "busy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The answer for one item: its verdict, which alternative was applied, and the id of a spawned job.

    LOST means that no guard held: somebody else was faster, and nothing was written. BUSY (only where the caller did
    not want to wait) means that another transaction holds the record; nothing is known yet.
    """

    verdict: Verdict
    choice: int | None = None
    spawned: int | None = None

    @property
    def applied(self) -> bool:
        """Whether something was written."""
        return self.verdict is Verdict.APPLIED


def guard_holds(fields: Mapping[str, Any], guard: Guard) -> bool:
    """Return whether every guarded field has one of its allowed values."""
    return all(fields[name] in allowed for name, allowed in guard.items())


def apply_change(fields: Mapping[str, Any], change: Change, now: datetime) -> dict[str, Any] | None:
    """Return the new values of the fields that `change` sets, or None if its guard does not hold.

    `fields` needs only the columns that `columns_of(change)` names.
    """
    if not guard_holds(fields, change.guard):
        return None
    return {name: _resolve(name, value, fields, now) for name, value in change.set.items()}


def columns_of(change: Change) -> set[str]:
    """Return the names of the fields that judging and applying `change` reads."""
    names = set(change.guard)
    for name, value in change.set.items():
        if isinstance(value, Add | Append):
            names.add(name)
        elif isinstance(value, FieldOf):
            names.add(value.name)
        elif isinstance(value, AtLeast):
            names |= {name, value.other}
    return names


def targets(items: Collection[Alternatives], kind: Kind) -> list[int]:
    """Return the ids of all records of `kind` that `items` and their follow-ups name, ascending: the lock order."""
    found: set[int] = set()
    for alternatives in items:
        for change in alternatives:
            found.update(c.id for c in (change, *change.then) if c.kind is kind)
    return sorted(found)


def walk(alternatives: Alternatives, apply: Callable[[Change], tuple[bool, int | None]]) -> Committed:
    """Try `alternatives` in order with `apply`, then the follow-ups of the one that took.

    `apply` returns whether the guard held, and the id of the job it spawned, if any.
    """
    for choice, change in enumerate(alternatives):
        took, spawned = apply(change)
        if took:
            for follow_up in change.then:
                apply(follow_up)
            return Committed(verdict=Verdict.APPLIED, choice=choice, spawned=spawned)
    return Committed(verdict=Verdict.LOST)


def _resolve(name: str, value: Any, fields: Mapping[str, Any], now: datetime) -> Any:
    if isinstance(value, RELATIVE):
        return value.resolve(fields.get(name), fields, now)
    return value
