"""The arithmetic of rates: which of two ways, how many may begin now, and when the next may.

A sliding window remembers what began; at most `count` begin within any `per`. A bucket holds up to `burst` permits and
fills evenly, `count` of them in each `per`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .records import Permits

GRAINS = 100
"""A window remembers what began in so many parts of it: all of a part as if it had begun last, so never too many."""

MICROSECOND = timedelta(microseconds=1)
Begun = tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in each `per`: within any window of that length, or with `burst` from a bucket of that size."""

    count: int
    per: timedelta
    burst: int | None = None

    @property
    def per_second(self) -> float:
        """How many permits come back in a second."""
        return self.count / self.per.total_seconds()


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one rate at a moment: permits of a bucket, what began of a window, and until when it is closed.

    One that nobody has used yet has all its permits: `tokens` is None.
    """

    tokens: float | None
    at: datetime
    begun: Begun = ()
    closed_until: datetime | None = None


def room(rate: Rate, bucket: Bucket, now: datetime) -> Permits:
    """Return how many may begin at `now`, and if none, in how many seconds one may."""
    if bucket.closed_until is not None and bucket.closed_until > now:
        return Permits(granted=0, retry_after=(bucket.closed_until - now).total_seconds())
    if rate.burst is None:
        return _room_in_window(rate, bucket, now)
    tokens = _tokens(rate, rate.burst, bucket, now)
    granted = int(tokens + 1e-9)
    return Permits(granted=granted, retry_after=0.0 if granted else max(0.0, (1 - tokens) / rate.per_second))


def spend(rate: Rate, bucket: Bucket, count: int, now: datetime) -> Bucket:
    """Return the state after `count` jobs began at `now`."""
    if rate.burst is not None:
        return replace(bucket, tokens=_tokens(rate, rate.burst, bucket, now) - count, at=max(now, bucket.at))
    now = max(now, bucket.at)
    begun = _in_window(rate, bucket, now)
    if begun and _grain(rate, begun[-1][0]) == _grain(rate, now):
        begun, count = begun[:-1], count + begun[-1][1]
    return replace(bucket, begun=(*begun, (now, count)), at=now)


def take(bucket: Bucket, *, want: int, limit: int, window: timedelta, now: datetime) -> tuple[Bucket, Permits]:
    """Return a bucket of `limit` permits after taking up to `want` at `now`, and what was granted.

    A clock that went backwards refills nothing. `retry_after` is 0 when everything wanted was granted.
    """
    rate = Rate(limit, window, burst=limit)
    granted = min(want, room(rate, bucket, now).granted)
    left = spend(rate, bucket, granted, now)
    wait = 0.0 if granted == want else max(0.0, (1 - (left.tokens or 0.0)) / rate.per_second)
    return left, Permits(granted=granted, retry_after=wait)


def _tokens(rate: Rate, burst: int, bucket: Bucket, now: datetime) -> float:
    if bucket.tokens is None:
        return float(burst)
    passed = max(0.0, (now - bucket.at).total_seconds())
    return min(float(burst), bucket.tokens + passed * rate.per_second)


def _room_in_window(rate: Rate, bucket: Bucket, now: datetime) -> Permits:
    begun = _in_window(rate, bucket, now)
    left = rate.count - sum(count for _, count in begun)
    if left > 0:
        return Permits(granted=left)
    for began, count in begun:  # a rate that was lowered has more behind it than it allows
        left += count
        if left > 0:
            return Permits(granted=0, retry_after=max(0.0, (began + rate.per - now).total_seconds()))
    return Permits(granted=0, retry_after=rate.per.total_seconds())


def _in_window(rate: Rate, bucket: Bucket, now: datetime) -> Begun:
    return tuple((began, count) for began, count in bucket.begun if began + rate.per > now)


def _grain(rate: Rate, moment: datetime) -> int:
    return (moment - datetime.min.replace(tzinfo=moment.tzinfo)) // max(rate.per / GRAINS, MICROSECOND)
