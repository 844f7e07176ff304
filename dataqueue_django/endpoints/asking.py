"""What a request asks for: the query string, and the JSON body of a POST, read key by key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest

from .. import conf
from ..exceptions import InvalidFilter, did_you_mean, shown
from ..queue import JobQueue, get_queue

Read = Callable[[str, Any], Any]
"""(key, what was given) → its value; raises InvalidFilter."""

YES, NO = ("1", "true", "yes"), ("0", "false", "no")


def asked(request: HttpRequest, known: Mapping[str, Read]) -> dict[str, Any]:
    """Return the values of the keys that a request gives; a body beats the query string. Raises InvalidFilter."""
    given = {**request.GET.dict(), **_body(request)}
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known) or f" Known: {', '.join(known)}."
            raise InvalidFilter(f"{shown(key)} is not known here.{hint}")
    return {key: known[key](key, value) for key, value in given.items()}


def queue_of(given: Mapping[str, Any]) -> JobQueue:
    """Return the queue that `alias` names, or the project's first."""
    return get_queue(given.get("alias") or conf.home_alias())


def number(least: float, most: float) -> Read:
    """Return a reader of numbers within bounds."""

    def read(key: str, given: Any) -> float:
        value = _number(given)
        if value is None or not least <= value <= most:
            raise InvalidFilter(f"{key} is {shown(given)}; expected a number from {least:g} to {most:g}.")
        return value

    return read


def whole_number(least: int, most: int) -> Read:
    """Return a reader of whole numbers within bounds."""

    def read(key: str, given: Any) -> int:
        value = _number(given)
        if value is None or not least <= value <= most or not value.is_integer():
            raise InvalidFilter(f"{key} is {shown(given)}; expected a whole number from {least} to {most}.")
        return int(value)

    return read


def text(key: str, given: Any) -> str:
    """Read a string."""
    if not isinstance(given, str) or not given:
        raise InvalidFilter(f"{key} is {shown(given)}; expected a string.")
    return given


def names(key: str, given: Any) -> tuple[str, ...]:
    """Read a list of names: in JSON, or as A,B."""
    listed = given.split(",") if isinstance(given, str) else given
    if not isinstance(listed, list) or not listed:
        raise InvalidFilter(f"{key} is {shown(given)}; expected a list of names.")
    return tuple(text(key, one.strip() if isinstance(one, str) else one) for one in listed)


def yes_or_no(key: str, given: Any) -> bool:
    """Read a choice."""
    word = str(given).lower()
    if word not in YES + NO:
        raise InvalidFilter(f"{key} is {shown(given)}; expected true or false.")
    return word in YES


def alias(key: str, given: Any) -> str:
    """Read an alias of the DATAQUEUE setting."""
    if given not in conf.aliases():
        raise InvalidFilter(f"DATAQUEUE has no alias {shown(given)}.{did_you_mean(given, conf.aliases())}")
    return text(key, given)


def seconds(key: str, given: Any) -> float:
    """Read for how long a call may work: at most as long as DATAQUEUE_CRON_SECONDS allows."""
    return number(1, conf.project().cron_seconds)(key, given)  # type: ignore[no-any-return]


def _number(given: Any) -> float | None:
    try:
        return float(given) if isinstance(given, str | int | float) and not isinstance(given, bool) else None
    except (ValueError, OverflowError):
        return None


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.content_type != "application/json" or not request.body.strip():
        return {}  # a form has nothing to say here
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidFilter("The body is not a JSON object; expected one, or none.")
    return found
