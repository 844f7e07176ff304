"""The arithmetic of rate buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.rates import Bucket, take
from dataqueue_django.domain.records import Permits

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(seconds: float) -> datetime:
    """Return the time `seconds` after now."""
    return NOW + timedelta(seconds=seconds)


def test_taking_empties_the_bucket() -> None:
    bucket, permits = take(Bucket(10, NOW), want=4, limit=10, window=MINUTE, now=NOW)
    assert (bucket, permits) == (Bucket(6, NOW), Permits(granted=4))


def test_only_whole_permits_are_given() -> None:
    bucket, permits = take(Bucket(0, NOW), want=5, limit=10, window=MINUTE, now=at(15))
    assert permits == Permits(granted=2, retry_after=pytest.approx(3.0))
    assert bucket == Bucket(pytest.approx(0.5), at(15))


def test_it_never_holds_more_than_its_limit() -> None:
    bucket, _ = take(Bucket(3, NOW), want=0, limit=10, window=MINUTE, now=at(10**6))
    assert bucket.tokens == 10


def test_a_smaller_limit_takes_the_surplus_away() -> None:
    _, permits = take(Bucket(10, NOW), want=10, limit=4, window=MINUTE, now=NOW)
    assert permits.granted == 4


def test_a_clock_that_goes_backwards_fills_nothing_and_is_not_believed_later() -> None:
    bucket, permits = take(Bucket(0, at(60)), want=1, limit=10, window=MINUTE, now=NOW)
    assert permits.granted == 0
    assert bucket.at == at(60)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 30)), min_size=1, max_size=40),
    st.integers(1, 10),
    st.floats(1, 60),
)
def test_never_more_than_the_limit_and_the_rate_allow(
    steps: list[tuple[int, float]], limit: int, seconds: float
) -> None:
    bucket, now, granted = Bucket(float(limit), NOW), 0.0, 0
    for want, pause in steps:
        now += pause
        bucket, permits = take(bucket, want=want, limit=limit, window=timedelta(seconds=seconds), now=at(now))
        granted += permits.granted
        assert 0 <= permits.granted <= want
        assert (permits.retry_after == 0) == (permits.granted == want)
    assert granted <= limit + now * limit / seconds + 1e-3


@given(st.integers(1, 10), st.floats(1, 60), st.integers(1, 5))
def test_after_the_announced_wait_there_is_one(limit: int, seconds: float, want: int) -> None:
    window = timedelta(seconds=seconds)
    bucket, _ = take(Bucket(float(limit), NOW), want=limit, limit=limit, window=window, now=NOW)
    bucket, permits = take(bucket, want=want, limit=limit, window=window, now=at(0.01))
    later = at(0.01 + permits.retry_after + 1e-3)
    assert take(bucket, want=1, limit=limit, window=window, now=later)[1].granted == 1
