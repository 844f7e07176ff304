"""A Change is the only way a stored record moves: set these fields if this guard still holds, then do what follows.

The same `apply_change` serves the memory store and the ORM store's portable path, so a guard is judged in one place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from .records import (
    JSON,
    CancelRequest,
    CronTick,
    EventType,
    JobLog,
    Kind,
    NewJob,
    QueueGauge,
    QueueStat,
    Step,
    Token,
)


class Verb(StrEnum):
    """The transition a Change carries out; stores may have a faster way for some of them."""

    COMPLETE = "complete"
    FAIL = "fail"
    RELEASE = "release"
    SNOOZE = "snooze"
    RECLAIM = "reclaim"
    CANCEL = "cancel"
    REQUEST = "request"
    RETRY = "retry"
    EDIT = "edit"
    PROGRESS = "progress"
    PARK = "park"
    WAKE = "wake"
    PROLONG = "prolong"
    PAUSE = "pause"
    RESUME = "resume"
    RECORD = "record"
    CLOSE = "close"
    BEAT = "beat"
    EXPIRE = "expire"
    STOP = "stop"
    TICK = "tick"
    DUTY = "duty"
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


@dataclass(frozen=True, slots=True)
class NotBefore:
    """A time, but not before the one in the field `other`; None where that field has none."""

    other: str
    value: datetime | After

    def resolve(self, current: Any, fields: Mapping[str, Any], now: datetime) -> datetime | None:
        """Return the later time."""
        value = self.value.resolve(current, fields, now) if isinstance(self.value, After) else self.value
        return None if fields[self.other] is None else max(value, fields[self.other])


RELATIVE = (After, Add, Append, FieldOf, AtLeast, NotBefore)
"""Values that a store resolves against the record and its own clock."""


class _Countless(Collection[Any]):
    """Values without number, known by a rule."""

    def __init__(self, name: str, holds: Callable[[object], bool]) -> None:
        self._name = name
        self._holds = holds

    def __contains__(self, value: object) -> bool:
        return self._holds(value)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self._name} stands for values without number")

    def __len__(self) -> int:
        return sys.maxsize

    def __repr__(self) -> str:
        return self._name


PRESENT: Final = _Countless("PRESENT", lambda value: value is not None)
"""In a guard: any value but None."""

AHEAD: Final = _Countless("AHEAD", lambda value: value is None)
"""In a guard: None, or a time that the store's clock has not reached (only that clock can tell)."""

DUE: Final = _Countless("DUE", lambda _value: False)
"""In a guard: a time that the store's clock has reached."""

Guard = Mapping[str, Collection[Any]]
"""Field name → the values it may have for the change to apply."""

SPAWNED: Final[Any] = type("Spawned", (), {"__repr__": lambda self: "SPAWNED"})()
"""In what is put with a spawned job, as a field's value or within the result of a Step: that job's id."""

Owned = Step | JobLog | Token | CancelRequest | CronTick | QueueStat | QueueGauge
"""What a Change can put beside its record."""


@dataclass(frozen=True, slots=True)
class Need:
    """Another record that must be there and meet a guard for a change to apply; both are locked."""

    kind: Kind
    id: int | str
    guard: Guard = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Set these fields on one record if its guard still holds; then do what follows.

    It applies only where `needs` are met as well. `event` is written in the same transaction. `spawn` is inserted only
    if the guard held, and its id stored in the field `link`; what is in `put` is inserted only then, too, a Step in the
    place of one of the same job, kind and name, a CancelRequest in that of one of the same job, and statistics in that
    of the same key. The Changes in `then` are tried only if the guard held; one that fails its guard undoes nothing.

    With `unlocked` the record is judged as it is read, without being locked; such a Change sets nothing. `withdraw`
    removes the request to cancel the job of this id, if there is one. What is done `as_asked` needs that request, and
    its event says who asked and why.
    """

    verb: Verb
    id: int | str
    kind: Kind = Kind.JOB
    guard: Guard = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    event: EventType | None = None
    metadata: JSON = None
    actor: str = ""
    spawn: NewJob | None = None
    link: str | None = None
    needs: tuple[Need, ...] = ()
    put: tuple[Owned, ...] = ()
    then: tuple[Change, ...] = ()
    unlocked: bool = False
    withdraw: bool = False
    as_asked: bool = False


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
    def is_busy(self) -> bool:
        """Whether another transaction holds the record."""
        return self.verdict is Verdict.BUSY

    @property
    def applied(self) -> bool:
        """Whether something was written."""
        return self.verdict is Verdict.APPLIED


def guard_holds(fields: Mapping[str, Any], guard: Guard, now: datetime) -> bool:
    """Return whether every guarded field has one of its allowed values."""
    return all(_allows(allowed, fields[name], now) for name, allowed in guard.items())


def apply_change(fields: Mapping[str, Any], change: Change, now: datetime) -> dict[str, Any] | None:
    """Return the new values of the fields that `change` sets, or None if its guard does not hold.

    `fields` needs only the columns that `columns_of(change)` names.
    """
    if not guard_holds(fields, change.guard, now):
        return None
    return {name: _resolve(name, value, fields, now) for name, value in change.set.items()}


def put_of(change: Change, now: datetime, spawned: int | None) -> list[Any]:
    """Return the records that `change` puts, with the times and the id that only the store knows."""
    return [dated(record, now, spawned) for record in change.put]


def speaking_for(change: Change, request: Mapping[str, Any]) -> Change:
    """Return a change that is done as asked with who asked and why, given the fields of the request."""
    why = {"reason": request["reason"]} if request["reason"] else {}
    return replace(change, actor=request["actor"], metadata={**(change.metadata or {}), **why} or None)


def dated(record: Any, now: datetime, spawned: int | None = None) -> Any:
    """Return a new record with its times by the store's clock: where it has none that says since when, and relative."""
    known = {f.name: getattr(record, f.name) for f in fields(record)}
    found = {name: _resolve(name, value, known, now) for name, value in known.items() if isinstance(value, RELATIVE)}
    found |= {name: now for name in ("created_at", "updated_at") if known.get(name, now) is None}
    found |= {name: spawned for name, value in known.items() if value is SPAWNED}
    result = known.get("result")
    if isinstance(result, dict) and any(value is SPAWNED for value in result.values()):
        found["result"] = {key: spawned if value is SPAWNED else value for key, value in result.items()}
    return replace(record, **found) if found else record


def columns_of(change: Change) -> set[str]:
    """Return the names of the fields that judging and applying `change` reads."""
    names = set(change.guard)
    for name, value in change.set.items():
        if isinstance(value, Add | Append):
            names.add(name)
        elif isinstance(value, FieldOf):
            names.add(value.name)
        elif isinstance(value, NotBefore):
            names.add(value.other)
        elif isinstance(value, AtLeast):
            names |= {name, value.other}
    return names


def targets(items: Collection[Alternatives], kind: Kind) -> list[Any]:
    """Return the ids of the records of `kind` that `items`, their follow-ups and needs lock, in the lock order."""
    return sorted({record.id for record in _named(items) if record.kind is kind and not _is_only_read(record)})


def only_read(items: Collection[Alternatives], kind: Kind) -> list[Any]:
    """Return the ids of the records of `kind` that `items` judge and that none of them locks, ascending."""
    read = {record.id for record in _named(items) if record.kind is kind and _is_only_read(record)}
    return sorted(read.difference(targets(items, kind)))


def _named(items: Collection[Alternatives]) -> Iterator[Change | Need]:
    for alternatives in items:
        for change in alternatives:
            for one in (change, *change.then):
                yield one
                yield from one.needs


def _is_only_read(record: Change | Need) -> bool:
    return isinstance(record, Change) and record.unlocked


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


def _allows(allowed: Collection[Any], value: Any, now: datetime) -> bool:
    if allowed is DUE:
        return value is not None and value <= now
    return value in allowed or (allowed is AHEAD and value > now)


def _resolve(name: str, value: Any, fields: Mapping[str, Any], now: datetime) -> Any:
    if isinstance(value, RELATIVE):
        return value.resolve(fields.get(name), fields, now)
    return value
