"""Every error this package raises on purpose, and the signals a handler may raise to steer its job.

Errors say in one sentence what was wrong, what was expected and, where a word was mistyped, the nearest valid one.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured


class DataQueueError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(DataQueueError, ImproperlyConfigured):
    """A setting, a handler or a store is declared wrongly."""


class InvalidJob(DataQueueError, ValueError):
    """A job cannot be added as described; nothing was written."""


class InvalidPayload(InvalidJob):
    """A payload is outside the portable JSON subset or does not fit its handler."""


class InvalidEdit(InvalidJob, TypeError):
    """An edit names something that a job does not have or that cannot be changed."""


class IdempotencyConflict(InvalidJob):
    """In strict mode: the idempotency key belongs to a job of another type or payload; nothing was written."""


class PayloadTooLarge(InvalidPayload):
    """A payload is larger than the limit."""


class GroupFull(DataQueueError):
    """As many jobs of a group wait as may: nothing was added."""


class InvalidControl(DataQueueError, ValueError):
    """A pause, a limit or a queue that cannot be as described."""


class InvalidOutput(DataQueueError, ValueError):
    """A handler returned or set something that is not portable JSON."""


class InvalidProgress(DataQueueError, ValueError):
    """Progress outside 0..100, or of the wrong type."""


class InvalidFilter(DataQueueError, ValueError):
    """A query names an unknown field, order or limit."""


class NameTaken(DataQueueError, ValueError):
    """Something of this name exists already; nothing was written."""


class InvalidSchedule(DataQueueError, ValueError):
    """A schedule cannot fire as described; nothing was written."""


class ScheduleNotFound(DataQueueError, LookupError):
    """There is no schedule with this id or name."""


class InvalidWait(DataQueueError, ValueError):
    """A handler waits for something that cannot be waited for, or where it cannot wait."""


class InvalidStep(DataQueueError, ValueError):
    """A step has a name that cannot be one, returns something that is not portable JSON, or stands in another step."""


class DuplicateStepName(InvalidStep):
    """Two steps of one execution have the same name."""


class NonDeterministicHandler(DataQueueError):
    """A handler that is replayed does something else than what its history says."""


class InTransaction(DataQueueError):
    """A handler asks for something durable inside a transaction of its own, which could still be rolled back."""


class InvalidTimeout(DataQueueError, ValueError):
    """A handler asks for more time in a way that makes no sense."""


class LeaseLost(DataQueueError):
    """This execution no longer owns its job: nothing that it does can be stored any more."""


class ContextClosed(DataQueueError):
    """A context is used after its handler has ended."""


class TokenError(DataQueueError):
    """Base of what is wrong with tokens."""


class InvalidToken(TokenError, ValueError):
    """A token cannot be made as described, or something that is no token is taken for one."""


class TokenNotFound(TokenError, LookupError):
    """No token has this id."""


class InvalidAnswer(TokenError, ValueError):
    """What was to complete a token is not portable JSON, or not what the token asks for."""


class JobNotFound(DataQueueError, LookupError):
    """No job has this id."""


class JobStateError(DataQueueError):
    """The job, or the worker, is not in a state in which this may be done."""


class JobAborted(DataQueueError):
    """Raised by `signal.raise_if_aborted()` in a handler that was asked to stop; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the job was asked to stop: {reason}")
        self.reason = reason


class GiveUp(Exception):
    """Raised by a handler: the attempt failed and no further one makes sense."""


class RetryLater(Exception):
    """Raised by a handler: the attempt failed; the next one starts after `delay` (seconds or timedelta)."""

    def __init__(self, delay: float | timedelta, message: str = "") -> None:
        super().__init__(message or f"retry later ({delay})")
        self.delay = delay


class Snooze(Exception):
    """Raised by a handler: not now; run again after `delay` (seconds or timedelta) without using up an attempt."""

    def __init__(self, delay: float | timedelta, message: str = "") -> None:
        super().__init__(message or f"snoozed ({delay})")
        self.delay = delay


class RateLimited(Snooze):
    """Raised by a handler: somebody allows no more for now; run again after `retry_after` (seconds or timedelta).

    No attempt is used up. Where rates are over the job, nothing begins under the narrowest of them until then.
    """

    def __init__(self, retry_after: float | timedelta, message: str = "") -> None:
        super().__init__(retry_after, message or f"rate limited ({retry_after})")
        self.retry_after = retry_after


LONGEST_WORD = 200
"""No name is longer; what is compares too slowly."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string when none is near."""
    if not isinstance(word, str):
        return ""
    near = difflib.get_close_matches(str.__str__(word)[:LONGEST_WORD], [str(one) for one in known], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def or_known(word: object, known: Collection[str], most: int = 10) -> str:
    """Return which word was meant, or else which there are: the first so many."""
    names = [str(one) for one in known]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return did_you_mean(word, names) or f" Known: {', '.join(names[:most]) or 'none'}{more}."


def shown(value: object, limit: int = 80) -> str:
    """Return `value` for use in a message: its repr, control characters escaped, cut to `limit` characters.

    Never raises: a value without a repr is shown as its type.
    """
    try:
        text = repr(value[:limit] if isinstance(value, str | bytes) else value)
    except Exception:  # as that of an integer with more than 4300 digits
        text = f"<{type(value).__qualname__}>"
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:limit])
    return escaped if len(text) <= limit and len(escaped) <= limit else escaped[: limit - 1] + "…"
