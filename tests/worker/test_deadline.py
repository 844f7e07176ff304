"""The deadline of one execution, and who may move it."""

from __future__ import annotations

import time
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from dataqueue_django.exceptions import InvalidTimeout
from dataqueue_django.worker.deadline import ANSWER_WITHIN, Deadline
from tests.harness.workers import wait_until


def begun(timeout_ms: int | None = 10_000) -> tuple[Deadline, float, list[int]]:
    """Return a deadline that has begun, when, and what it told."""
    told: list[int] = []
    deadline = Deadline(timeout_ms, lambda: told.append(1))
    now = time.monotonic()
    deadline.begin(now)
    return deadline, now, told


def test_without_a_timeout_there_is_none() -> None:
    deadline, now, told = begun(None)
    assert not deadline.begin(now)
    assert not deadline.prolong(5)
    assert deadline.look_at is None
    assert not deadline.has_passed(now + 10**9)
    assert (deadline.unsaved(), told) == (None, [])


def test_it_passes_once_its_time_is_up() -> None:
    deadline, now, _ = begun()
    assert deadline.look_at == now + 10
    assert not deadline.has_passed(now + 9.9)
    assert deadline.has_passed(now + 10)


@pytest.mark.parametrize(("given", "seconds"), [(None, 10), (30, 30), (timedelta(minutes=1), 60)])
def test_prolonging_counts_from_now(given: Any, seconds: float) -> None:
    deadline, now, told = begun()
    assert deadline.prolong(given)
    assert deadline.look_at is not None
    assert now + seconds <= deadline.look_at <= time.monotonic() + seconds
    assert deadline.unsaved() == (seconds, "prolong")
    assert deadline.unsaved() is None
    assert told == [1]


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), True, "5", timedelta(0), timedelta(days=400), [], 10**400])
def test_prolonging_needs_a_length_of_time(wrong: Any) -> None:
    deadline, _, _ = begun()
    with pytest.raises(InvalidTimeout, match="prolong"):
        deadline.prolong(wrong)


async def asynchronous() -> None: ...


@pytest.mark.parametrize("wrong", [5, "x", asynchronous])
def test_only_a_function_can_be_asked(wrong: Any) -> None:
    deadline, _, _ = begun()
    with pytest.raises(InvalidTimeout, match="on_timeout"):
        deadline.on_timeout(wrong)


def test_a_callback_that_wants_more_gets_it() -> None:
    deadline, now, told = begun()
    deadline.on_timeout(lambda: timedelta(seconds=30))
    assert not deadline.has_passed(now + 10)
    wait_until(lambda: told)
    assert deadline.look_at is not None
    assert deadline.look_at >= now + 30
    assert deadline.unsaved() == (30, "on_timeout")


@pytest.mark.parametrize("answer", [None, 0, -5, False, timedelta(0), timedelta(-1), "more", float("nan"), object()])
def test_any_other_answer_lets_the_deadline_stand(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    deadline, now, told = begun()
    deadline.on_timeout(lambda: answer)
    assert not deadline.has_passed(now + 10)
    wait_until(lambda: told)
    assert deadline.has_passed(now + 10)
    assert deadline.unsaved() is None


def test_a_callback_that_raises_lets_the_deadline_stand(caplog: pytest.LogCaptureFixture) -> None:
    deadline, now, told = begun()
    deadline.on_timeout(lambda: 1 / 0)
    assert not deadline.has_passed(now + 10)
    wait_until(lambda: told)
    assert deadline.has_passed(now + 10)
    assert "the deadline stands" in caplog.text


def test_a_callback_that_hangs_is_not_waited_for() -> None:
    deadline, now, _ = begun()
    asked, answer = Event(), Event()
    deadline.on_timeout(lambda: asked.set() or answer.wait(60) or 30)
    try:
        assert not deadline.has_passed(now + 10)
        assert asked.wait(30)
        assert not deadline.has_passed(now + 10)
        assert deadline.look_at == now + 10 + ANSWER_WITHIN
        assert deadline.has_passed(now + 10 + ANSWER_WITHIN)
    finally:
        answer.set()


def test_a_handler_may_move_it_while_its_callback_is_asked() -> None:
    deadline, now, _ = begun()
    answer = Event()
    deadline.on_timeout(lambda: answer.wait(60) and None)
    assert not deadline.has_passed(now + 10)
    assert deadline.prolong(50)
    answer.set()
    assert not deadline.has_passed(now + 49)


def test_the_last_callback_is_asked_and_none_can_be_taken_back() -> None:
    deadline, now, _ = begun()
    deadline.on_timeout(lambda: 30)
    deadline.on_timeout(None)
    assert deadline.has_passed(now + 10)
