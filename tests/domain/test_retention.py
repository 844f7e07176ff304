"""What may go, and how much at a time."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.records import JobStatus
from dataqueue_django.domain.retention import DAY, LEAST_LOT, OVERLAP, Reached, Sweep, next_lot, sweeps

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
    some, rest = Sweep(status=DONE, keep=60, job_types=("a",)), Sweep(status=DONE, keep=90, exclude_job_types=("a",))
    first = Reached.read(None, NOW)
    assert [first.begin_at(sweep) for sweep in (some, rest)] == [None, None]
    later = NOW + timedelta(hours=1)
    second = Reached.read(first.after([some], [rest], NOW), later)
    assert [second.begin_at(sweep) for sweep in (some, rest)] == [NOW - timedelta(seconds=60) - OVERLAP, None]
    third = Reached.read(second.after([rest], [some], later), later)
    assert third.begin_at(some) == second.begin_at(some)
    assert third.begin_at(rest) == later - timedelta(seconds=90) - OVERLAP


def test_once_a_day_everything_is_looked_at() -> None:
    some = Sweep(status=DONE, keep=60, job_types=("a",))
    state = Reached.read(None, NOW).after([some], [], NOW)
    before, after = NOW + timedelta(hours=23), NOW + timedelta(hours=25)
    state = Reached.read(state, before).after([some], [], before)
    assert Reached.read(state, before).begin_at(some) is not None
    assert Reached.read(state, after).begin_at(some) is None


def test_nothing_is_remembered_of_what_leaves_no_job_behind() -> None:
    everything = Sweep(status=DONE, keep=60)
    assert Reached.read(None, NOW).after([everything], [], NOW) is None


def test_lots_grow_while_they_are_quick_and_full_and_shrink_when_they_are_slow() -> None:
    assert next_lot(100, 100, 0.01, 1000) == 200
    assert next_lot(800, 800, 0.01, 1000) == 1000
    assert next_lot(100, 99, 0.01, 1000) == 100
    assert next_lot(100, 100, 0.2, 1000) == 100
    assert next_lot(200, 5, 0.6, 1000) == 100
    assert next_lot(LEAST_LOT, 5, 9, 1000) == LEAST_LOT
    assert next_lot(3, 3, 9, 3) == 3
