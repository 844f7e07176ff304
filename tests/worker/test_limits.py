"""The limits of portable JSON and text on every way from a handler into the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from dataqueue_django import Job, JobContext, job
from dataqueue_django.domain.portable import MAX_DEPTH
from dataqueue_django.testing import run_job


def nested(depth: int) -> Any:
    """Return lists in lists, `depth` of them."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@dataclass
class Result:
    ok: bool


OUTPUTS: dict[str, tuple[Any, str]] = {
    "depth": (nested(MAX_DEPTH + 1), "nests deeper than 20 levels"),
    "digits": ({"n": 10**5000}, "integer with too many digits"),
    "infinity": ([float("inf")], "output[0] is inf; expected a finite number"),
    "null character": ({"a": "x\x00"}, "output.a holds U+0000"),
    "surrogate in a key": ({"\udc80": 1}, "a key of output holds U+0000 or a lone surrogate"),
    "datetime": ({"at": datetime(2030, 1, 1, tzinfo=UTC)}, "output.at is a datetime"),
    "dataclass": (Result(True), "output is a Result; expected JSON"),
    "size": ("x" * 1_048_575, "is 1048577 bytes of JSON; expected at most 1048576"),
}


@pytest.fixture
def run(any_alias: str) -> Callable[[Callable[[JobContext], Any]], Job]:
    """A function that runs a handler with a context once and returns the job."""

    def run_once(handler: Callable[[JobContext], Any]) -> Job:
        defined = job("limits.tried", takes_context=True)(handler)
        return run_job(defined.using(alias=any_alias).enqueue(), alias=any_alias)

    return run_once


@pytest.mark.parametrize("which", OUTPUTS)
@pytest.mark.parametrize("is_set", [False, True], ids=["returned", "set"])
def test_an_output_outside_the_limits_fails_the_job_for_good(run: Any, which: str, is_set: bool) -> None:
    output, message = OUTPUTS[which]
    failed = run((lambda ctx: ctx.set_output(output)) if is_set else (lambda ctx: output))
    assert (failed.status, failed.failure_reason, failed.will_retry) == ("failed", "invalid_output", False)
    assert message in failed.error_history[0]["message"]


def test_the_deepest_output_that_is_allowed_comes_back(run: Any) -> None:
    assert run(lambda ctx: nested(MAX_DEPTH)).output == nested(MAX_DEPTH)


@pytest.mark.parametrize(
    ("done", "total"), [(1, 10**5000), (10**5000, 10**5000), (1, 2**63)], ids=["total", "both", "a little"]
)
def test_progress_in_numbers_that_no_database_keeps_is_refused(run: Any, done: int, total: int) -> None:
    failed = run(lambda ctx: ctx.progress(done, total))
    assert failed.error_history[0]["type"] == "InvalidProgress"
    assert "expected 0 <= done <= total" in failed.error_history[0]["message"]


def test_the_largest_progress_comes_back(run: Any) -> None:
    done = run(lambda ctx: ctx.progress(2**63 - 1, 2**63 - 1, "a\x00b\ud800"))
    assert done.progress_data == {"done": 2**63 - 1, "total": 2**63 - 1}
    assert done.progress_message == "a�b?"
