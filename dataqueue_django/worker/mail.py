"""What handlers, the heartbeat and signal handlers tell the processor; it reads one letter at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..domain.changes import Alternatives
from .slots import Run


class ExitCode(IntEnum):
    """How a worker process ended, for shells and supervisors."""

    DRAINED = 0
    FAILED = 1
    USAGE = 2
    WEDGED = 75
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Started:
    """A handler with a deadline has begun."""

    run: Run


@dataclass(frozen=True, slots=True)
class Ended:
    """A handler has ended, and this is to be committed; for how many seconds it said that its rates are used up."""

    run: Run
    item: Alternatives
    rate_limited_for: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A handler has ended, and this was committed by itself."""

    run: Run
    item: Alternatives


@dataclass(frozen=True, slots=True)
class Returned:
    """A slot is free again after there was none: a handler is back, and its thread was looked after."""

    run: Run


@dataclass(frozen=True, slots=True)
class Reported:
    """A handler has told something, or moved its deadline, for the first time since that was last stored."""

    run: Run


@dataclass(frozen=True, slots=True)
class Wake:
    """Somebody may have added jobs."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The heartbeat found the worker's row expired."""

    worker_id: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what runs within so many seconds, and end."""

    within: float


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give everything back and end now."""

    code: int


Letter = Started | Ended | Finished | Returned | Reported | Wake | Expired | Stop | GiveBack
