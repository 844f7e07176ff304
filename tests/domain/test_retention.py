"""What may go, and how much at a time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.records import JobStatus
from dataqueue_django.domain.retention import DAY, LEAST_LOT, OVERLAP, Sweep, begin_at, next_lot, sweeps

DONE, FAILED = JobStatus.COMPLETED, JobStatus.FAILED
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_without_times_of_their_own_all_types_go_by_the_setting() -> None:
    assert sweeps({DONE: 30, FAILED: None}, {}) == [Sweep(status=DONE, keep=30 * DAY)]


def test_a_time_of_its_own_outranks_the_setting_in_both_directions() -> None:
    assert sweeps({DONE: 30}, {DONE: {"a": 60, "b": 400 * DAY, "c": 60, "d": math.inf}}) == [
        Sweep(status=DONE, keep=60, job_types=("a", "c")),
        Sweep(status=DONE, keep=400 * DAY, job_types=("b",)),
        Sweep(status=DONE, keep=30 * DAY, exclude_job_types=("a", "b", "c", "d")),
    ]


def test_failed_jobs_stay_unless_somebody_says_so() -> None:
    assert sweeps({FAILED: None}, {FAILED: {}, DONE: {}}) == []
    assert sweeps({FAILED: None}, {FAILED: {"a": 60}}) == [Sweep(status=FAILED, keep=60, job_types=("a",))]


KEPT = st.dictionaries(st.sampled_from("abc"), st.sampled_from([60.0, 90 * DAY, math.inf]))


@given(st.none() | st.floats(0, 100), KEPT, st.sampled_from("abcx"), st.floats(0, 200 * DAY))
def test_a_job_goes_by_one_rule_only(days: float | None, own: dict[str, float], job_type: str, age: float) -> None:
    kept = own.get(job_type, math.inf if days is None else days * DAY)
    by = [
        sweep
        for sweep in sweeps({DONE: days}, {DONE: own})
        if (not sweep.job_types or job_type in sweep.job_types) and job_type not in sweep.exclude_job_types
    ]
    assert len(by) <= 1
    assert any(age > sweep.keep for sweep in by) == (age > kept)


def test_a_change_of_what_is_kept_is_remembered_as_another_sweep() -> None:
    one = Sweep(status=DONE, keep=60, job_types=("a",))
    others = [
        Sweep(status=FAILED, keep=60, job_types=("a",)),
        Sweep(status=DONE, keep=61, job_types=("a",)),
        Sweep(status=DONE, keep=60, job_types=("a", "b")),
        Sweep(status=DONE, keep=60, exclude_job_types=("a",)),
    ]
    assert one.key == Sweep(status=DONE, keep=60, job_types=("a",)).key
    assert one.key not in {other.key for other in others}


def test_a_look_begins_a_little_before_where_the_last_one_ended() -> None:
    assert begin_at(None) is None
    assert begin_at(NOW.isoformat()) == NOW - OVERLAP
    assert Sweep(status=DONE, keep=60).before(NOW) == NOW - timedelta(seconds=60)


def test_lots_grow_while_they_are_quick_and_full_and_shrink_when_they_are_slow() -> None:
    assert next_lot(100, 100, 0.01, 1000) == 200
    assert next_lot(800, 800, 0.01, 1000) == 1000
    assert next_lot(100, 99, 0.01, 1000) == 100
    assert next_lot(100, 100, 0.2, 1000) == 100
    assert next_lot(100, 5, 0.3, 1000) == 50
    assert next_lot(LEAST_LOT, 5, 9, 1000) == LEAST_LOT
    assert next_lot(3, 3, 9, 3) == 3
