"""From what a caller says about the jobs meant to a JobFilter; anything unclear is an InvalidFilter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeGuard

from ..exceptions import InvalidFilter, did_you_mean, shown
from .filters import EVERYTHING, JobFilter, TagMatch, TagMode, TimeRange
from .options import MAX_TAGS, MOST_READ, in_utc, is_aware, plain
from .portable import is_plain_text
from .records import ENDED, JobStatus

MOST_VALUES = 1000
MOST_JOBS = 10_000
"""The longest page: callers that want more go on from the last id they saw."""

BIGINT = 2**63
SHORTEST_WINDOW, LONGEST_WINDOW = 60, 3650 * 86_400
"""Seconds that statistics can be told of."""

Reader = Callable[[str, Any], Any]
"""(name, value) → the value as it is looked for; raises InvalidFilter."""


def filter_from(given: object) -> JobFilter:
    """Return the filter that `given` means: None (everything), a JobFilter, or a mapping of its names.

    In a mapping `job_type`, `queue`, `status`, `priority` and the like may be written for one value as well as for
    several. `run_at` is a datetime, a TimeRange or a mapping of `gt`, `gte`, `lt`, `lte`, `eq`; `tags` is a list (all
    of them), a TagMatch or a mapping of `values` and `mode` (DataQueue "getJobs"). Raises InvalidFilter.
    """
    if given is None:
        return EVERYTHING
    if isinstance(given, JobFilter):
        given = {f.name: value for f in fields(JobFilter) if (value := getattr(given, f.name)) != f.default}
    if not isinstance(given, Mapping):
        raise InvalidFilter(f"filters is {shown(given)}; expected a mapping such as {{'job_type': 'send'}}.")
    found: dict[str, Any] = {}
    for word, value in given.items():
        name = SINGULAR.get(word, word) if isinstance(word, str) else word
        if name not in READ:
            raise InvalidFilter(f"{shown(word)} is not a filter.{did_you_mean(word, (*SINGULAR, *READ))}")
        if name in found:
            raise InvalidFilter(f"{word!r} is given twice; expected either {word!r} or {name!r}.")
        found[name] = READ[name](word, value)
    return JobFilter(**found)


def page_limit(given: object, most: int = MOST_JOBS, name: str = "limit") -> int:
    """Return `given` as the length of a page or batch; raises InvalidFilter."""
    return _whole(name, given, 1, most)


def page_offset(given: object, after: object) -> int:
    """Return `given` as the number of jobs to skip; raises InvalidFilter, also beside an `after`."""
    offset = _whole("offset", given, 0, BIGINT - 1)
    if offset and after is not None:
        raise InvalidFilter("offset and after are both given; expected one of them.")
    return offset


def job_id_from(given: object, name: str = "job_id") -> int:
    """Return a job's id; raises InvalidFilter for what cannot be one. Ids beyond 64 bits are those of no job."""
    number = _id(name, given)
    return number if abs(number) < BIGINT else 0


def page_after(given: object) -> int | None:
    """Return the id that a page begins after, or None; raises InvalidFilter. One beyond 64 bits is beyond all jobs."""
    return None if given is None else max(-BIGINT + 1, min(_id("after", given), BIGINT - 1))


def _id(name: str, given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidFilter(f"{name} is {shown(given)}; expected a whole number.")
    return int(given)


def amount(name: str, given: object, *, least: float = 0.0, above: float | None = None, most: float) -> float:
    """Return `given` as a number from `least`, or greater than `above`, to `most`; raises InvalidFilter."""
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if number and least <= given <= most and (above is None or given > above):  # type: ignore[operator]
        return float(given)  # type: ignore[arg-type]
    start = f"from {least:g}" if above is None else f"above {above:g}"
    raise InvalidFilter(f"{name} is {shown(given)}; expected a number {start} up to {most:g}.")


def window_from(given: object) -> timedelta:
    """Return how far back to look, given as a timedelta or in seconds; raises InvalidFilter."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    try:
        return timedelta(seconds=amount("window", seconds, least=SHORTEST_WINDOW, most=LONGEST_WINDOW))
    except InvalidFilter:
        span = f"from {SHORTEST_WINDOW} s to {LONGEST_WINDOW // 86_400} days"
        raise InvalidFilter(f"window is {shown(given)}; expected a timedelta or seconds, {span}.") from None


def name_from(name: str, given: object) -> str | None:
    """Return the one queue or job type that is meant, None for any; raises InvalidFilter."""
    return None if given is None else _text(name, given)


def flag_from(name: str, given: object) -> bool:
    """Return True or False; raises InvalidFilter for all else, since it would mean one of them in silence."""
    if not isinstance(given, bool):
        raise InvalidFilter(f"{name} is {shown(given)}; expected True or False.")
    return given


def ends_from(given: object) -> frozenset[JobStatus]:
    """Return one or several statuses in which jobs have ended; raises InvalidFilter."""
    wrong = f"statuses is {shown(given)}; expected some of {', '.join(sorted(ENDED))}, since other jobs go on."
    if not isinstance(given, str) and not _is_list(given):
        raise InvalidFilter(wrong)
    words = (given,) if isinstance(given, str) else given
    statuses = frozenset(_each("statuses", words, lambda _, word: status_from(word)))
    if not statuses or not statuses <= ENDED:
        raise InvalidFilter(wrong)
    return statuses


def status_from(given: object) -> JobStatus:
    """Return a status by its word; raises InvalidFilter naming the words there are."""
    if (word := plain(given)) in tuple(JobStatus):
        return JobStatus(word)
    words, hint = ", ".join(JobStatus), did_you_mean(given, JobStatus)
    raise InvalidFilter(f"{shown(given)} is not a status; expected one of {words}.{hint}")


def tags_from(given: object, mode: object = TagMode.ALL) -> TagMatch:
    """Return what tags to look for; raises InvalidFilter. Without tags only the mode "exact" says what is meant."""
    how = _mode(mode)
    if isinstance(given, TagMatch):
        return tags_from(given.values, given.mode)
    if isinstance(given, Mapping):
        _check_names("tags", given, ("values", "mode"))
        return tags_from(_listed("tags", given.get("values")), given.get("mode", TagMode.ALL))
    values = _each("tags", _listed("tags", given), _text, most=MAX_TAGS)
    if not values and how is not TagMode.EXACT:
        raise InvalidFilter("tags is empty; expected at least one tag, or the mode 'exact' for jobs without tags.")
    return TagMatch(values, how)


def times_from(name: str, given: object) -> TimeRange:
    """Return the bounds of a time; raises InvalidFilter. A datetime alone means that very moment."""
    if isinstance(given, datetime):
        given = {"eq": given}
    if isinstance(given, TimeRange):
        given = {f.name: value for f in fields(TimeRange) if (value := getattr(given, f.name)) is not None}
    if not isinstance(given, Mapping):
        raise InvalidFilter(f"{name} is {shown(given)}; expected a datetime, or a mapping such as {{'gte': ...}}.")
    _check_names(name, given, [f.name for f in fields(TimeRange)])
    bounds = {word: _moment(f"{name}.{word}", value) for word, value in given.items() if value is not None}
    if not bounds:
        raise InvalidFilter(f"{name} has no bound; expected one of gt, gte, lt, lte, eq.")
    if "eq" in bounds and len(bounds) > 1:
        raise InvalidFilter(f"{name} has 'eq' beside other bounds; expected 'eq' alone.")
    return TimeRange(**bounds)


def _moment(name: str, given: object) -> datetime:
    if is_aware(given) and (utc := in_utc(given)) is not None:
        return utc
    raise InvalidFilter(f"{name} is {shown(given)}; expected an aware datetime, as timezone.now() returns.")


def _mode(given: object) -> TagMode:
    if (word := plain(given)) in tuple(TagMode):
        return TagMode(word)
    words, hint = ", ".join(TagMode), did_you_mean(given, TagMode)
    raise InvalidFilter(f"{shown(given)} is not a mode of tags; expected one of {words}.{hint}")


def _is_list(given: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)


def _listed(name: str, given: object) -> Iterable[Any]:
    if not _is_list(given):
        raise InvalidFilter(f"{name} is {shown(given)}; expected a list of strings, such as ['vip'].")
    return given


def _each(name: str, given: Iterable[Any], one: Reader, most: int = MOST_VALUES) -> tuple[Any, ...]:
    """Return every value, read with `one`, without repetitions."""
    values: dict[Any, None] = {}
    for n, value in enumerate(islice(given, MOST_READ)):
        values[one(name, value)] = None
        if len(values) > most or n == MOST_READ - 1:
            raise InvalidFilter(f"{name} has too many values; expected at most {most}.")
    return tuple(values)


def _given(name: str, given: object, one: Reader) -> tuple[Any, ...]:
    """Return one value, or each of several. None at all would mean everything, so it has to be said otherwise."""
    values = _each(name, given if _is_list(given) else (given,), one)
    if not values:
        raise InvalidFilter(f"{name} is empty; expected at least one value, or no {name} for any.")
    return values


def _text(name: str, given: object) -> str:
    text = plain(given)
    if text is not None and len(text) <= 255 and is_plain_text(text):
        return text
    raise InvalidFilter(f"{name} holds {shown(given)}; expected a string of at most 255 characters.")


def _number(name: str, given: object) -> int:
    return _whole(name, given, -BIGINT + 1, BIGINT - 1)


def _whole(name: str, given: object, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise InvalidFilter(f"{name} is {shown(given)}; expected a whole number from {least} to {most}.")
    return int(given)


def _check_names(where: str, given: Mapping[Any, Any], known: Iterable[str]) -> None:
    for word in given:
        if word not in known:
            raise InvalidFilter(f"{where} has the unknown key {shown(word)}.{did_you_mean(word, known)}")


READ: dict[str, Reader] = {
    "ids": lambda name, given: _given(name, given, lambda name, one: job_id_from(one, name)),
    "statuses": lambda name, given: _given(name, given, lambda _, one: status_from(one)),
    "queues": lambda name, given: _given(name, given, _text),
    "job_types": lambda name, given: _given(name, given, _text),
    "priorities": lambda name, given: _given(name, given, _number),
    "run_at": times_from,
    "tags": lambda _, given: tags_from(given),
    "held": flag_from,
    "worker_ids": lambda name, given: _given(name, given, _number),
    "idempotency_keys": lambda name, given: _given(name, given, _text),
    "wait_token_ids": lambda name, given: _given(name, given, _text),
}
"""Field of JobFilter → how its value is read."""

SINGULAR = {
    "id": "ids",
    "status": "statuses",
    "queue": "queues",
    "job_type": "job_types",
    "priority": "priorities",
    "worker_id": "worker_ids",
    "idempotency_key": "idempotency_keys",
    "wait_token_id": "wait_token_ids",
}
"""Word for one value → the field of JobFilter."""
