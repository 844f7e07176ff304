"""What a handler raises or returns, and what becomes of its job."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from dataqueue_django import GiveUp, Job, JobContext, JobStatus, RetryLater, Snooze, get_queue, job
from dataqueue_django.testing import run_job

pytestmark = pytest.mark.django_db(databases="__all__")


class Flaky(Exception): ...


class Hopeless(Exception): ...


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Rude(str):
    def __getitem__(self, _: Any) -> str:
        raise RuntimeError("no pieces")

    replace = encode = __getitem__  # type: ignore[assignment]


class SpeaksRudely(Exception):
    def __str__(self) -> str:
        return Rude("words")


@pytest.fixture
def run(any_alias: str) -> Any:
    """A function that defines a handler and runs it once: `run(function, **job_settings)` → the job."""

    def run_once(function: Any, **settings: Any) -> Job:
        defined = job("outcomes.tried", **settings)(function)
        return run_job(defined.using(alias=any_alias).enqueue(), alias=any_alias)

    return run_once


def raising(error: BaseException) -> Any:
    def handler() -> None:
        raise error

    return handler


def seconds_until_retry(job: Job) -> float:
    assert job.next_attempt_at is not None
    assert job.last_failed_at is not None
    return (job.next_attempt_at - job.last_failed_at).total_seconds()


@pytest.mark.parametrize("output", [{"a": [1, 2.5, None, "é"]}, [], 0, False, "", "text"])
def test_what_a_handler_returns_is_its_output(run: Any, output: Any) -> None:
    done = run(lambda: output)
    assert (done.status, done.output, type(done.output)) == (JobStatus.COMPLETED, output, type(output))


def test_what_was_set_as_output_beats_what_is_returned(run: Any) -> None:
    def handler(ctx: JobContext) -> str:
        ctx.set_output({"kept": True})
        return "ignored"

    assert run(handler, takes_context=True).output == {"kept": True}


@pytest.mark.parametrize("output", [object(), {1: 2}, float("nan"), {"a": b"x"}, "\x00", "\ud800", "x" * 1_100_000])
def test_an_output_that_is_not_json_fails_clearly_and_for_good(run: Any, output: Any) -> None:
    failed = run(lambda: output)
    assert (failed.status, failed.failure_reason, failed.will_retry) == ("failed", "invalid_output", False)
    assert failed.output is None
    assert failed.error_history[0]["message"].startswith(("output", "a key of output"))


def test_a_failure_is_tried_again_after_two_minutes_or_a_little_more(run: Any) -> None:
    failed = run(raising(ValueError("no")))
    assert (failed.status, failed.will_retry, failed.failure_reason) == ("failed", True, "handler_error")
    assert 120 <= seconds_until_retry(failed) <= 150
    (entry,) = failed.error_history
    assert (entry["attempt"], entry["type"], entry["message"]) == (1, "ValueError", "no")
    assert "raise error" in entry["traceback"]
    assert entry["timestamp"] == failed.last_failed_at.isoformat()


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        ({"retry_delay": 10}, 10, 20),
        ({"retry_delay": 10, "retry_backoff": "linear"}, 10, 12.5),
        ({"retry_delay": timedelta(seconds=10), "retry_backoff": "fixed"}, 10, 10),
        ({"retry_delay": 100, "retry_delay_max": 30}, 15, 30),
        ({"backoff": lambda error, attempt: 7 * attempt}, 7, 7),
        ({"backoff": lambda error, attempt: timedelta(seconds=9)}, 9, 9),
        ({"backoff": lambda error, attempt: None, "retry_delay": 3, "retry_backoff": "fixed"}, 3, 3),
    ],
)
def test_the_delay_follows_the_rule(run: Any, settings: dict[str, Any], least: float, most: float) -> None:
    assert least <= seconds_until_retry(run(raising(Flaky()), **settings)) <= most


@pytest.mark.parametrize("backoff", [lambda error, attempt: 1 / 0, lambda error, attempt: "soon"])
def test_a_broken_backoff_rule_is_reported_and_replaced(run: Any, caplog: Any, backoff: Any) -> None:
    with caplog.at_level(logging.ERROR):
        failed = run(raising(Flaky()), backoff=backoff, retry_delay=3, retry_backoff="fixed")
    assert seconds_until_retry(failed) == 3
    assert "the job's own delay is used" in caplog.text


@pytest.mark.parametrize(
    ("error", "settings", "will_retry", "reason"),
    [
        (Flaky(), {"retry_on": Flaky}, True, "handler_error"),
        (Hopeless(), {"retry_on": (Flaky,)}, False, "handler_error"),
        (Hopeless(), {"give_up_on": (Hopeless,)}, False, "given_up"),
        (Flaky(), {"give_up_on": (Hopeless,)}, True, "handler_error"),
        (GiveUp("enough"), {}, False, "given_up"),
        (Flaky(), {"max_attempts": 1}, False, "handler_error"),
    ],
)
def test_which_failures_are_final(
    run: Any, error: BaseException, settings: dict[str, Any], will_retry: bool, reason: str
) -> None:
    failed = run(raising(error), **settings)
    assert (failed.status, failed.will_retry, failed.is_terminal) == ("failed", will_retry, not will_retry)
    assert failed.failure_reason == reason


def test_retry_later_counts_as_an_attempt_and_sets_the_delay(run: Any) -> None:
    failed = run(raising(RetryLater(42)))
    assert (failed.status, failed.attempts, seconds_until_retry(failed)) == ("failed", 1, 42)


def test_snooze_is_no_failure_and_costs_no_attempt(any_alias: str) -> None:
    @job("outcomes.snoozed")
    def snoozed() -> None:
        raise Snooze(timedelta(minutes=3))

    first = run_job(snoozed.using(alias=any_alias, max_attempts=1).enqueue(), alias=any_alias)
    assert (first.status, first.error_history, first.failure_reason) == (JobStatus.PENDING, (), None)
    for _ in range(3):
        first = run_job(first, alias=any_alias)
    assert (first.attempts, first.status) == (1, JobStatus.PENDING)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_not_even_a_base_exception_escapes(run: Any, error: BaseException) -> None:
    assert run(raising(error)).error_history[0]["type"] == type(error).__name__


@pytest.mark.parametrize(
    "error", [Unprintable(), SpeaksRudely(), ValueError("a\x00b\ud800c"), ValueError("x" * 5_000_000)]
)
def test_an_error_is_kept_whatever_its_text_is(run: Any, error: BaseException) -> None:
    failed = run(raising(error))
    message = failed.error_history[0]["message"]
    assert message
    assert "\x00" not in message
    assert len(message.encode()) <= 8 * 1024


def test_a_payload_that_no_longer_fits_the_handler_is_final(any_alias: str) -> None:
    job_id = get_queue(any_alias).add_job("outcomes.changed", {"old": 1}, allow_unknown=True)

    @job("outcomes.changed")
    def changed(new: int) -> None: ...

    failed = run_job(job_id, alias=any_alias)
    assert (failed.failure_reason, failed.will_retry) == ("invalid_payload", False)
    assert "payload.old is not a parameter" in failed.error_history[0]["message"]


def test_a_job_without_a_handler_is_final(any_alias: str) -> None:
    job_id = get_queue(any_alias).add_job("outcomes.nobody", None, allow_unknown=True)
    failed = run_job(job_id, alias=any_alias)
    assert (failed.failure_reason, failed.will_retry) == ("no_handler", False)


def test_error_history_is_bounded(any_alias: str) -> None:
    @job("outcomes.always", max_attempts=60)
    def always() -> None:
        raise ValueError

    added = always.using(alias=any_alias).enqueue()
    for _ in range(55):
        last = run_job(added, alias=any_alias)
    assert [entry["attempt"] for entry in last.error_history] == list(range(6, 56))


def test_progress_is_stored_with_the_outcome(run: Any) -> None:
    def handler(ctx: JobContext) -> None:
        ctx.progress(1, 3, "one of three")

    done = run(handler, takes_context=True)
    assert (done.progress, done.progress_message, done.progress_data) == (33, "one of three", {"done": 1, "total": 3})


@pytest.mark.parametrize("percent", [-1, 101, float("nan"), "50", True, None])
def test_progress_that_makes_no_sense_is_refused(run: Any, percent: Any) -> None:
    def handler(ctx: JobContext) -> None:
        ctx.set_progress(percent)

    failed = run(handler, takes_context=True)
    assert failed.error_history[0]["type"] == "InvalidProgress"
    assert "expected a number from 0 to 100" in failed.error_history[0]["message"]
