"""The arithmetic of rate buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.rates import GRAINS, Bucket, Rate, room, spend, take
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


steps_in_time = st.lists(st.tuples(st.integers(1, 6), st.floats(0, 7)), min_size=1, max_size=60)


@given(steps_in_time, st.integers(1, 5), st.floats(0.01, 20))
def test_no_window_of_its_length_has_more_than_a_rate_allows(
    steps: list[tuple[int, float]], count: int, seconds: float
) -> None:
    """However asked for: the sum over the half-open window before each moment at which something began."""
    rate = Rate(count, timedelta(seconds=seconds))
    bucket, now, begun = Bucket(None, NOW), NOW, list[tuple[datetime, int]]()
    for want, pause in steps:
        now += timedelta(seconds=pause)
        granted = min(want, room(rate, bucket, now).granted)
        if granted:
            bucket = spend(rate, bucket, granted, now)
            begun.append((now, granted))
        within = sum(number for at, number in begun if at > now - rate.per)
        assert within <= count
        assert len(bucket.begun) <= GRAINS + 1


@given(steps_in_time, st.integers(1, 5), st.integers(1, 9), st.floats(0.01, 20))
def test_a_bucket_never_gives_more_than_its_size_and_its_refill(
    steps: list[tuple[int, float]], count: int, burst: int, seconds: float
) -> None:
    rate = Rate(count, timedelta(seconds=seconds), burst)
    bucket, now, total = Bucket(None, NOW), NOW, 0
    for want, pause in steps:
        now += timedelta(seconds=pause)
        granted = min(want, room(rate, bucket, now).granted)
        bucket, total = spend(rate, bucket, granted, now), total + granted
        assert total <= burst + rate.per_second * (now - NOW).total_seconds() + 1e-6


@given(steps_in_time, st.integers(1, 5), st.sampled_from([None, 1, 3]), st.floats(0.01, 20))
def test_who_waits_as_long_as_it_says_gets_one(
    steps: list[tuple[int, float]], count: int, burst: int | None, seconds: float
) -> None:
    rate = Rate(count, timedelta(seconds=seconds), burst)
    bucket, now = Bucket(None, NOW), NOW
    for want, pause in steps:
        now += timedelta(seconds=pause)
        permits = room(rate, bucket, now)
        if not permits.granted:
            assert 0 < permits.retry_after <= seconds + 1e-6
            now += timedelta(seconds=permits.retry_after + 2e-6)
            permits = room(rate, bucket, now)
            assert permits.granted
        bucket = spend(rate, bucket, min(want, permits.granted), now)


def test_a_window_that_nobody_used_before_has_all_its_room_and_nearly_all_of_it_later() -> None:
    rate = Rate(1000, timedelta(seconds=10))
    bucket, now, total = Bucket(None, NOW), NOW, 0
    while now < NOW + timedelta(seconds=60):
        granted = min(7, room(rate, bucket, now).granted)
        bucket, total = (spend(rate, bucket, granted, now) if granted else bucket), total + granted
        now += timedelta(milliseconds=50)
    assert 0.95 * 6000 <= total <= 7000


def test_a_closed_rate_has_no_room_until_its_time() -> None:
    rate = Rate(5, MINUTE, burst=5)
    bucket = Bucket(None, NOW, closed_until=at(3))
    assert room(rate, bucket, NOW) == Permits(granted=0, retry_after=3)
    assert room(rate, bucket, at(3)) == Permits(granted=5)
