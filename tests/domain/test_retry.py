"""When a failed attempt is tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.records import NewJob
from dataqueue_django.domain.retry import LONGEST, MODES, Backoff

ALMOST_ONE = 1 - 2**-53
chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 1000)


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 2), (2, 4), (3, 8), (9, 512)])
def test_the_default_is_two_to_the_nth_minutes_up_to_a_quarter_later(attempt: int, minutes: int) -> None:
    assert Backoff().seconds_after(attempt, 0) == minutes * 60
    assert Backoff().seconds_after(attempt, 0.5) == minutes * 60 * 1.125
    assert Backoff().seconds_after(attempt, ALMOST_ONE) == pytest.approx(minutes * 75)


def test_the_default_is_never_longer_than_a_day() -> None:
    assert Backoff().seconds_after(11, 0) == LONGEST
    assert Backoff().seconds_after(1000, ALMOST_ONE) == LONGEST


@pytest.mark.parametrize("mode", ["", "exponential"])
def test_exponential_is_half_to_all_of_the_doubled_delay(mode: str) -> None:
    rule = Backoff(delay=10, mode=mode)
    assert [rule.seconds_after(n, 0) for n in (1, 2, 3)] == [10, 20, 40]
    assert [rule.seconds_after(n, ALMOST_ONE) for n in (1, 2, 3)] == pytest.approx([20, 40, 80])


def test_linear_grows_by_the_delay_up_to_a_quarter_later() -> None:
    rule = Backoff(delay=10, mode="linear")
    assert [rule.seconds_after(n, 0) for n in (1, 2, 3)] == [10, 20, 30]
    assert [rule.seconds_after(n, ALMOST_ONE) for n in (1, 2, 3)] == pytest.approx([12.5, 25, 37.5])


def test_fixed_is_the_delay_whatever_the_chance() -> None:
    rule = Backoff(delay=10, mode="fixed")
    assert {rule.seconds_after(n, chance) for n in (1, 7, 1000) for chance in (0, 0.5, ALMOST_ONE)} == {10}


@pytest.mark.parametrize("mode", MODES)
def test_the_cap_holds_in_every_mode(mode: str) -> None:
    rule = Backoff(delay=10, mode=mode, longest=15)
    assert max(rule.seconds_after(n, ALMOST_ONE) for n in range(1, 1001)) <= 15


@given(st.none() | st.floats(0.001, 1e9), st.sampled_from(MODES), st.floats(0.001, LONGEST), attempts, chances)
def test_a_delay_is_never_negative_nor_longer_than_allowed(
    delay: float | None, mode: str, longest: float, attempt: int, chance: float
) -> None:
    seconds = Backoff(delay=delay, mode=mode, longest=longest).seconds_after(attempt, chance)
    assert 0 < seconds <= longest


@given(st.none() | st.floats(0.001, 1e6), st.sampled_from(MODES), chances, st.integers(1, 999))
def test_a_later_attempt_never_waits_less(delay: float | None, mode: str, chance: float, attempt: int) -> None:
    rule = Backoff(delay=delay, mode=mode)
    assert rule.seconds_after(attempt, chance) <= rule.seconds_after(attempt + 1, chance)


JOB = NewJob(job_type="send")


@pytest.mark.parametrize(
    ("job", "rule"),
    [
        (JOB, Backoff()),
        (replace(JOB, retry_delay_ms=1500), Backoff(delay=1.5)),
        (replace(JOB, retry_backoff="fixed"), Backoff(delay=60, mode="fixed")),
        (replace(JOB, retry_delay_max_ms=5000), Backoff(delay=60, longest=5)),
        (replace(JOB, retry_delay_ms=0, retry_backoff="linear"), Backoff(delay=0, mode="linear")),
        (replace(JOB, retry_delay_ms=1, retry_delay_max_ms=10**12), Backoff(delay=0.001)),
    ],
)
def test_the_rule_stored_with_a_job(job: NewJob, rule: Backoff) -> None:
    assert Backoff.of(job) == rule
