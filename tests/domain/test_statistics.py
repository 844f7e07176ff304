"""Histograms that can be added for ever, percentiles read off them, and what counts as what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.changes import Change
from dataqueue_django.domain.records import (
    ClaimedJob,
    Counts,
    EventType,
    FailureReason,
    QueueStat,
    Resolution,
)
from dataqueue_django.domain.statistics import (
    BOUNDS,
    NUMBERS,
    Tally,
    added,
    bucket_of,
    counted_as,
    counts_of,
    found_as,
    latency,
    percentile,
    place_of,
    resolution_for,
    stats_of,
    total,
    waited_for,
)
from dataqueue_django.domain.steering import cancel
from dataqueue_django.domain.transitions import (
    CRASH_LIMIT,
    Execution,
    Fault,
    complete,
    fail,
    park,
    reclaim,
    release,
    snooze,
    stopped,
    take_away,
)
from dataqueue_django.domain.waits import Wait, WaitKind

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MINUTE, HOUR, DAY = Resolution.MINUTE, Resolution.HOUR, Resolution.DAY
RUN, LAST_RUN = Execution(1, 1, 1, 3), Execution(1, 1, 3, 3)

durations = st.lists(st.floats(0, 20_000), min_size=1, max_size=60)
numbers = st.integers(0, 2**40)
histograms = st.lists(st.integers(0, 1000), max_size=len(BOUNDS) + 1).map(tuple)


def counts() -> st.SearchStrategy[Counts]:
    """Any counts, whether or not they fit together."""
    return st.builds(Counts, **dict.fromkeys(NUMBERS, numbers), run_hist=histograms, wait_hist=histograms)


def histogram_of(seconds: list[float]) -> list[int]:
    """Count durations as a worker does."""
    tally = Tally()
    for one in seconds:
        tally.began(one)
    return list(tally.counts().wait_hist)


def test_bounds_are_what_they_always_were() -> None:
    """Histograms of older versions stand in people's tables: a change here would make nonsense of them."""
    assert len(BOUNDS) == 25
    assert (BOUNDS[0], BOUNDS[-1], sum(BOUNDS)) == (20, 10_628_820, 25_148_042)
    ratios = [later / sooner for sooner, later in pairwise(BOUNDS)]
    assert all(1.70 < ratio < 1.76 for ratio in ratios)


@pytest.mark.parametrize(("ms", "place"), [(0, 0), (20, 0), (20.5, 1), (35, 1), (10_628_820, 24), (10**12, 25)])
def test_each_bound_belongs_to_its_place(ms: float, place: int) -> None:
    assert place_of(ms) == place


@given(counts(), counts(), counts())
def test_sums_do_not_depend_on_order_or_grouping(a: Counts, b: Counts, c: Counts) -> None:
    assert total((a, b, c)) == total((total((c, a)), b))
    assert total((a, Counts())) == total((a,))


@given(histograms, histograms)
def test_adding_histograms_loses_nothing(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    assert sum(added(a, b)) == sum(a) + sum(b)


@given(durations, durations)
def test_a_merged_histogram_is_that_of_all_durations(a: list[float], b: list[float]) -> None:
    merged, at_once = added(histogram_of(a), histogram_of(b)), histogram_of([*a, *b])
    assert merged == tuple(at_once)


@given(durations, st.sampled_from((0.5, 0.95, 0.99)))
def test_a_percentile_is_in_the_place_of_the_true_one(seconds: list[float], share: float) -> None:
    ordered = sorted(round(one * 1000) for one in seconds)
    true = next(ms for n, ms in enumerate(ordered, 1) if n >= share * len(ordered))
    told = percentile(histogram_of(seconds), share) * 1000
    if true <= BOUNDS[-1]:
        assert (BOUNDS[place_of(true) - 1] if place_of(true) else 0) <= told <= BOUNDS[place_of(true)] * 1.0001
    else:
        assert told >= BOUNDS[-1]


@given(durations)
def test_percentiles_rise(seconds: list[float]) -> None:
    histogram = histogram_of(seconds)
    found = latency(len(seconds), round(sum(seconds) * 1000), histogram)
    assert found is not None
    assert found.p50 <= found.p95 <= found.p99
    assert found.mean == pytest.approx(sum(seconds) / len(seconds), abs=0.001)


def test_nothing_has_no_latency() -> None:
    assert latency(0, 0, ()) is None


def test_a_tally_counts_what_it_is_told() -> None:
    tally = Tally()
    tally.began(None)
    tally.began(0.03)
    tally.ended("completed", 0.25)
    tally.ended("failed", 90.0)
    tally.ended("retried", 90.0)
    assert tally.counts() == Counts(
        started=2,
        completed=1,
        failed=1,
        retried=1,
        ran=1,
        run_ms_sum=250,
        run_hist=(0, 0, 0, 0, 0, 1),
        waited=1,
        wait_ms_sum=30,
        wait_hist=(0, 1),
    )


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        (complete(RUN), "completed"),
        (fail(RUN, Fault(reason=FailureReason.TIMEOUT, type="T", message=""), retry_in=1), "retried"),
        (fail(LAST_RUN, Fault(reason=FailureReason.TIMEOUT, type="T", message=""), retry_in=1), "failed"),
        (fail(RUN, Fault(reason=FailureReason.GIVEN_UP, type="T", message=""), retry_in=None), "failed"),
        (release(RUN, why="shutdown"), None),
        (snooze(RUN, 5), None),
        (park(RUN, Wait(kind=WaitKind.TOKEN, place=0, token_id="wp_1"))[0], None),
        (stopped(RUN)[0], None),
        (cancel(1)[0], None),
        (reclaim(RUN), None),
        (reclaim(LAST_RUN), None),
    ],
)
def test_what_a_worker_counts(change: Change, counter: str | None) -> None:
    assert counted_as(change) == counter


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        (reclaim(RUN), "retried"),
        (reclaim(LAST_RUN), "failed"),
        (reclaim(Execution(1, 1, 1, 9, CRASH_LIMIT - 1)), "failed"),
        (take_away(RUN, held_for=9), "retried"),
        (take_away(LAST_RUN, held_for=9), "failed"),
        (stopped(RUN)[1], "cancelled"),
        (cancel(1)[0], "cancelled"),
        (fail(LAST_RUN, Fault(reason=FailureReason.TIMEOUT, type="T", message=""), retry_in=1), None),
    ],
)
def test_what_is_counted_from_its_event(change: Change, counter: str | None) -> None:
    assert change.event is not None
    assert found_as(change.event, (change.metadata or {}).get("failureReason")) == counter
    assert counter is None or counted_as(change) is None, "counted twice"


def test_events_become_counts_by_lane() -> None:
    minute = bucket_of(NOW, MINUTE)
    found = {
        (EventType.ADDED, None, minute, "mail", "send"): 5,
        (EventType.CANCELLED, None, minute, "mail", "send"): 1,
        (EventType.CANCELLED, "timeout", minute, "mail", "send"): 2,
        (EventType.FAILED, "worker_lost", minute, "files", "read"): 3,
        (EventType.FAILED, "timeout", minute, "files", "scan"): 4,
    }
    assert counts_of(found) == {
        (minute, "mail", "send"): Counts(enqueued=5, cancelled=3),
        (minute, "files", "read"): Counts(failed=3),
    }


@pytest.mark.parametrize(
    ("given_", "waited"),
    [
        ({}, 7.0),
        ({"run_at": NOW - timedelta(days=1)}, 7.0),  # it could not wait before it was there
        ({"run_at": NOW - timedelta(seconds=2)}, 2.0),
        ({"claim_seq": 3}, None),
        ({"run_at": NOW + timedelta(seconds=2)}, 0.0),
    ],
)
def test_waits_count_from_when_a_job_was_ready_on_its_first_execution(
    given_: dict[str, Any], waited: float | None
) -> None:
    added_at = NOW - timedelta(seconds=7)
    fields = {"run_at": added_at, "created_at": added_at, "locked_at": NOW, "claim_seq": 1, "attempts": 1}
    blank = dict.fromkeys(ClaimedJob.__dataclass_fields__)
    assert waited_for(ClaimedJob(**{**blank, **fields, **given_})) == waited


@pytest.mark.parametrize(
    ("resolution", "bucket"),
    [
        (MINUTE, datetime(2030, 1, 2, 3, 4, tzinfo=UTC)),
        (HOUR, datetime(2030, 1, 2, 3, tzinfo=UTC)),
        (DAY, datetime(2030, 1, 2, tzinfo=UTC)),
    ],
)
def test_buckets_begin_on_the_hour_in_utc(resolution: Resolution, bucket: datetime) -> None:
    assert bucket_of(NOW, resolution) == bucket
    assert bucket_of(bucket, resolution) == bucket


def test_windows_have_some_two_hundred_points() -> None:
    assert resolution_for(timedelta(hours=3)) is MINUTE
    assert resolution_for(timedelta(hours=3, seconds=1)) is HOUR
    assert resolution_for(timedelta(days=7)) is HOUR
    assert resolution_for(timedelta(days=400)) is DAY


def test_stats_sum_writers_and_leave_gaps() -> None:
    since = bucket_of(NOW, MINUTE)

    def row(minute: int, writer: int, **given_: Any) -> QueueStat:
        bucket = since + timedelta(minutes=minute)
        return QueueStat(resolution=MINUTE, bucket=bucket, queue="q", job_type="t", writer=writer, **given_)

    rows = [
        row(0, 1, started=3, completed=2, ran=2, run_ms_sum=50, run_hist=(1, 1)),
        row(0, 2, started=1, completed=1, ran=1, run_ms_sum=10, run_hist=(1,)),
        row(5, 1, failed=1, retried=2),
    ]
    until = since + timedelta(minutes=10)
    stats = stats_of(rows, since=since, until=until, resolution=MINUTE, oldest_ready_age=4.0, as_of=NOW)
    assert (stats.started, stats.completed, stats.failed, stats.retried) == (4, 3, 1, 2)
    assert stats.throughput == pytest.approx(3 / 600)
    assert stats.failure_rate == 0.25
    assert stats.run is not None
    assert (stats.run.count, stats.run.mean) == (3, pytest.approx(0.02))
    assert stats.wait is None
    assert [(point.at, point.length, point.completed, point.failed) for point in stats.series] == [
        (since, timedelta(minutes=1), 3, 0),
        (since + timedelta(minutes=5), timedelta(minutes=1), 0, 1),
    ]
    assert stats.silent_for == pytest.approx((until - NOW).total_seconds())


def test_nothing_happened() -> None:
    stats = stats_of([], since=NOW, until=NOW, resolution=DAY, oldest_ready_age=None, as_of=None)
    assert (stats.throughput, stats.failure_rate, stats.series, stats.silent_for) == (0.0, None, (), None)
