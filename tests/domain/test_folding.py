"""Minutes make hours, hours make days, and a window is read from whichever are complete."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.folding import OVERLAP, Folded, folded, next_bucket, segments
from dataqueue_django.domain.records import QueueStat, Resolution
from dataqueue_django.domain.statistics import bucket_of, total

MINUTE, HOUR, DAY = Resolution.MINUTE, Resolution.HOUR, Resolution.DAY
START = datetime(2030, 1, 1, tzinfo=UTC)

minutes = st.integers(0, 3 * 24 * 60 - 1).map(lambda n: START + timedelta(minutes=n))
moments = st.integers(0, 3 * 24 * 3600).map(lambda n: START + timedelta(seconds=n))


@st.composite
def minute_rows(draw: st.DrawFn) -> list[QueueStat]:
    """Rows of minutes of three days, by some writers."""
    keys = st.tuples(minutes, st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 3))
    return [
        QueueStat(
            resolution=MINUTE,
            bucket=bucket,
            queue=queue,
            job_type=job_type,
            writer=writer,
            completed=draw(st.integers(0, 9)),
            run_hist=tuple(draw(st.lists(st.integers(0, 3), max_size=3))),
        )
        for bucket, queue, job_type, writer in draw(st.sets(keys, max_size=25))
    ]


def all_folded(rows: Iterable[QueueStat], resolution: Resolution) -> list[QueueStat]:
    """Fold every bucket that there is anything in."""
    rows = list(rows)
    buckets = {bucket_of(row.bucket, resolution) for row in rows}
    return [
        row
        for bucket in sorted(buckets)
        for row in folded([r for r in rows if bucket_of(r.bucket, resolution) == bucket], resolution, bucket)
    ]


@given(minute_rows())
def test_folding_keeps_the_sums(rows: list[QueueStat]) -> None:
    hours = all_folded(rows, HOUR)
    days = all_folded(hours, DAY)
    assert total(rows) == total(hours) == total(days)
    assert sorted(all_folded(rows, DAY), key=repr) == sorted(days, key=repr)
    assert len({(row.bucket, row.queue, row.job_type) for row in days}) == len(days)


@given(minute_rows(), moments, moments, st.sampled_from(list(Resolution)), st.lists(minutes, max_size=3))
def test_a_window_counts_each_minute_once_however_far_folding_is(
    rows: list[QueueStat], since: datetime, seen: datetime, resolution: Resolution, left: list[datetime]
) -> None:
    since = bucket_of(since, resolution)
    hours = all_folded(rows, HOUR)
    tables = {MINUTE: rows, HOUR: hours, DAY: all_folded(hours, DAY)}
    progress = Folded(seen=seen, left=tuple(bucket_of(one, HOUR) for one in left))
    found = [
        row
        for fineness, begin, end in segments(since, resolution, progress)
        for row in tables[fineness]
        if begin <= row.bucket and (end is None or row.bucket < end)
    ]
    assert total(found) == total(row for row in rows if row.bucket >= since)


def test_without_any_folding_all_is_read_by_the_minute() -> None:
    assert list(segments(START, DAY, Folded())) == [(MINUTE, START, None)]


def test_what_is_complete_is_read_by_days_then_hours_then_minutes() -> None:
    now = START + timedelta(days=2, hours=5, minutes=30)
    progress = Folded().moved(now, left=(), minutes=None, hours=None)
    assert list(segments(START, DAY, progress)) == [
        (DAY, START, START + timedelta(days=2)),
        (HOUR, START + timedelta(days=2), START + timedelta(days=2, hours=5)),
        (MINUTE, START + timedelta(days=2, hours=5), None),
    ]


def test_an_hour_that_just_ended_is_not_complete() -> None:
    """Its last minutes may be written by transactions that are still open."""
    progress = Folded(seen=START + timedelta(hours=1) + OVERLAP / 2)
    assert progress.until(HOUR) == START


@given(moments, st.lists(minutes, max_size=3), st.none() | moments)
def test_what_a_duty_remembers_survives_json(seen: datetime, left: list[datetime], kept: datetime | None) -> None:
    progress = Folded(seen=seen, left=tuple(left), minutes_from=kept)
    assert Folded.of(json.loads(json.dumps(progress.state()))) == progress
    assert Folded.of(None) == Folded()


def test_only_whole_hours_that_are_folded_may_lose_their_minutes() -> None:
    now = START + timedelta(days=10, minutes=30)
    kept = {"minutes": timedelta(days=2), "hours": timedelta(days=5)}
    progress = Folded().moved(now, left=(), **kept)
    assert progress.minutes_from == START + timedelta(days=8)
    assert progress.hours_from == START + timedelta(days=5)
    behind = Folded().moved(now, left=(START + timedelta(days=1, hours=3),), **kept)
    assert behind.minutes_from == START + timedelta(days=1, hours=3)
    assert behind.hours_from == START + timedelta(days=1)
    longer = progress.moved(now, left=(), minutes=timedelta(days=9), hours=None)
    assert (longer.minutes_from, longer.hours_from) == (progress.minutes_from, progress.hours_from)


def test_what_has_lost_its_minutes_is_not_made_anew() -> None:
    progress = Folded(seen=START, minutes_from=START + timedelta(hours=3), hours_from=START + timedelta(days=1))
    written = [START + timedelta(hours=2, minutes=5), START + timedelta(hours=3, minutes=5)]
    assert progress.hours_to_fold(written) == [START + timedelta(hours=3)]
    assert progress.days_to_fold([START + timedelta(hours=3), START + timedelta(hours=30)]) == [
        START + timedelta(days=1)
    ]


def test_buckets_follow_each_other() -> None:
    assert next_bucket(START, HOUR) == START + timedelta(hours=1)
