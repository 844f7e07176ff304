"""How durations are said, and what a wait remembers."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.changes import After
from dataqueue_django.domain.waits import (
    LETTERS,
    UNITS,
    Wait,
    WaitKind,
    check_same,
    token_seconds,
    wait_moment,
    wait_seconds,
)
from dataqueue_django.exceptions import InvalidToken, InvalidWait, NonDeterministicHandler

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "units", "seconds"),
    [
        (timedelta(minutes=2), {}, 120),
        (1.5, {}, 1.5),
        (None, {"hours": 24}, 86_400),
        (None, {"months": 1, "days": -29}, 86_400),
        (None, {"years": 1}, 365 * 86_400),
        (None, {"weeks": 0.5, "minutes": 1}, 3.5 * 86_400 + 60),
    ],
)
def test_units_add_up(duration: Any, units: dict[str, float], seconds: float) -> None:
    assert wait_seconds(duration, units) == seconds


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.floats(0, 1), min_size=1))
def test_a_wait_is_positive_and_as_long_as_its_units(units: dict[str, float]) -> None:
    total = sum(UNITS[name] * n for name, n in units.items())
    if total > 0:
        assert wait_seconds(None, units) == total
    else:
        with pytest.raises(InvalidWait):
            wait_seconds(None, units)


@given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers(), st.timedeltas(), st.binary()))
def test_any_duration_is_taken_or_refused(duration: Any) -> None:
    with suppress(InvalidWait):
        assert 0 < wait_seconds(duration, {}) <= 3653 * 86_400


def test_a_moment_is_aware_and_near() -> None:
    assert wait_moment(NOW - timedelta(days=9), NOW) == NOW - timedelta(days=9)
    for wrong in (NOW.replace(tzinfo=None), NOW + timedelta(days=3654), "now", None, 5, NOW.date()):
        with pytest.raises(InvalidWait):
            wait_moment(wrong, NOW)


@given(st.integers(1, 365), st.sampled_from(list(LETTERS)))
def test_timeouts_of_tokens_can_be_spelled(number: int, letter: str) -> None:
    assert token_seconds(f"{number}{letter}") == number * LETTERS[letter]


@pytest.mark.parametrize(
    "wrong",
    ["10", "10x", "-5m", "1h30m", "366d", "9999999d", "9" * 5000 + "s", "٣d", " 5m", "5m\n", "5M", "", "m", 0, -1, True,
     float("nan"), float("inf"), timedelta(0), timedelta(days=366), [], b"5m", 10**400],
)  # fmt: skip
def test_no_other_timeout_is_taken(wrong: Any) -> None:
    with pytest.raises(InvalidToken, match="as in '48h'"):
        token_seconds(wrong)


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (5, 5), (0.5, 0.5), (timedelta(days=365), 365 * 86_400)])
def test_timeouts_of_tokens_can_be_lengths_of_time(given: Any, seconds: float | None) -> None:
    assert token_seconds(given) == seconds


WAITS = [
    Wait(kind=WaitKind.FOR, place=0, until=After(5)),
    Wait(kind=WaitKind.UNTIL, place=0, until=NOW),
    Wait(kind=WaitKind.TOKEN, place=0, token_id="wp_a"),
    Wait(kind=WaitKind.TOKEN, place=0, token_id="wp_b"),
]


@pytest.mark.parametrize("before", WAITS)
@pytest.mark.parametrize("now", WAITS)
def test_a_replay_has_to_wait_for_the_same(before: Wait, now: Wait) -> None:
    if before == now:
        check_same(now, before.step(1, 1, 1))
    else:
        with pytest.raises(NonDeterministicHandler, match="Wait 0 of this job was"):
            check_same(now, before.step(1, 1, 1))


def test_the_length_of_a_wait_may_change_for_those_who_begin_it() -> None:
    check_same(Wait(kind=WaitKind.FOR, place=0, until=After(99)), WAITS[0].step(1, 1, 1))
