"""What durable handlers and those who answer them give by mistake or on purpose: one clear error, nothing written."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connections

from dataqueue_django import JobContext, JobStatus, get_queue, job
from dataqueue_django.domain.records import EventType, Kind
from dataqueue_django.exceptions import (
    ContextClosed,
    DataQueueError,
    InvalidAnswer,
    InvalidJob,
    InvalidProgress,
    InvalidStep,
    InvalidTimeout,
    InvalidToken,
    InvalidWait,
    JobNotFound,
    JobStateError,
)
from dataqueue_django.queue import JobQueue
from tests.harness.fixtures import REAL
from tests.worker.test_durable import burst, found, words

pytestmark = REAL


class Speechless:
    """Its str() and repr() raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Mute(BaseException):
    """What no `except Exception` catches."""


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def no_step() -> int:
    return 1


def is_clear(error: BaseException) -> bool:
    """Whether an error is one of the family, in a line of bearable length."""
    text = str(error)
    return isinstance(error, DataQueueError) and 0 < len(text) <= 700 and "\n" not in text and text.isprintable()


def refusals(ctx: Any, cases: list[tuple[type[Exception], Callable[[Any], Any]]]) -> list[str]:
    """Return what was not refused as it should be."""
    wrong = []
    for n, (kind, do) in enumerate(cases):
        try:
            given = do(ctx)
        except BaseException as error:
            if not (isinstance(error, kind) and is_clear(error)):
                wrong.append(f"{n}: {type(error).__name__}: {str(error)[:300]}")
        else:
            wrong.append(f"{n}: nothing was raised, but {type(given).__name__} returned")
    return wrong


TIMEOUTS = [
    "10",
    "10x",
    "-5m",
    "1h30m",
    "9999999d",
    "366d",
    "٣d",
    "",
    " 5m",
    "5m\n",
    "0s",
    "1.5h",
    "1e3s",
    math.nan,
    math.inf,
    -1,
    0,
    True,
    10**400,
    timedelta(0),
    timedelta(-1),
    timedelta(days=366),
    b"5m",
    [5],
    Speechless(),
]

SCHEMAS: list[Any] = [
    {"type": "nothing"},
    {"type": 5},
    {"properties": []},
    {"pattern": "("},
    {"description": "x" * 70_000},
    {"description": "\x00"},
    {"enum": [math.nan]},
    {"enum": [{1}]},
    {1: "object"},
    nested(1),
    "object",
    5,
    int,
    list[int],
    Speechless(),
]

TOKEN_IDS: list[Any] = [None, 5, b"wp_x", "x" * 65, "a\x00", "\ud800", ["wp_x"], Speechless()]

TAGS: list[Any] = ["abc", [""], ["x" * 129], [5], 5, ["a\x00"], [f"t{n}" for n in range(51)]]

ANSWERS: list[Any] = [math.nan, "\ud800", "\x00", nested(21), "x" * 2**18, {1: 2}, {1}, b"x", Speechless(), object()]

STEPS: list[tuple[type[Exception], Callable[[JobContext], Any]]] = [
    *[
        (InvalidStep, lambda ctx, given=given: ctx.run("s", given))
        for given in (None, 5, "f", [], no_step, Speechless())
    ],
    *[
        (InvalidStep, lambda ctx, given=given: ctx.run_atomic("s", given))
        for given in (None, 5, "f", no_step, Speechless())
    ],
    *[
        (InvalidStep, lambda ctx, given=given: ctx.run(given, list))
        for given in (None, 5, b"x", "", "\ud800", Speechless())
    ],
    (InvalidStep, lambda ctx: ctx.run("async lambda", lambda: no_step())),
    (InvalidStep, lambda ctx: ctx.run("partial", partial(no_step))),
    *[
        (InvalidStep, lambda ctx, given=given, n=n: ctx.run(f"result {n}", lambda: given))
        for n, given in enumerate(
            (object(), Speechless(), {1: 2}, b"", math.inf, timedelta(1), nested(21), (x for x in ()))
        )
    ],
    *[
        (InvalidWait, lambda ctx, given=given: ctx.wait_for(given))
        for given in ("1h", math.nan, True, -1, 0, [], Speechless())
    ],
    *[
        (InvalidWait, lambda ctx, given=given: ctx.wait_for(hours=given))
        for given in ("1", math.inf, None, Speechless())
    ],
    *[(InvalidWait, lambda ctx, given=given: ctx.wait_until(given)) for given in (None, 5, "now", Speechless())],
    *[(InvalidToken, lambda ctx, given=given: ctx.wait_for_token(given)) for given in TOKEN_IDS],
    *[(InvalidToken, lambda ctx, given=given: ctx.create_token(given)) for given in TIMEOUTS],
    *[(InvalidJob, lambda ctx, given=given: ctx.create_token(tags=given)) for given in TAGS],
    *[(InvalidToken, lambda ctx, given=given: ctx.create_token(answer=given)) for given in SCHEMAS],
    *[(DataQueueError, lambda ctx, given=given: ctx.spawn(given)) for given in (None, 5, list, object(), Speechless())],
    (InvalidJob, lambda ctx: ctx.spawn("durable.bad.nobody knows", {})),
    (InvalidJob, lambda ctx: ctx.spawn("", {})),
    (InvalidStep, lambda ctx: ctx.spawn("durable.bad.child", 1, 2)),
    (InvalidJob, lambda ctx: ctx.spawn("durable.bad.child", {"n": "x"})),
    (InvalidJob, lambda ctx: ctx.spawn("durable.bad.child", {"m": 1})),
    *[
        (InvalidProgress, lambda ctx, given=given: ctx.set_progress(given))
        for given in (-1, 101, math.nan, "50", True, None, Speechless())
    ],
    (InvalidProgress, lambda ctx: ctx.progress(1, 0)),
    (InvalidProgress, lambda ctx: ctx.progress(1.0, 2)),
    *[
        (InvalidStep, lambda ctx, given=given: ctx.log("x", level=given))
        for given in (None, 5, "LOUD", "", "x" * 9999, Speechless())
    ],
    *[
        (InvalidTimeout, lambda ctx, given=given: ctx.prolong(given))
        for given in (0, -1, math.nan, math.inf, True, "5", timedelta(0), [], Speechless(), 10**400)
    ],
    *[
        (InvalidTimeout, lambda ctx, given=given: ctx.on_timeout(given))
        for given in (5, "f", no_step, partial(no_step), Speechless())
    ],
    (DataQueueError, lambda ctx: ctx.set_output(object())),
]


def test_what_a_handler_gives_by_mistake_is_refused_in_one_sentence(queue: JobQueue) -> None:
    @job("durable.bad.child")
    def child(n: int) -> None: ...

    @job("durable.bad.input", takes_context=True, max_attempts=1)
    def bad(ctx: JobContext) -> list[str]:
        return refusals(ctx, STEPS)

    job_id = bad.using(alias=queue.alias, timeout=300).enqueue().id
    burst(queue)
    assert (found(queue, job_id).status, found(queue, job_id).output) == (JobStatus.COMPLETED, []), found(queue, job_id)
    assert queue.get_job_steps(job_id) == []
    assert queue.store.find(Kind.TOKEN) == []
    assert queue.count_jobs() == 1
    assert queue.get_job_logs(job_id) == []


def test_what_others_give_by_mistake_is_refused_in_one_sentence(queue: JobQueue) -> None:
    token = queue.create_token()
    cases: list[tuple[type[Exception], Callable[[Any], Any]]] = [
        *[(InvalidToken, lambda q, given=given: q.create_token(given)) for given in TIMEOUTS],
        *[(InvalidJob, lambda q, given=given: q.create_token(tags=given)) for given in TAGS],
        *[(InvalidToken, lambda q, given=given: q.create_token(answer=given)) for given in SCHEMAS],
        *[(InvalidToken, lambda q, given=given: q.complete_token(given)) for given in TOKEN_IDS],
        *[(InvalidToken, lambda q, given=given: q.get_token(given)) for given in TOKEN_IDS],
        *[(InvalidAnswer, lambda q, given=given: q.complete_token(token, given)) for given in ANSWERS],
        *[
            (InvalidJob, lambda q, given=given: q.complete_token(token, 1, actor=given))
            for given in (None, 5, "x" * 256, "\x00", Speechless())
        ],
    ]
    assert refusals(queue, cases) == []
    assert queue.store.find(Kind.TOKEN) == [token]


HOSTILE: list[tuple[dict[str, Any], Any]] = [
    ({"$ref": "#"}, 1),
    ({"$ref": "https://example.org/schema.json"}, 1),
    ({"$ref": "file:///etc/passwd"}, 1),
    ({"$ref": "#/$defs/none"}, 1),
    ({"$dynamicRef": "https://example.org/x#y"}, 1),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, 1),
    ({"type": "string"}, {"x" * 10_000: "y" * 10_000}),
    ({"const": "\n\x1b[31m"}, "\n\r\u202e"),
]


@pytest.mark.parametrize(("schema", "answer"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_schema_refuses_answers_and_nothing_is_fetched(
    queue: JobQueue, schema: dict[str, Any], answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import socket

    def refuse(*_: Any, **__: Any) -> Any:
        pytest.fail("somebody follows the reference")

    token = queue.create_token(answer=schema)
    queue.get_token(token)  # the connection is there
    with monkeypatch.context() as patched:
        patched.setattr(socket, "create_connection", refuse)
        patched.setattr(socket, "getaddrinfo", refuse)
        patched.setattr(builtins, "open", refuse)
        with pytest.raises(InvalidAnswer) as caught:
            queue.complete_token(token, answer)
    assert is_clear(caught.value), str(caught.value)
    assert queue.get_token(token) == token


def test_a_context_is_of_no_use_after_its_handler_or_in_a_copy(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[JobContext] = []
    said: list[str] = []

    @job("durable.bad.kept", takes_context=True, max_attempts=1)
    def keeps(ctx: JobContext) -> None:
        kept.append(ctx)
        with monkeypatch.context() as patched:
            patched.setattr(ctx.history, "_beginning", replace(ctx.history._beginning, process=-1))
            with pytest.raises(ContextClosed, match="a copy"):
                ctx.run("in a fork", lambda: 1)

        def in_a_thread() -> None:
            said.append(ctx.run("in a thread", lambda: "yes"))
            connections.close_all()

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()

    job_id = keeps.using(alias=queue.alias).enqueue().id
    burst(queue)
    [ctx] = kept
    acts: list[Callable[[Any], Any]] = [
        lambda c: c.run("late", lambda: 1),
        lambda c: c.run_atomic("late", lambda: 1),
        lambda c: c.atomic_finish(lambda: 1),
        lambda c: c.wait_for(hours=1),
        lambda c: c.create_token(),
        lambda c: c.wait_for_token("wp_x"),
        lambda c: c.spawn("durable.bad.kept", {}),
    ]
    assert refusals(ctx, [(ContextClosed, act) for act in acts]) == []
    ctx.log("late")
    ctx.set_progress(1)
    assert (said, [s.name for s in queue.get_job_steps(job_id)]) == (["yes"], ["in a thread"])
    assert (found(queue, job_id).progress, queue.get_job_logs(job_id)) == (None, [])


@pytest.mark.parametrize(
    "answer", [None, 0, -5, "soon", math.nan, True, 10**400, Speechless(), Mute(), ValueError(), "co"]
)
def test_a_callback_that_says_nothing_sensible_lets_the_deadline_stand(queue: JobQueue, answer: Any) -> None:
    def callback() -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return no_step() if answer == "a coroutine" else answer

    @job("durable.bad.callback", takes_context=True, timeout=0.05, max_attempts=1)
    def slow(ctx: JobContext) -> None:
        ctx.on_timeout(callback)
        ctx.signal.wait(60)

    job_id = slow.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).failure_reason == "timeout"
    assert EventType.PROLONGED.value not in words(queue, job_id)


def test_hostile_lines_are_cleaned_or_dropped(queue: JobQueue) -> None:
    logger = logging.getLogger("shop.hostile")
    logger.setLevel(logging.INFO)

    @job("durable.bad.lines", takes_context=True)
    def lines(ctx: JobContext) -> None:
        ctx.log(Speechless())
        ctx.log("x" * 50_000_000)
        ctx.log("\x00\ud800")
        ctx.log(None)
        logger.info("kept\x00")  # records that cannot be formatted: tests.worker.test_reports

    job_id = lines.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).status is JobStatus.COMPLETED, found(queue, job_id)
    kept = [line.message for line in queue.get_job_logs(job_id)]
    assert (len(kept[1]), kept[2:]) == (4096, ["\ufffd?", "None", "kept\ufffd"])


def test_a_waiting_job_can_be_cancelled_and_deleted_and_neither_retried_nor_edited(queue: JobQueue) -> None:
    @job("durable.bad.waits", takes_context=True)
    def waits(ctx: JobContext) -> None:
        ctx.wait_for(hours=1)

    ids = [waits.using(alias=queue.alias).enqueue().id for _ in range(2)]
    burst(queue)
    before = words(queue, ids[0])
    assert not queue.retry_job(ids[0])
    assert not queue.edit_job(ids[0], priority=5)
    assert words(queue, ids[0]) == before
    with pytest.raises(JobStateError):
        queue.retry_job(ids[0], strict=True)
    assert queue.cancel_job(ids[0])
    assert queue.delete_job(ids[1])
    assert queue.get_job_steps(ids[1]) == []
    with pytest.raises(JobNotFound):
        queue.cancel_job(ids[1], strict=True)
