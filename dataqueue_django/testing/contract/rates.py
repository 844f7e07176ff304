"""Rates: a bucket gives what it holds and fills evenly."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ...domain.records import Permits
from .base import Contract


class Rates(Contract):
    """See Store.take and domain.rates."""

    def test_a_new_bucket_is_full(self) -> None:
        assert self.take(3) == Permits(granted=3)
        self.falls_short(self.take(8), granted=7, wait=6.0)

    def test_an_empty_bucket_says_how_long_to_wait(self) -> None:
        self.take(10)
        self.falls_short(self.take(1), granted=0, wait=6.0)
        self.falls_short(self.take(1, at=4.5), granted=0, wait=1.5)
        assert self.take(1, at=6) == Permits(granted=1)

    def test_a_bucket_fills_evenly_and_never_over(self) -> None:
        self.take(10)
        assert self.take(10, at=30).granted == 5
        assert self.take(99, at=10_000).granted == 10

    def test_a_clock_that_goes_backwards_fills_nothing(self) -> None:
        self.take(10, at=60)
        assert self.take(1, at=0).granted == 0
        assert self.take(1, at=66).granted == 1

    def test_buckets_know_nothing_of_each_other(self) -> None:
        self.take(10, bucket="a")
        assert self.take(10, bucket="A").granted == 10
        assert self.take(1, bucket="a").granted == 0

    def test_asking_for_nothing(self) -> None:
        assert self.take(0) == Permits(granted=0)
        assert self.take(10) == Permits(granted=10)

    @staticmethod
    def falls_short(permits: Permits, *, granted: int, wait: float) -> None:
        """Assert that not everything was granted, and when the next one is there."""
        assert permits.granted == granted
        assert permits.retry_after == pytest.approx(wait)

    def take(self, want: int, *, at: float = 0, bucket: str = "mail") -> Permits:
        """Take from a bucket of ten a minute, `at` seconds from now."""
        window = timedelta(minutes=1)
        return self.store.take(bucket, want=want, limit=10, window=window, now=self.later(at))
