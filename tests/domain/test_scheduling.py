"""What a schedule does at a moment: ticks on time, late, never, in limits; one step at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.scheduling import Advance, Timing, advance, first_run, next_runs, run_at

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOURLY = Timing(cron_expression="0 * * * *", anchor=NOON)


def steps(timing: Timing, due: datetime | None, now: datetime) -> tuple[list[datetime], datetime | None]:
    """Take steps until the schedule is not due any more; return what it fired and when it is due again."""
    fired = []
    while due is not None and due <= now:
        step = advance(timing, due, now)
        if step.tick is not None:
            fired.append(step.tick)
            timing = replace(timing, runs=timing.runs + 1)
        assert step.next_run_at is None or step.next_run_at > due
        due = step.next_run_at
    return fired, due


def test_a_tick_fires_when_it_is_due() -> None:
    assert advance(HOURLY, NOON, NOON) == Advance(NOON, NOON + HOUR)
    assert advance(HOURLY, NOON, NOON + 5 * MINUTE) == Advance(NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("catch_up", "now", "fired"),
    [
        (1, NOON + 5 * HOUR + MINUTE, [5]),
        (0, NOON + 5 * HOUR + 3 * MINUTE, []),
        (0, NOON + 5 * HOUR + timedelta(seconds=30), [5]),
        (3, NOON + 5 * HOUR + MINUTE, [3, 4, 5]),
        (100, NOON + 5 * HOUR + MINUTE, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_ticks_that_nobody_saw(catch_up: int, now: datetime, fired: list[int]) -> None:
    found = steps(replace(HOURLY, catch_up=catch_up), NOON, now)
    assert found == ([NOON + n * HOUR for n in fired], NOON + 6 * HOUR)


def test_it_ends() -> None:
    ending = replace(HOURLY, end_at=NOON + HOUR, catch_up=9)
    assert steps(ending, NOON, NOON + 9 * HOUR) == ([NOON, NOON + HOUR], None)
    assert steps(ending, NOON, NOON) == ([NOON], NOON + HOUR)
    assert first_run(ending, NOON + HOUR) is None
    limited = replace(HOURLY, max_runs=3, runs=1, catch_up=9)
    assert steps(limited, NOON, NOON + 8 * HOUR) == ([NOON, NOON + HOUR], None)


def test_it_begins() -> None:
    assert first_run(HOURLY, NOON) == NOON + HOUR
    assert first_run(HOURLY, NOON - MINUTE) == NOON
    assert first_run(replace(HOURLY, start_at=NOON + 3 * HOUR), NOON) == NOON + 3 * HOUR
    assert first_run(replace(HOURLY, start_at=NOON - 3 * HOUR), NOON) == NOON + HOUR
    assert first_run(replace(HOURLY, max_runs=2, runs=2), NOON) is None


def test_the_next_runs_keep_to_the_limits() -> None:
    assert next_runs(HOURLY, NOON, 3) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert next_runs(replace(HOURLY, end_at=NOON + HOUR), NOON, 10) == [NOON, NOON + HOUR]
    assert next_runs(replace(HOURLY, max_runs=5, runs=4), NOON, 10) == [NOON]
    assert next_runs(HOURLY, None, 10) == []


def test_jitter_is_the_same_for_everybody_and_spreads() -> None:
    timing = replace(HOURLY, jitter=MINUTE)
    found = [run_at(timing, f"schedule {n}", NOON) for n in range(100)]
    assert found == [run_at(timing, f"schedule {n}", NOON) for n in range(100)]
    assert all(NOON <= moment < NOON + MINUTE for moment in found)
    assert len(set(found)) == 100
    assert run_at(HOURLY, "without", NOON) == NOON


@given(
    st.integers(0, 20),
    st.integers(1, 400),
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 10)),
    st.integers(0, 30),
)
def test_never_a_burst(catch_up: int, gone: int, every: int, max_runs: int | None, late: int) -> None:
    timing = Timing(every=every * MINUTE, anchor=NOON, catch_up=catch_up, max_runs=max_runs)
    due = NOON + every * MINUTE
    now = NOON + gone * MINUTE + late * timedelta(seconds=1)
    fired, again = steps(timing, due, now)
    assert len(fired) <= max(1, catch_up)
    assert fired == sorted(set(fired))
    assert all((tick - NOON) % (every * MINUTE) == timedelta() and due <= tick <= now for tick in fired)
    assert again is None or again > now
    assert max_runs is None or len(fired) <= max_runs
