"""What a handler can wait for, and how durations are said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ..exceptions import InvalidToken, InvalidWait, NonDeterministicHandler, did_you_mean, shown
from .changes import After
from .options import TEN_YEARS, in_utc, is_aware
from .records import JSON, Step, StepKind

UNITS: Mapping[str, float] = {
    "seconds": 1.0,
    "minutes": 60.0,
    "hours": 3600.0,
    "days": 86_400.0,
    "weeks": 7 * 86_400.0,
    "months": 30 * 86_400.0,
    "years": 365 * 86_400.0,
}
"""The fields of a duration and their length in seconds (DataQueue "waitFor"): a month is 30 days, a year 365."""

LONGEST_WAIT = TEN_YEARS.total_seconds()
LONGEST_TOKEN = 365 * 86_400.0
LETTERS: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MOST_DIGITS = 9


class WaitKind(StrEnum):
    """The ways to wait; a replay has to meet the same one at the same place."""

    FOR = "wait_for"
    UNTIL = "wait_until"
    TOKEN = "wait_for_token"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """One wait of a handler: the `place`-th, counted from 0. Either `until` or `token_id` is set."""

    kind: WaitKind
    place: int
    until: datetime | After | None = None
    token_id: str | None = None

    def step(self, job_id: int, claim_seq: int, attempt: int, outcome: JSON = None) -> Step:
        """Return the record of this wait; `outcome` is what a token brought."""
        result: dict[str, JSON] = {"wait": self.kind.value}
        if self.token_id is not None:
            result["tokenId"] = self.token_id
        if outcome is not None:
            result["outcome"] = outcome
        return Step(
            job_id=job_id,
            kind=StepKind.WAIT,
            name=str(self.place),
            result=result,
            until=self.until,
            claim_seq=claim_seq,
            attempt=attempt,
        )

    def facts(self) -> dict[str, JSON]:
        """Return what the event of the wait says."""
        if self.token_id is not None:
            return {"waitTokenId": self.token_id}
        if isinstance(self.until, After):
            return {"waitForMs": round(self.until.seconds * 1000)}
        return {"waitUntil": None if self.until is None else self.until.isoformat()}


def check_same(wait: Wait, recorded: Step) -> None:
    """Raise NonDeterministicHandler if the handler waits for something else than it did at this place before."""
    before = recorded.result
    if before.get("wait") != wait.kind:
        raise NonDeterministicHandler(
            f"Wait {wait.place} of this job was {before.get('wait')}() and is {wait.kind.value}() now; expected the "
            "handler to wait in the same order as before, or changed code under a job type of its own."
        )
    if before.get("tokenId") != wait.token_id:
        raise NonDeterministicHandler(
            f"Wait {wait.place} of this job was for the token {shown(before.get('tokenId'))} and is for "
            f"{shown(wait.token_id)} now; expected the handler to wait for the same token as before."
        )


def wait_seconds(duration: Any, fields: Mapping[str, Any]) -> float:
    """Return how long to wait, given as a timedelta, as seconds, or in fields that add up.

    Raises InvalidWait for nothing, for both, for an unknown unit and for what is not positive or above ten years.
    """
    for name in fields:
        if name not in UNITS:
            raise InvalidWait(
                f"wait_for() got the unknown unit {shown(name)}; expected some of {', '.join(UNITS)}."
                f"{did_you_mean(name, UNITS)}"
            )
    if duration is not None and fields:
        raise InvalidWait("wait_for() got a duration and units; expected one of them.")
    if duration is None and not fields:
        raise InvalidWait("wait_for() got no duration; expected a timedelta, or units such as hours=24.")
    if isinstance(duration, timedelta):
        total = duration.total_seconds()
    elif duration is not None:
        total = _number("wait_for()", duration)
    else:
        total = sum(_number(f"{name} of wait_for()", value) * UNITS[name] for name, value in fields.items())
    if not 0 < total <= LONGEST_WAIT:
        raise InvalidWait(f"wait_for() is to wait {total:g} seconds; expected more than 0 and at most ten years.")
    return total


def wait_moment(given: Any, now: datetime) -> datetime:
    """Return the time that a handler waits until; raises InvalidWait for a naive one, or one over ten years away."""
    utc = in_utc(given) if is_aware(given) else None
    if utc is None:
        raise InvalidWait(f"wait_until() got {shown(given)}; expected an aware datetime, as timezone.now() returns.")
    if utc - now > TEN_YEARS:
        raise InvalidWait(f"wait_until() got {shown(given)}; expected a time within the next ten years.")
    return utc


def token_seconds(timeout: Any) -> float | None:
    """Return after how many seconds a token times out: given as seconds, a timedelta, or digits and s, m, h or d.

    None never. At most 365 days (DataQueue "createToken"). Raises InvalidToken.
    """
    if timeout is None:
        return None
    seconds = _spelled(timeout) if isinstance(timeout, str) else _plain_seconds(timeout)
    if seconds is None or not 0 < seconds <= LONGEST_TOKEN:
        raise InvalidToken(
            f"timeout is {shown(timeout)}; expected digits and one of s, m, h, d, as in '48h', "
            "or seconds or a timedelta, of at most 365 days."
        )
    return seconds


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidWait(f"{what} is {shown(value)}; expected a number.")
    if not abs(value) <= LONGEST_WAIT:  # NaN is not, either
        raise InvalidWait(f"{what} is {shown(value)}; expected a number of at most ten years.")
    return float(value)


def _plain_seconds(value: Any) -> float | None:
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return float(number) if 0 < number <= LONGEST_TOKEN else None


def _spelled(text: str) -> float | None:
    found = re.fullmatch(r"([0-9]+)([smhd])", str.__str__(text))
    if found is None or len(found[1]) > MOST_DIGITS:
        return None
    return int(found[1]) * LETTERS[found[2]]
