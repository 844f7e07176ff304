"""Doing the duties that are due: each by one process at a time, and none kept from its turn by another's failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..domain.changes import Change
from ..domain.duties import Done, fail, finish, is_due, new_duty, take
from ..domain.portable import portable
from ..domain.records import JSON, Duty, Kind
from ..logs import worker as logger
from ..stores import Store

OnError = Callable[[Exception], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chore:
    """What a duty is: its name, the seconds between two times, and what is done, given what was remembered.

    `do` may be done by two at once: when one takes longer than `every`. So whatever it writes carries a guard.
    """

    name: str
    every: float
    do: Callable[[JSON], Done]


@dataclass(frozen=True, kw_only=True, slots=True)
class DutyRound:
    """What came of the duties that were due and that nobody else had: what was done, and what went wrong."""

    done: Mapping[str, Done] = field(default_factory=dict)
    errors: Mapping[str, Exception] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """How many jobs can be claimed now that could not before."""
        return sum(one.ready for one in self.done.values())

    @property
    def more(self) -> tuple[str, ...]:
        """The duties that have more to do."""
        return tuple(name for name, one in self.done.items() if one.more)


def do_duties(store: Store, chores: Sequence[Chore], by: str, *, anyway: bool = False) -> DutyRound:
    """Do the duties that are due and that nobody else takes; with `anyway` also those that are not due yet.

    All are taken in one commit and reported on in another. One that raises is logged, and in its row; the others go on.
    """
    rows = _rows(store, chores)
    at = store.now()
    wanted = [chore for chore in chores if anyway or is_due(rows[chore.name], at)]
    if not wanted:
        return DutyRound()
    takings = [take(rows[chore.name], chore.every, by, at, anyway=anyway) for chore in wanted]
    answers = store.commit(takings, wait=False)
    mine = [chore for chore, answer in zip(wanted, answers, strict=True) if answer.applied]
    done: dict[str, Done] = {}
    errors: dict[str, Exception] = {}
    reports: list[Change] = []
    for chore in mine:
        try:
            done[chore.name] = _portable(chore.do(rows[chore.name].state))
            reports.append(finish(chore.name, by, at, done[chore.name]))
        except Exception as error:
            errors[chore.name] = error
            reports.append(fail(chore.name, by, at, error))
            _tell(store, chore.name, error)
            store.reconnect()
    store.commit([(report,) for report in reports])  # whoever else looks at these rows holds them for a moment only
    return DutyRound(done=done, errors=errors)


def _rows(store: Store, chores: Sequence[Chore]) -> dict[str, Duty]:
    """The row of each duty, made where there is none yet."""
    rows: dict[str, Duty] = {duty.id: duty for duty in store.find(Kind.DUTY)}
    new = [chore.name for chore in chores if chore.name not in rows]
    for name in new:
        store.put(new_duty(name))
    return {**rows, **{duty.id: duty for duty in store.find(Kind.DUTY)}} if new else rows


def _portable(done: Done) -> Done:
    """What was done, as every store can keep it; what cannot be kept is that duty's own failure, and no other's."""
    return replace(done, report=portable(dict(done.report), "report"), state=portable(done.state, "state"))


def _tell(store: Store, name: str, error: Exception) -> None:
    if store.is_lost_connection(error):
        logger.warning("the duty %r could not be done: %s", name, str(error).strip())
    else:
        logger.exception("the duty %r failed", name)
