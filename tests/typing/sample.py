"""What type checkers have to say about calls: nothing, except on lines marked with `expect-error`.

Read by mypy and pyright in `test_checkers`; never run.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from dataqueue_django import AsyncJobContext, Completion, Job, JobContext, JobEvent, Token, TokenResult, get_queue, job
from dataqueue_django.queue import AddedJob


@dataclass
class Import:
    file: int


@job
def plain(order_id: int, copy_to: str | None = None) -> dict[str, int]:
    return {"order": order_id}


@job("typing.context", queue="reports", max_attempts=5, timeout=timedelta(minutes=5), takes_context=True)
def with_context(ctx: JobContext, report_id: int, *, when: datetime) -> str:
    return ""


@job("typing.coroutine", priority=3)
async def coroutine(number: int) -> float:
    return 1.0


@job("typing.coroutine_context", takes_context=True)
async def coroutine_with_context(ctx: AsyncJobContext, number: int) -> float:
    return 1.0


@job("typing.durable", takes_context=True)
def durable(ctx: JobContext) -> None:
    assert_type(ctx.run("step", lambda: 3), int)
    assert_type(ctx.run_atomic("step", lambda: "x"), str)
    ctx.wait_for(hours=1, days=2)
    ctx.wait_for(timedelta(days=1))
    token = ctx.create_token(timeout="48h", tags=["a"], answer=Import)
    assert_type(token, Token)
    assert_type(ctx.wait_for_token(token), TokenResult)
    assert_type(ctx.spawn(plain, order_id=7), int)
    assert_type(ctx.spawn(plain.using(priority=3), 7), int)
    assert_type(ctx.spawn("plain", {"order_id": 7}), int)


async def fetch() -> bytes:
    return b""


@job("typing.durable_async", takes_context=True)
async def durable_async(ctx: AsyncJobContext) -> None:
    assert_type(await ctx.run("step", lambda: 3), int)
    assert_type(await ctx.run("fetch", fetch), bytes)
    assert_type(await ctx.wait_for_token("wp_x"), TokenResult)
    assert_type(await ctx.spawn(plain, order_id=7), int)
    ctx.set_progress(5)


@job("typing.whole")
def whole(payload: Import) -> None: ...


NOW = datetime.now(UTC)


async def correct() -> None:
    assert_type(plain.enqueue(7), AddedJob)
    plain.enqueue(order_id=7, copy_to="x")
    plain.enqueue(7, copy_to=None)
    assert_type(await plain.aenqueue(order_id=7), AddedJob)
    assert_type(plain.enqueue_many([{"order_id": 1}]), list[int])
    plain.using(priority=10, run_at=NOW, tags=["vip"], idempotency_key="k", alias="other").enqueue(order_id=7)
    await plain.using(timeout=5, retry_delay=timedelta(seconds=1)).aenqueue(7)
    assert_type(plain(7), dict[str, int])

    with_context.enqueue(report_id=1, when=NOW)
    with_context.using(queue="slow").enqueue(1, when=NOW)

    coroutine.enqueue(number=1)
    waiting: Coroutine[Any, Any, float] = coroutine(1)
    assert_type(await waiting, float)
    await coroutine_with_context.aenqueue(number=1)

    whole.enqueue(Import(3))
    whole.enqueue(payload=Import(3))

    queue = get_queue()
    assert_type(queue.add_job("plain", {"order_id": 7}), int)
    assert_type(await queue.aadd_job("plain", {"order_id": 7}, priority=1), int)
    assert_type(await queue.aget_job(1), Job | None)
    assert_type(queue.complete_token("wp_x", {"a": 1}, actor="jo"), Completion)
    assert_type(await queue.aget_token("wp_x"), Token | None)
    assert_type(await queue.aget_job_events(1), list[JobEvent])


async def called_with_its_context(ctx: JobContext, actx: AsyncJobContext) -> None:
    assert_type(with_context(ctx, 1, when=NOW), str)
    assert_type(await coroutine_with_context(actx, number=1), float)


async def wrong() -> None:
    plain.enqueue(ordr_id=7)  # expect-error: unknown keyword, and order_id is missing
    plain.enqueue(7, copyto="x")  # expect-error: unknown keyword
    plain.enqueue(order_id="7")  # expect-error: type
    plain.enqueue()  # expect-error: missing
    plain.enqueue(7, None, 1)  # expect-error: too many
    await plain.aenqueue(ordr=7)  # expect-error
    await plain.aenqueue(order_id=None)  # expect-error
    await plain.aenqueue()  # expect-error
    plain.using(priorty=10).enqueue(7)  # expect-error: unknown option
    plain.using(priority="high")  # expect-error: type of an option
    plain.using(priority=10).enqueue(copy_to="x")  # expect-error: missing after using
    plain.using(run_at=3)  # expect-error
    plain()  # expect-error: a direct call
    plain("7")  # expect-error: a direct call
    plain.enqueue_many({"order_id": 1}, 5)  # expect-error

    with_context.enqueue(report_id=1)  # expect-error: when is missing
    with_context.enqueue(None, report_id=1, when=NOW)  # expect-error: the context is not part of the payload
    with_context.enqueue(report_id=1, when="tomorrow")  # expect-error
    with_context(1, when=NOW)  # expect-error: a direct call needs the context

    coroutine.enqueue(number="1")  # expect-error
    number: float = coroutine(1)  # expect-error: a coroutine, not its result
    print(number + 1)

    whole.enqueue({"fil": 3})  # expect-error: an object for a dataclass is checked when it is enqueued
    whole.enqueue()  # expect-error

    queue = get_queue()
    queue.add_job(7)  # expect-error
    await queue.aadd_job(7)  # expect-error
    await queue.aget_job("1")  # expect-error
    await queue.aget_job(1, 2)  # expect-error
    text: str = await queue.aadd_job("plain")  # expect-error
    print(text)


def wrong_in_handlers(ctx: JobContext, actx: AsyncJobContext) -> None:
    ctx.run(lambda: 3, "step")  # expect-error
    ctx.run("step")  # expect-error
    ctx.wait_for(hours="1")  # expect-error
    ctx.spawn(plain, ordr_id=7)  # expect-error
    ctx.spawn(plain)  # expect-error
    ctx.create_token(timeout=[])  # expect-error
    number: int = actx.wait_for_token("wp_x")  # expect-error: a coroutine
    print(number)


@job("typing.wrong_context", takes_context=True)  # expect-error: only async handlers get it
def wrong_context(ctx: AsyncJobContext) -> None: ...


@job("typing.option", priorty=3)  # expect-error
def option_with_a_typing_error() -> None: ...


@job("typing.without", takes_context=True)  # expect-error: the first parameter is no context
def without_context(number: int) -> None: ...
