"""From what a caller says to a job, and what is refused on the way."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from dataqueue_django.domain.options import JobOptions, as_defaults, new_job, options_from, seconds
from dataqueue_django.domain.records import NewJob
from dataqueue_django.exceptions import InvalidJob

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BIG = 2**31


def made(**options: Any) -> NewJob:
    """Return the job that these options describe."""
    return new_job("send", None, options_from(options), now=NOW)


def test_defaults() -> None:
    assert made() == NewJob(job_type="send")
    assert made(**{f.name: None for f in fields(JobOptions)}) == NewJob(job_type="send")


def test_everything() -> None:
    assert made(
        queue="mail",
        priority=-BIG,
        max_attempts=1000,
        run_at=NOW,
        timeout=1.5,
        retry_delay=timedelta(seconds=2),
        retry_backoff="linear",
        retry_delay_max=60,
        tags=["b", "a", "b"],
        idempotency_key="k",
    ) == NewJob(
        job_type="send",
        queue="mail",
        priority=-BIG,
        max_attempts=1000,
        run_at=NOW,
        timeout_ms=1500,
        retry_delay_ms=2000,
        retry_backoff="linear",
        retry_delay_max_ms=60_000,
        tags=("b", "a"),
        idempotency_key="k",
    )


@pytest.mark.parametrize(
    ("option", "given", "stored", "kept"),
    [
        ("retry_backoff", True, "retry_backoff", "exponential"),
        ("retry_backoff", False, "retry_backoff", "fixed"),
        ("run_at", NOW - timedelta(days=1), "run_at", NOW - timedelta(days=1)),
        ("run_at", NOW + timedelta(days=3653), "run_at", NOW + timedelta(days=3653)),
        ("timeout", 0.001, "timeout_ms", 1),
        ("timeout", timedelta(days=365), "timeout_ms", 365 * 24 * 3600 * 1000),
        ("priority", BIG - 1, "priority", BIG - 1),
        ("tags", (), "tags", ()),
        ("tags", {"only": 1}.keys(), "tags", ("only",)),
        ("tags", (t for t in "ab"), "tags", ("a", "b")),
        ("tags", ["x" * 128], "tags", ("x" * 128,)),
        ("idempotency_key", "k" * 255, "idempotency_key", "k" * 255),
        ("idempotency_key", " K\n", "idempotency_key", " K\n"),
        ("queue", "q" * 128, "queue", "q" * 128),
        ("queue", "Zürich 1", "queue", "Zürich 1"),
    ],
)
def test_what_is_accepted(option: str, given: Any, stored: str, kept: Any) -> None:
    assert getattr(made(**{option: given}), stored) == kept


REFUSED: dict[str, list[Any]] = {
    "queue": ["", "q" * 129, 7, b"q", " q", "q ", "a\nb", "a\x00b", "\ud800", "__all__"],
    "priority": [BIG, -BIG - 1, 1.0, True, "1", float("nan")],
    "max_attempts": [0, -1, True, "3", 1.0, 1001],
    "run_at": [
        datetime(2030, 1, 1),
        date(2030, 1, 1),
        "2030-01-01",
        1_900_000_000,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        NOW + timedelta(days=3654),
    ],
    "timeout": [0, -1, 0.0004, float("nan"), float("inf"), 10**15, True, "5", timedelta(0), timedelta(days=366)],
    "retry_delay": [0, -1, float("nan"), 10**15, False, "5"],
    "retry_delay_max": [0, timedelta(seconds=-1), "5"],
    "retry_backoff": ["Exponential", "expo", 5, 0, [], ["linear"]],
    "tags": ["abc", b"abc", {"a": 1}, 5, [""], ["x" * 129], [1], [None], ["a\x00"], ["\udc80"], [["a"]], [{}],
             [f"t{n}" for n in range(51)]],
    "idempotency_key": ["", "k" * 256, "k" * 10_000, b"k", 5, "a\x00b", "\ud800"],
}  # fmt: skip
CASES = [(option, value) for option, values in REFUSED.items() for value in values]


@pytest.mark.parametrize(("option", "value"), CASES, ids=[f"{o} {ascii(v)[:30]}" for o, v in CASES])
def test_what_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as refusal:
        made(**{option: value})
    message = str(refusal.value)
    assert message.startswith(option)
    assert "expected" in message
    assert len(message) < 300


@pytest.mark.parametrize("job_type", [None, "", "t" * 129, 5, " send", "__all__"])
def test_job_types_that_are_refused(job_type: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^job_type is "):
        new_job(job_type, None, JobOptions())


def test_a_payload_that_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"^payload\.when is a datetime"):
        new_job("send", {"when": NOW}, JobOptions())


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(InvalidJob, match=r"^add_job\(\) got the unknown option 'priorty'\. Did you mean 'priority'\?"):
        options_from({"priorty": 1})
    with pytest.raises(InvalidJob, match=r"^edit\(\) got the unknown option 'xyz'\.$"):
        options_from({"xyz": 1}, "edit()")


def test_a_mistyped_word_names_the_nearest() -> None:
    with pytest.raises(InvalidJob, match="Did you mean 'linear'"):
        made(retry_backoff="linaer")


def test_a_string_of_tags_is_not_its_letters() -> None:
    with pytest.raises(InvalidJob, match="expected a list of strings"):
        made(tags="vip")


def test_stronger_options_win_and_none_decides_nothing() -> None:
    strong = JobOptions(queue="mail", priority=0, tags=[])
    weak = JobOptions(queue="default", priority=9, max_attempts=7, tags=["x"])
    assert strong.over(weak) == JobOptions(queue="mail", priority=0, max_attempts=7, tags=[])
    assert JobOptions().over(weak) == weak
    assert weak.over(JobOptions()) == weak


def test_without_a_clock_only_the_form_of_a_time_is_checked() -> None:
    far = datetime(9000, 1, 1, tzinfo=UTC)
    assert new_job("send", None, JobOptions(run_at=far)).run_at == far


def test_durations() -> None:
    assert seconds("delay", timedelta(minutes=1)) == 60.0
    assert seconds("delay", 0) == 0.0
    with pytest.raises(InvalidJob, match="expected seconds or a timedelta from 0 to 10 seconds"):
        seconds("delay", 11, most=10)


def test_options_of_one_job_cannot_be_defaults_of_many() -> None:
    for options in (JobOptions(run_at=NOW), JobOptions(idempotency_key="k")):
        with pytest.raises(InvalidJob, match="cannot be a default; it belongs to one job"):
            as_defaults(options)
    with pytest.raises(InvalidJob, match="^max_attempts is 0"):
        as_defaults(JobOptions(max_attempts=0))


def test_a_time_that_no_calendar_holds_in_utc_is_refused() -> None:
    edge = datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(InvalidJob, match="^run_at is"):
        new_job("send", None, JobOptions(run_at=edge))


def test_tags_are_read_once() -> None:
    options = options_from({"tags": (tag for tag in "ab")})
    assert [new_job("send", None, options).tags for _ in range(2)] == [("a", "b"), ("a", "b")]
