"""When schedules fire: tables over zones, and every expression against a walk over the minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from dataqueue_django.domain.recurring import Cron, cron, every, latest, upcoming
from dataqueue_django.exceptions import InvalidSchedule

MINUTE = timedelta(minutes=1)

# expression, zone, after, ticks as the clock on the wall shows them with its offset
TABLE = {
    "a skipped hour is made up for once, after the gap": (
        "30 2 * * *", "America/New_York", "2026-03-07T12:00", ["08 03:00 -0400", "09 02:30 -0400"],
    ),
    "several times in one gap are one": (
        "15,45 2 * * *", "America/New_York", "2026-03-07T12:00",
        ["08 03:00 -0400", "09 02:15 -0400", "09 02:45 -0400"],
    ),
    "nor twice with what is due after the gap": (
        "0,30 2-3 * * *", "America/New_York", "2026-03-07T12:00",
        ["08 03:00 -0400", "08 03:30 -0400", "09 02:00 -0400"],
    ),
    "an hour that comes twice counts once": (
        "30 1 * * *", "America/New_York", "2026-10-31T12:00", ["01 01:30 -0400", "02 01:30 -0500"],
    ),
    "real intervals go through the hour that comes twice": (
        "*/30 * * * *", "America/New_York", "2026-11-01T04:40",
        ["01 01:00 -0400", "01 01:30 -0400", "01 01:00 -0500", "01 01:30 -0500", "01 02:00 -0500"],
    ),
    "and over the one that is skipped": (
        "*/30 * * * *", "America/New_York", "2026-03-08T06:10",
        ["08 01:30 -0500", "08 03:00 -0400", "08 03:30 -0400"],
    ),
    "a wildcard in the minute is by the wall, too": (
        "*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["30 02:00 +0200", "30 02:20 +0200", "30 02:40 +0200"],
    ),
    "half an hour is skipped": (
        "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["04 02:30 +1100", "05 02:15 +1100"],
    ),
    "half an hour comes twice": (
        "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", ["05 01:45 +1100", "06 01:45 +1030"],
    ),
    "hours go on where half of one is skipped": (
        "0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00", ["04 01:00 +1030", "04 03:00 +1100", "04 04:00 +1100"],
    ),
    "two hours are skipped": (
        "30 1 * * *", "Antarctica/Troll", "2026-03-28T12:00", ["29 03:00 +0200", "30 01:30 +0200"],
    ),
    "a day is skipped": (
        "0 9 * * *", "Pacific/Apia", "2011-12-28T20:00", ["29 09:00 -1000", "31 00:00 +1400", "31 09:00 +1400"],
    ),
    "no change of clocks": (
        "15 6 * * *", "Asia/Kathmandu", "2026-03-07T12:00", ["08 06:15 +0545", "09 06:15 +0545"],
    ),
    "days of the week": ("0 9 * * 1-5", "UTC", "2026-11-27T12:00", ["30 09:00 +0000", "01 09:00 +0000"]),
    "the rarest day": ("0 0 29 2 *", "UTC", "2096-03-01T00:00", ["29 00:00 +0000"]),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_clocks_that_change(what: str) -> None:
    expression, zone, after, expected = TABLE[what]
    ticks = upcoming(cron(expression, zone), datetime.fromisoformat(after).replace(tzinfo=UTC), len(expected))
    assert [f"{tick.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for tick in ticks] == expected


minutes = st.one_of(st.integers(0, 59).map(str), st.sampled_from(["*", "*/7", "*/30", "0,30", "15-20", "10-50/20"]))
hours = st.one_of(st.integers(0, 23).map(str), st.sampled_from(["*", "*/2", "1-3", "0,2,3"]))
days = st.sampled_from(["*", "*", "8,29,15", "*/2"])
weekdays = st.sampled_from(["*", "*", "*", "1-5", "sun"])
CHANGES = {
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "Antarctica/Troll": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "Africa/Casablanca": ("2026-02-15T02:00", "2026-03-22T02:00"),
}


@settings(max_examples=60, deadline=None)
@given(minutes, hours, days, weekdays, st.sampled_from(sorted(CHANGES)), st.integers(0, 1), st.integers(0, 240))
def test_any_expression_fires_as_a_walk_over_the_minutes_says(
    minute: str, hour: str, day: str, weekday: str, zone: str, change: int, before: int
) -> None:
    expression = f"{minute} {hour} {day} * {weekday}"
    start = datetime.fromisoformat(CHANGES[zone][change]).replace(tzinfo=UTC) - before * MINUTE
    end = start + timedelta(hours=7)
    ticks = []
    for tick in Cron(expression, zone).after(start):
        if tick > end:
            break
        ticks.append(tick)
    assert ticks == _walk(expression, ZoneInfo(zone), start, end)


def _walk(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Look at the clock on the wall each minute, as cron does. What is fixed and was skipped is due after the jump."""
    is_fixed = not any("*" in field for field in expression.split()[:2])
    found = []
    done: set[datetime] = set()
    moment = start - timedelta(hours=3)
    wall = _wall(moment, zone)
    while moment < end:
        moment += MINUTE
        before, wall = wall, _wall(moment, zone)
        times = [wall]
        if is_fixed:
            skipped = [before + MINUTE * n for n in range(1, int((wall - before) / MINUTE))]
            times = [time for time in [*skipped, wall] if time not in done]
            done.update(times)
        if moment > start and any(croniter.match(expression, time) for time in times):
            found.append(moment)
    return found


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def test_intervals_are_counted_from_their_anchor() -> None:
    anchor = datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC)
    recurrence = every(90, anchor)
    assert upcoming(recurrence, anchor - timedelta(days=1), 1) == [anchor + timedelta(seconds=90)]
    assert upcoming(recurrence, anchor, 2) == [anchor + timedelta(seconds=90 * n) for n in (1, 2)]
    assert upcoming(recurrence, anchor + timedelta(seconds=90), 1) == [anchor + timedelta(seconds=180)]
    assert upcoming(recurrence, anchor + timedelta(seconds=91), 1) == [anchor + timedelta(seconds=180)]


@pytest.mark.parametrize("recurrence", [cron("* * * * *"), cron("*/10 * * * *", "Asia/Kathmandu"), cron("0 0 29 2 *")])
def test_the_last_ticks_of_a_long_time_are_found_without_walking_through_it(recurrence: Cron) -> None:
    until = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
    found = latest(recurrence, until - timedelta(days=3650), until, 2)
    assert len(found) == 2
    assert list(islice(recurrence.after(found[0]), 1)) == [found[1]]
    assert next(recurrence.after(found[1])) > until


def test_the_last_ticks_are_between_both_ends() -> None:
    day = datetime(2026, 11, 29, tzinfo=UTC)
    assert latest(cron("0 * * * *"), day, day + timedelta(hours=2), 10) == [day + timedelta(hours=n) for n in range(3)]
    assert latest(cron("0 * * * *"), day + MINUTE, day + timedelta(minutes=59), 10) == []
    second = timedelta(seconds=1)
    long_ago = day - timedelta(days=900)
    assert latest(every(1, day), long_ago, day + 5 * second, 3) == [day + n * second for n in (3, 4, 5)]
    assert latest(every(3600, day), day, day + timedelta(hours=2), 5) == [day + timedelta(hours=n) for n in (1, 2)]


BAD: dict[str, tuple[Any, str]] = {
    "four fields": ("* * * *", "which has 4 fields; expected five: minute, hour"),
    "six fields": ("* * * * * *", "which has 6 fields"),
    "nothing": ("", "which has 0 fields"),
    "a minute too many": ("61 * * * *", "field 1, the minute, cannot be '61'"),
    "a step of zero": ("*/0 * * * *", r"field 1, the minute, cannot be '\*/0'"),
    "a range backwards": ("0 5-1 * * *", "field 2, the hour, cannot be '5-1'"),
    "a month that is none": ("0 0 1 foo *", "field 4, the month, cannot be 'foo'"),
    "a day that never comes": ("0 0 30 2 *", "which never comes"),
    "at boot": ("@reboot", "unknown alias '@reboot'. Known: @hourly"),
    "an alias misspelt": ("@dialy", "Did you mean '@daily'"),
    "a heap of commas": ("," * 10_000 + " * * * *", "expected five fields such as"),
    "digits of another script": ("\u0661 * * * *", "expected five fields such as"),
    "a number": (5, "cron is 5; expected five fields"),
    "None": (None, "cron is None; expected five fields"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_expression_is_refused(what: str) -> None:
    expression, message = BAD[what]
    with pytest.raises(InvalidSchedule, match=message):
        cron(expression)


@pytest.mark.parametrize("zone", ["Europe/Berln", "", "CEST+2", None, 3, "../../etc/passwd"])
def test_what_is_no_zone_is_refused(zone: Any) -> None:
    with pytest.raises(InvalidSchedule, match="timezone is .*; expected a name such as 'Europe/Berlin'"):
        cron("@daily", zone)


@pytest.mark.parametrize(
    "interval", [0, 0.5, -3, float("nan"), float("inf"), 1e30, "60", None, True, timedelta(days=4000)]
)
def test_what_is_no_interval_is_refused(interval: Any) -> None:
    with pytest.raises(InvalidSchedule, match="every is .*; expected 1 second to 3650 days"):
        every(interval, datetime(2026, 1, 1, tzinfo=UTC))


def test_names_and_aliases_are_read_in_any_case() -> None:
    assert cron(" @Daily ").expression == "0 0 * * *"
    assert upcoming(cron("0 9 * JAN Mon"), datetime(2026, 1, 1, tzinfo=UTC), 1) == [datetime(2026, 1, 5, 9, tzinfo=UTC)]
