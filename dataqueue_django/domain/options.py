"""From what a caller says about a job to a NewJob that every store accepts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeGuard

from ..exceptions import InvalidJob, did_you_mean, shown
from .portable import is_plain_text, portable
from .records import JSON, NewJob
from .retry import MODES

INT32 = 2**31
TEN_YEARS = timedelta(days=3653)
LONGEST_TIMEOUT = 365 * 24 * 3600.0
MAX_ATTEMPTS = 1000
MAX_TAGS = 50
MOST_READ = 10_000
"""No more values of one list are looked at, repetitions included: it may have no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """How a job is to be run (DataQueue "JobOptions"). None means: the next source of defaults decides.

    `timeout`, `retry_delay` and `retry_delay_max` are seconds or timedelta. `retry_backoff` is "exponential", "linear"
    or "fixed"; True and False mean exponential and fixed. With `isolate` the handler runs in a process of its own,
    which is killed at the timeout; `force_kill_on_timeout` (DataQueue's name for it) requires that there is one.
    Jobs of one `group_id` (a customer, a host) take turns with those of other groups, and limits may hold for each.
    """

    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    run_at: datetime | None = None
    timeout: float | timedelta | None = None
    isolate: bool | None = None
    force_kill_on_timeout: bool | None = None
    retry_delay: float | timedelta | None = None
    retry_backoff: str | bool | None = None
    retry_delay_max: float | timedelta | None = None
    tags: Iterable[str] | None = None
    idempotency_key: str | None = None
    group_id: str | None = None

    def over(self, weaker: JobOptions) -> JobOptions:
        """Return these options, each one that is None taken from `weaker`."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return JobOptions(**{k: getattr(weaker, k) if v is None else v for k, v in mine.items()})


OPTION_NAMES = frozenset(f.name for f in fields(JobOptions))
ONE_JOB_S = ("run_at", "idempotency_key")
"""Options that belong to one job and cannot be defaults of many."""


def options_from(given: Mapping[str, Any], where: str = "add_job()") -> JobOptions:
    """Return the options in `given`; raises InvalidJob for an unknown name, naming the nearest one."""
    for name in given:
        if name not in OPTION_NAMES:
            raise InvalidJob(f"{where} got the unknown option {shown(name)}.{did_you_mean(name, OPTION_NAMES)}")
    options = JobOptions(**given)
    return options if options.tags is None else replace(options, tags=tag_list(options.tags))


def as_defaults(options: JobOptions) -> JobOptions:
    """Return options that are to serve many jobs; raises InvalidJob if they could not, whatever the job."""
    for name in ONE_JOB_S:
        if getattr(options, name) is not None:
            raise InvalidJob(f"{name} cannot be a default; it belongs to one job.")
    new_job("checked", None, options)
    return options


def new_job(job_type: str, payload: JSON, options: JobOptions, *, now: datetime | None = None) -> NewJob:
    """Return the job that `options` describe; raises InvalidJob naming the first option that is not acceptable.

    `now` bounds `run_at` (ten years ahead); without it only the form is checked.
    """
    return NewJob(
        job_type=name("job_type", job_type),
        payload=portable(payload),
        queue=name("queue", "default" if options.queue is None else options.queue),
        priority=whole("priority", options.priority, -INT32, INT32 - 1, 0),
        max_attempts=whole("max_attempts", options.max_attempts, 1, MAX_ATTEMPTS, 3),
        run_at=moment("run_at", options.run_at, now),
        timeout_ms=millis("timeout", options.timeout),
        isolate=_isolated(options),
        retry_delay_ms=millis("retry_delay", options.retry_delay),
        retry_backoff=backoff_word(options.retry_backoff),
        retry_delay_max_ms=millis("retry_delay_max", options.retry_delay_max),
        tags=tag_list(options.tags),
        idempotency_key=key("idempotency_key", options.idempotency_key),
        group_id=key("group_id", options.group_id),
    )


def _isolated(options: JobOptions) -> bool:
    """Return whether the job asks for a process of its own; a kill at a timeout that there is not is refused."""
    forced = options.force_kill_on_timeout is not None and flag("force_kill_on_timeout", options.force_kill_on_timeout)
    if forced and options.timeout is None:
        raise InvalidJob(
            "force_kill_on_timeout is True and there is no timeout; expected a timeout, or isolate=True to run the "
            "handler in a process of its own without one."
        )
    return forced or (options.isolate is not None and flag("isolate", options.isolate))


def backoff_word(value: Any) -> str:
    """Return the word for how delays grow: one of `retry.MODES`; True and False mean exponential and fixed."""
    if isinstance(value, bool):
        value = "exponential" if value else "fixed"
    return _one_of("retry_backoff", "" if value is None else value, MODES)


def name(field: str, value: Any, longest: int = 128) -> str:
    """Return `value` as the name of a queue or job type: 1 to `longest` characters, printable, no outer spaces."""
    text = plain(value)
    if not text or len(text) > longest:
        raise InvalidJob(f"{field} is {shown(value)}; expected a name of 1 to {longest} characters.")
    if text != text.strip() or not text.isprintable() or text == "__all__":
        raise InvalidJob(f"{field} is {shown(value)}; expected printable characters without spaces at either end.")
    return text


def key(field: str, value: Any, longest: int = 255) -> str | None:
    """Return `value` as a key that is compared byte for byte, or None."""
    if value is None:
        return None
    text = plain(value)
    if not text or len(text) > longest or not is_plain_text(text):
        raise InvalidJob(f"{field} is {shown(value)}; expected a string of 1 to {longest} characters.")
    return text


def plain(value: object) -> str | None:
    """Return a string as a plain one, whatever subclass it is of (an enumeration's, say); None for anything else."""
    return str.__str__(value) if isinstance(value, str) else None


def whole(field: str, value: Any, least: int, most: int, default: int) -> int:
    """Return `value` as an integer between `least` and `most`, or `default` for None."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidJob(f"{field} is {shown(value)}; expected a whole number from {least} to {most}.")
    return int(value)


def flag(field: str, value: Any) -> bool:
    """Return `value` if it is True or False: any other would be taken for one of them in silence."""
    if not isinstance(value, bool):
        raise InvalidJob(f"{field} is {shown(value)}; expected True or False.")
    return value


def seconds(field: str, value: Any, *, least: float = 0.0, most: float = LONGEST_TIMEOUT) -> float:
    """Return a duration given in seconds or as a timedelta, in seconds."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        raise InvalidJob(
            f"{field} is {shown(value)}; expected seconds or a timedelta from {least:g} to {most:g} seconds."
        )
    return float(number)


def millis(field: str, value: Any) -> int | None:
    """Return a duration of at least a millisecond in whole milliseconds, or None."""
    return None if value is None else round(seconds(field, value, least=0.001) * 1000)


def moment(field: str, value: Any, now: datetime | None) -> datetime | None:
    """Return an aware time at most ten years after `now`, or None."""
    if value is None:
        return None
    if not is_aware(value):
        raise InvalidJob(f"{field} is {shown(value)}; expected an aware datetime, as timezone.now() returns.")
    utc = in_utc(value)
    if utc is None or utc.year < 2 or (now is not None and utc - now > TEN_YEARS):
        raise InvalidJob(f"{field} is {shown(value)}; expected a time within the next ten years.")
    return utc


def is_aware(value: object) -> TypeGuard[datetime]:
    """Return whether `value` is a datetime that says how far from UTC it is."""
    if not isinstance(value, datetime):
        return False
    try:
        return value.utcoffset() is not None
    except Exception:  # whatever the caller's own tzinfo does
        return False


def in_utc(value: datetime) -> datetime | None:
    """Return an aware time as a plain datetime in UTC, or None for one that no calendar holds there."""
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        return None
    return datetime.combine(utc.date(), utc.time(), UTC)


def tag_list(value: Any) -> tuple[str, ...]:
    """Return tags as a tuple without repetitions, in the order given."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidJob(f"tags is {shown(value)}; expected a list of strings, such as ['vip'].")
    tags: dict[str, None] = {}
    for n, tag in enumerate(islice(value, MOST_READ)):
        text = plain(tag)
        if not text or len(text) > 128 or not is_plain_text(text):
            raise InvalidJob(f"tags holds {shown(tag)}; expected strings of 1 to 128 characters.")
        tags[text] = None
        if len(tags) > MAX_TAGS or n == MOST_READ - 1:
            raise InvalidJob(f"tags holds too many tags; expected at most {MAX_TAGS}.")
    return tuple(tags)


def _one_of(field: str, value: Any, words: tuple[str, ...]) -> str:
    if value in words:
        return str(value)
    allowed = ", ".join(repr(w) for w in words if w)
    raise InvalidJob(f"{field} is {shown(value)}; expected one of {allowed}.{did_you_mean(value, words)}")
