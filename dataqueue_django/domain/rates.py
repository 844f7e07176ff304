"""The arithmetic of a rate bucket: `limit` permits a window, refilled evenly, never more than `limit` at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .records import Permits


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one bucket: how many permits it held at a moment."""

    tokens: float
    at: datetime


def take(bucket: Bucket, *, want: int, limit: int, window: timedelta, now: datetime) -> tuple[Bucket, Permits]:
    """Return the bucket after taking up to `want` permits at `now`, and what was granted.

    A clock that went backwards refills nothing. `retry_after` is 0 when everything wanted was granted.
    """
    rate = limit / window.total_seconds()
    passed = max(0.0, (now - bucket.at).total_seconds())
    tokens = min(float(limit), bucket.tokens + passed * rate)
    granted = min(want, int(tokens + 1e-9))
    tokens -= granted
    wait = 0.0 if granted == want else max(0.0, (1 - tokens) / rate)
    return Bucket(tokens, max(now, bucket.at)), Permits(granted=granted, retry_after=wait)
