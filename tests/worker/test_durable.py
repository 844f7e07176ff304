"""Durable handlers on a real worker: steps, waits, tokens, spawned jobs, and the rules of replay."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from dataqueue_django import (
    AsyncJobContext,
    Completion,
    FailureReason,
    Job,
    JobContext,
    JobStatus,
    get_queue,
    job,
)
from dataqueue_django.domain.records import EventType, Kind, StepKind, TokenStatus
from dataqueue_django.exceptions import (
    ContextClosed,
    DuplicateStepName,
    InTransaction,
    InvalidStep,
    InvalidWait,
    LeaseLost,
    TokenNotFound,
)
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.models import BusinessRow
from tests.harness.fixtures import REAL

pytestmark = REAL


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def burst(queue: JobQueue, **options: Any) -> None:
    WorkerLoop(queue, ProcessorOptions(burst=True, **options)).run()


def found(queue: JobQueue, job_id: int) -> Job:
    [record] = queue.store.get([job_id])
    return record


def words(queue: JobQueue, job_id: int) -> list[str]:
    return [event.event_type.value for event in queue.get_job_events(job_id)]


def let_time_pass(queue: JobQueue, job_id: int) -> None:
    """Make the time of a job's wait come, as its clock would."""
    from dataqueue_django.models import Job as JobRow
    from dataqueue_django.models import Step as StepRow

    past = timezone.now() - timedelta(seconds=1)
    database = str(queue.settings.database)
    StepRow.objects.using(database).filter(job_id=job_id, until__gt=past).update(until=past)
    JobRow.objects.using(database).filter(id=job_id).update(ready_at=past)


# -- steps and waits


def test_a_handler_goes_on_after_a_wait_and_repeats_no_step(queue: JobQueue) -> None:
    calls: list[Any] = []

    @job("durable.drip", takes_context=True, max_attempts=1)
    def drip(ctx: JobContext, name: str) -> str:
        first = ctx.run("welcome", lambda: calls.append("welcome") or {"to": (name,)})
        ctx.wait_for(days=1)
        second = ctx.run("tips", lambda: calls.append("tips") or 2)
        ctx.wait_until(timezone.now() + timedelta(days=6))
        calls.append((first, second, ctx.attempt))
        return "done"

    job_id = drip.using(alias=queue.alias).enqueue(name="jo").id
    burst(queue)
    waiting = found(queue, job_id)
    assert (waiting.status, waiting.worker_id, waiting.attempts) == (JobStatus.WAITING, None, 1)
    assert waiting.wait_until is not None
    assert timedelta(hours=23.9) < waiting.wait_until - timezone.now() <= timedelta(days=1)
    for _ in range(2):
        let_time_pass(queue, job_id)
        burst(queue)
    done = found(queue, job_id)
    assert (done.status, done.output, done.attempts) == (JobStatus.COMPLETED, "done", 1)
    assert calls == ["welcome", "tips", ({"to": ["jo"]}, 2, 1)]
    assert [(s.kind, s.name) for s in queue.get_job_steps(job_id)] == [
        (StepKind.STEP, "welcome"),
        (StepKind.WAIT, "0"),
        (StepKind.STEP, "tips"),
        (StepKind.WAIT, "1"),
    ]
    assert words(queue, job_id) == ["added", *["processing", "waiting"] * 2, "processing", "completed"]


def test_an_async_handler_does_the_same(queue: JobQueue) -> None:
    calls: list[Any] = []

    @job("durable.adrip", takes_context=True, max_attempts=1)
    async def drip(ctx: AsyncJobContext) -> Any:
        async def send() -> str:
            await asyncio.sleep(0)
            calls.append("sent")
            return "sent"

        def count() -> int:
            calls.append("counted")
            return BusinessRow.objects.using(queue.alias).count()

        one = await ctx.run("send", send)
        two = await ctx.run("count", count)
        await ctx.wait_for(timedelta(hours=1))
        token = await ctx.create_token(timeout="1h")
        three, four = await asyncio.gather(ctx.run("a", lambda: 3), ctx.run("b", send))
        brought = await ctx.wait_for_token(token)
        return [one, two, three, four, brought.output]

    job_id = drip.using(alias=queue.alias).enqueue().id
    burst(queue)
    let_time_pass(queue, job_id)
    burst(queue)
    assert found(queue, job_id).wait_token_id is not None
    assert queue.complete_token(found(queue, job_id).wait_token_id or "", {"ok": 1})
    burst(queue)
    done = found(queue, job_id)
    assert (done.status, done.output) == (JobStatus.COMPLETED, ["sent", 0, 3, "sent", {"ok": 1}]), done
    assert sorted(calls) == ["counted", "sent", "sent"]
    assert done.attempts == 1


def test_a_step_survives_a_failure_and_a_manual_retry(queue: JobQueue) -> None:
    calls: list[str] = []
    ok: list[bool] = []

    @job("durable.fails", takes_context=True, max_attempts=2, retry_delay=0.001, retry_backoff="fixed")
    def fails(ctx: JobContext) -> int:
        number: int = ctx.run("draw", lambda: calls.append("draw") or len(calls))
        if not ok:
            raise ValueError("not yet")
        return number

    job_id = fails.using(alias=queue.alias).enqueue().id
    while not found(queue, job_id).is_terminal:
        burst(queue)
    assert found(queue, job_id).status is JobStatus.FAILED
    ok.append(True)
    queue.retry_job(job_id)
    burst(queue)
    assert (found(queue, job_id).output, calls) == (1, ["draw"])


def test_a_wait_that_is_over_is_none(queue: JobQueue) -> None:
    @job("durable.past", takes_context=True)
    def past(ctx: JobContext) -> str:
        ctx.wait_until(timezone.now() - timedelta(days=1))
        return "at once"

    job_id = past.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).output == "at once"
    assert "waiting" not in words(queue, job_id)


def test_a_short_wait_resumes_by_itself(queue: JobQueue) -> None:
    @job("durable.short", takes_context=True, max_attempts=1)
    def short(ctx: JobContext) -> None:
        for _ in range(3):
            ctx.wait_for(0.02)

    job_id = short.using(alias=queue.alias).enqueue().id
    while not found(queue, job_id).is_terminal:
        burst(queue)
    assert words(queue, job_id) == ["added", *["processing", "waiting"] * 3, "processing", "completed"]
    assert found(queue, job_id).attempts == 1


def test_a_cancelled_wait_goes_on_for_what_is_left_of_it(queue: JobQueue) -> None:
    @job("durable.cancelled", takes_context=True, max_attempts=1)
    def cancelled(ctx: JobContext) -> None:
        ctx.wait_for(hours=1)

    job_id = cancelled.using(alias=queue.alias).enqueue().id
    burst(queue)
    first = found(queue, job_id).wait_until
    assert queue.cancel_job(job_id)
    assert queue.retry_job(job_id)
    burst(queue)
    again = found(queue, job_id)
    assert (again.status, again.wait_until, again.attempts) == (JobStatus.WAITING, first, 2)


# -- the rules of replay


def failed_for_good(queue: JobQueue, job_id: int, reason: FailureReason, text: str) -> None:
    record = found(queue, job_id)
    assert (record.status, record.failure_reason, record.will_retry) == (JobStatus.FAILED, reason.value, False), record
    assert text in str(record.error_history[-1])


def test_a_changed_history_fails_the_job_and_keeps_it(queue: JobQueue) -> None:
    versions: list[Callable[[JobContext], None]] = [
        lambda ctx: ctx.wait_for(hours=1),
        lambda ctx: ctx.wait_until(timezone.now() + timedelta(hours=1)),
    ]

    @job("durable.changed", takes_context=True)
    def changed(ctx: JobContext, swallow: bool) -> str:
        ctx.run("first", lambda: 1)
        version = versions[0] if ctx.claim_seq == 1 else versions[1 if len(versions) > 1 else 0]
        try:
            version(ctx)
        except Exception:
            if not swallow:
                raise
        return "went on"

    for swallow in (False, True):
        job_id = changed.using(alias=queue.alias).enqueue(swallow=swallow).id
        burst(queue)
        let_time_pass(queue, job_id)
        burst(queue)
        failed_for_good(queue, job_id, FailureReason.NON_DETERMINISTIC, "wait_for() and is wait_until() now")
        assert [s.name for s in queue.get_job_steps(job_id)] == ["first", "0"]
    del versions[1]  # deployed again as it was
    assert queue.retry_job(job_id)
    burst(queue)
    assert found(queue, job_id).output == "went on"


def test_two_steps_of_one_name_fail_the_job(queue: JobQueue) -> None:
    @job("durable.twice", takes_context=True)
    def twice(ctx: JobContext) -> None:
        ctx.run("charge", lambda: 1)
        with pytest.raises(DuplicateStepName, match="'charge'"):
            ctx.run("charge", lambda: 2)

    job_id = twice.using(alias=queue.alias).enqueue().id
    burst(queue)
    failed_for_good(queue, job_id, FailureReason.INVALID_STEP, "DuplicateStepName")
    assert [s.result for s in queue.get_job_steps(job_id)] == [1]


@pytest.mark.parametrize("how", ["caught", "replaced"])
def test_a_swallowed_wait_fails_the_job(queue: JobQueue, how: str) -> None:
    @job(f"durable.swallows_{how}", takes_context=True)
    def swallows(ctx: JobContext) -> None:
        try:
            ctx.wait_for(hours=1)
        except BaseException:
            with pytest.raises(BaseException, match="let this exception pass"):
                ctx.run("more", lambda: 1)
            if how == "replaced":
                raise ValueError("mine") from None

    job_id = swallows.using(alias=queue.alias).enqueue().id
    burst(queue)
    failed_for_good(queue, job_id, FailureReason.WAIT_SWALLOWED, "went on")


def test_a_suspension_passes_through_a_task_group(queue: JobQueue) -> None:
    @job("durable.group", takes_context=True)
    async def group(ctx: AsyncJobContext) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.wait_for(hours=1))
            tasks.create_task(asyncio.sleep(30))

    job_id = group.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).status is JobStatus.WAITING


@pytest.mark.parametrize(
    ("do", "error", "text"),
    [
        (lambda ctx: ctx.run("x", lambda: {1}), InvalidStep, "the result of step 'x' is a set"),
        (lambda ctx: ctx.run("x", lambda: float("nan")), InvalidStep, "finite"),
        (lambda ctx: ctx.run("x", lambda: "x" * 2**21), InvalidStep, "at most"),
        (lambda ctx: ctx.run("", lambda: 1), InvalidStep, "1 to 255 characters"),
        (lambda ctx: ctx.run("x" * 256, lambda: 1), InvalidStep, "1 to 255 characters"),
        (lambda ctx: ctx.run("a\x00", lambda: 1), InvalidStep, "1 to 255 characters"),
        (lambda ctx: ctx.run(3, lambda: 1), InvalidStep, "1 to 255 characters"),
        (lambda ctx: ctx.run("x", lambda: asyncio.sleep(0)), InvalidStep, "which is async"),
        (lambda ctx: ctx.run("x", lambda: ctx.wait_for(hours=1)), InvalidWait, "while a step runs"),
        (lambda ctx: ctx.wait_for(), InvalidWait, "no duration"),
        (lambda ctx: ctx.wait_for(5, hours=1), InvalidWait, "one of them"),
        (lambda ctx: ctx.wait_for(hours=-1), InvalidWait, "more than 0"),
        (lambda ctx: ctx.wait_for(hours=0), InvalidWait, "more than 0"),
        (lambda ctx: ctx.wait_for(days=10**9), InvalidWait, "ten years"),
        (lambda ctx: ctx.wait_for(seconds=10**400), InvalidWait, "ten years"),
        (lambda ctx: ctx.wait_for(hours=float("nan")), InvalidWait, "expected a number"),
        (lambda ctx: ctx.wait_for(hours=True), InvalidWait, "expected a number"),
        (lambda ctx: ctx.wait_for("1h"), InvalidWait, "expected a number"),
        (lambda ctx: ctx.wait_for(hour=1), InvalidWait, "Did you mean 'hours'"),
        (lambda ctx: ctx.wait_until(timezone.now().replace(tzinfo=None)), InvalidWait, "aware"),
        (lambda ctx: ctx.wait_until("tomorrow"), InvalidWait, "aware"),
        (lambda ctx: ctx.wait_until(timezone.now() + timedelta(days=4000)), InvalidWait, "ten years"),
        (lambda ctx: ctx.wait_for_token("wp_none"), TokenNotFound, "no such token"),
        (lambda ctx: ctx.run_atomic("x", asyncio.sleep), InvalidStep, "synchronous"),
        (lambda ctx: ctx.run_atomic("x", lambda: asyncio.sleep(0)), InvalidStep, "synchronous"),
        (lambda ctx: ctx.atomic_finish(None), InvalidStep, "synchronous"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_recorded(
    queue: JobQueue, do: Callable[[JobContext], Any], error: type[Exception], text: str
) -> None:
    @job("durable.refused", takes_context=True)
    def refused(ctx: JobContext) -> None:
        with pytest.raises(error, match=text.replace("(", r"\(")):
            do(ctx)

    job_id = refused.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).status is JobStatus.COMPLETED, found(queue, job_id)
    assert queue.get_job_steps(job_id) == []


def test_nothing_durable_is_done_inside_a_transaction(queue: JobQueue) -> None:
    said: list[str] = []

    @job("durable.inside", takes_context=True)
    def inside(ctx: JobContext) -> None:
        acts: list[Callable[[], Any]] = [
            lambda: ctx.run("x", lambda: 1),
            lambda: ctx.run_atomic("x", lambda: 1),
            lambda: ctx.atomic_finish(lambda: 1),
            lambda: ctx.wait_for(hours=1),
            lambda: ctx.wait_until(timezone.now() + timedelta(hours=1)),
            lambda: ctx.create_token(),
            lambda: ctx.wait_for_token("wp_x"),
            lambda: ctx.spawn("durable.inside", {}),
        ]
        for database in connections:
            for act in acts:
                with transaction.atomic(using=database), pytest.raises(InTransaction) as caught:
                    act()
                said.append(str(caught.value))
        with pytest.raises(InTransaction):
            ctx.run_atomic("outer", lambda: ctx.run("inner", lambda: 1))

    job_id = inside.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).status is JobStatus.COMPLETED, found(queue, job_id)
    assert len(said) == 8 * len(list(connections))
    assert all("outside of atomic()" in text for text in said)
    assert queue.get_job_steps(job_id) == []


# -- tokens


def test_a_token_brings_its_answer(queue: JobQueue) -> None:
    made: list[str] = []

    @job("durable.approval", takes_context=True, max_attempts=1)
    def approval(ctx: JobContext) -> Any:
        token = ctx.create_token(timeout="48h", tags=["approval"])
        inner = ctx.run("inner", lambda: ctx.create_token().id)
        made.append(token.id)
        result = ctx.wait_for_token(token)
        return {"ok": result.ok, "output": result.output, "error": result.error, "inner": inner.startswith("wp_")}

    job_id = approval.using(alias=queue.alias).enqueue().id
    burst(queue)
    token = queue.get_token(made[0])
    assert token is not None
    assert (token.status, token.job_id, token.tags) == (TokenStatus.WAITING, job_id, ("approval",))
    assert token.timeout_at - token.created_at == timedelta(hours=48)
    assert queue.complete_token(token, {"yes": True}, actor="jo") is Completion.COMPLETED
    assert queue.complete_token(token, {"yes": False}) is Completion.ALREADY_COMPLETED
    assert queue.complete_token("wp_none") is Completion.NOT_FOUND
    burst(queue)
    done = found(queue, job_id)
    assert done.output == {"ok": True, "output": {"yes": True}, "error": None, "inner": True}
    assert (done.attempts, made[0]) == (1, made[1])
    kept = queue.get_token(token)
    assert kept is not None
    assert (kept.completed_by, kept.due_at) == ("jo", None)
    assert words(queue, job_id) == ["added", "processing", "waiting", "resumed", "processing", "completed"]


def test_a_token_made_outside_wakes_everybody_and_times_out(queue: JobQueue) -> None:
    @job("durable.waits", takes_context=True, max_attempts=1)
    def waits(ctx: JobContext, token: str) -> Any:
        return ctx.wait_for_token(token).error or "answered"

    answered, late = queue.create_token(), queue.create_token(timeout=2)
    ids = [waits.using(alias=queue.alias).enqueue(token=t.id).id for t in (answered, answered, late)]
    burst(queue)
    assert {found(queue, id).status for id in ids} == {JobStatus.WAITING}
    assert queue.complete_token(answered)
    while queue.get_token(late).status is TokenStatus.WAITING:  # type: ignore[union-attr]
        queue.expire_timed_out_tokens()
    assert queue.complete_token(late) is Completion.EXPIRED
    burst(queue)
    assert [found(queue, id).output for id in ids] == ["answered", "answered", "Token timed out"]


def test_a_token_that_was_closed_before_is_no_wait(queue: JobQueue) -> None:
    token = queue.create_token()
    queue.complete_token(token, 5)

    @job("durable.closed", takes_context=True)
    def closed(ctx: JobContext) -> Any:
        return ctx.wait_for_token(token.id).output

    job_id = closed.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).output == 5
    queue.store.remove(Kind.TOKEN, [token.id])


@dataclass
class Decision:
    approve: bool
    note: str = ""


@pytest.mark.parametrize("answer", [Decision, {"type": "object", "required": ["approve"]}])
def test_an_answer_is_checked_when_it_comes(queue: JobQueue, answer: Any) -> None:
    from dataqueue_django.exceptions import InvalidAnswer

    token = queue.create_token(answer=answer)
    with pytest.raises(InvalidAnswer, match="approve"):
        queue.complete_token(token, {"note": "?"})
    with pytest.raises(InvalidAnswer, match="at most 262144"):
        queue.complete_token(token, "x" * 2**18)
    assert queue.complete_token(token, {"approve": True})


# -- spawn, logs, keys


def test_a_spawned_job_is_spawned_once(queue: JobQueue) -> None:
    @job("durable.child")
    def child(n: int) -> int:
        return n

    @job("durable.parent", takes_context=True)
    def parent(ctx: JobContext) -> list[int]:
        ids = [ctx.spawn(child.using(alias=queue.alias, priority=3), n=n) for n in range(2)]
        ids.append(ctx.spawn("durable.child", {"n": 2}))
        ctx.wait_for(0.01)
        return ids

    job_id = parent.using(alias=queue.alias).enqueue().id
    while not found(queue, job_id).is_terminal:
        burst(queue)
    children = queue.get_jobs({"job_type": "durable.child"})
    assert sorted(c.id for c in children) == sorted(found(queue, job_id).output)
    assert sorted((c.output, c.priority) for c in children) == [(0, 3), (1, 3), (2, 0)]


def test_what_a_handler_logs_is_kept_with_its_job(queue: JobQueue) -> None:
    logger = logging.getLogger("shop.orders")
    logger.setLevel(logging.INFO)

    @job("durable.logs", takes_context=True)
    def logs(ctx: JobContext) -> None:
        logger.info("order %d", 7)
        logger.debug("not this")
        ctx.log("paid\x00", "warning")
        ctx.log("x" * 5000)

    @job("durable.alogs")
    async def alogs() -> None:
        logger.info("async")
        await asyncio.to_thread(logger.info, "in a thread")

    ids = [logs.using(alias=queue.alias).enqueue().id, alogs.using(alias=queue.alias).enqueue().id]
    burst(queue)
    lines = [[(x.level, x.logger, x.message) for x in queue.get_job_logs(id)] for id in ids]
    assert lines[0][:2] == [("INFO", "shop.orders", "order 7"), ("WARNING", "", "paid�")]
    assert len(lines[0][2][2]) == 4096
    assert [message for _, _, message in lines[1]] == ["async", "in a thread"]


def test_keys_for_outside_are_the_same_in_every_attempt(queue: JobQueue) -> None:
    keys: list[tuple[str, str]] = []

    @job("durable.keys", takes_context=True, max_attempts=2, retry_delay=0.001, retry_backoff="fixed")
    def fails(ctx: JobContext) -> None:
        keys.append((ctx.idempotency_key("charge"), ctx.idempotency_key("mail")))
        raise ValueError

    ids = [fails.using(alias=queue.alias).enqueue().id for _ in range(2)]
    while not all(found(queue, id).is_terminal for id in ids):
        burst(queue)
    assert len(keys) == 4
    assert len({key for pair in keys for key in pair}) == 4


# -- exactly once


def test_run_atomic_and_atomic_finish_commit_with_their_writes(queue: JobQueue) -> None:
    @job("durable.atomic", takes_context=True, max_attempts=3, retry_delay=0.001, retry_backoff="fixed")
    def atomic(ctx: JobContext) -> None:
        def make(name: str) -> int:
            ctx.set_progress(50, name)
            return BusinessRow.objects.using(queue.alias).create(note=name).pk

        first = ctx.run_atomic("first", lambda: make("first"))
        if ctx.attempt == 1:
            with pytest.raises(LookupError):
                ctx.run_atomic("broken", lambda: [make("broken"), {}["x"]])
            raise ValueError("again")
        ctx.atomic_finish(lambda: {"first": first, "second": make("second")})
        with pytest.raises(ContextClosed, match="completed its job"):
            ctx.run("late", lambda: 1)
        ctx.log("dropped")

    job_id = atomic.using(alias=queue.alias).enqueue().id
    while not found(queue, job_id).is_terminal:
        burst(queue)
    done = found(queue, job_id)
    names = BusinessRow.objects.using(queue.alias).values_list("note", "pk")
    assert (done.status, done.output, done.progress_message) == (JobStatus.COMPLETED, dict(names), "second")
    assert words(queue, job_id).count("completed") == 1


def test_a_connection_that_is_lost_before_a_transaction_began_costs_no_attempt(queue: JobQueue) -> None:
    def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if lost:
            return execute(sql, params, many, context)
        lost.append(sql)
        raise OperationalError("the connection is lost")

    @job("durable.reconnects", takes_context=True, max_attempts=1)
    def reconnects(ctx: JobContext) -> None:
        with connections[str(queue.settings.database)].execute_wrapper(away):
            act = ctx.atomic_finish if lasts else lambda make: ctx.run_atomic("first", make)
            act(lambda: BusinessRow.objects.using(queue.alias).create(note=f"made {len(lasts)}").pk)

    lasts: list[bool] = []
    for _ in range(2):
        lost: list[str] = []
        job_id = reconnects.using(alias=queue.alias).enqueue().id
        burst(queue)
        assert found(queue, job_id).status is JobStatus.COMPLETED, found(queue, job_id)
        assert lost
        lasts.append(True)
    assert BusinessRow.objects.using(queue.alias).count() == 2


def test_async_handlers_finish_atomically_by_a_synchronous_function(queue: JobQueue) -> None:
    @job("durable.aatomic", takes_context=True)
    async def atomic(ctx: AsyncJobContext) -> None:
        async def no() -> None: ...

        with pytest.raises(InvalidStep, match="synchronous"):
            await ctx.run_atomic("x", no)
        await ctx.run_atomic("first", lambda: BusinessRow.objects.using(queue.alias).create(note="first").pk)
        await ctx.atomic_finish(lambda: BusinessRow.objects.using(queue.alias).create(note="second").note)

    job_id = atomic.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert (found(queue, job_id).status, found(queue, job_id).output) == (JobStatus.COMPLETED, "second")
    assert BusinessRow.objects.using(queue.alias).count() == 2


def test_a_lost_execution_leaves_nothing_behind(queue: JobQueue) -> None:
    said: list[type[BaseException]] = []

    @job("durable.lost", takes_context=True)
    def lost(ctx: JobContext) -> None:
        acts: list[Callable[[], Any]] = [
            lambda: ctx.run("x", lambda: 1),
            lambda: ctx.run_atomic("y", lambda: BusinessRow.objects.using(queue.alias).create(note="y").pk),
            lambda: ctx.create_token(),
            lambda: ctx.spawn("durable.lost", {}),
            lambda: ctx.atomic_finish(lambda: BusinessRow.objects.using(queue.alias).create(note="z").pk),
        ]
        queue.store.delete([ctx.job.id], force=True)
        for act in acts:
            with pytest.raises(LeaseLost) as caught:
                act()
            said.append(caught.type)

    lost.using(alias=queue.alias).enqueue()
    burst(queue)
    assert len(said) == 5
    assert queue.count_jobs() == 0
    assert not BusinessRow.objects.using(queue.alias).exists()
    assert queue.store.find(Kind.TOKEN) == []


def test_writes_to_another_database_are_refused_in_a_transaction(queue: JobQueue) -> None:
    others = [name for name in connections if name != queue.settings.database]

    @job("durable.elsewhere", takes_context=True)
    def elsewhere(ctx: JobContext) -> None:
        for other in others:
            with pytest.raises(InTransaction, match=f"'{other}'"):
                ctx.run_atomic(f"to {other}", lambda other=other: BusinessRow.objects.using(other).create(note="x").pk)  # type: ignore[misc]
        ctx.run_atomic("reads", lambda: [BusinessRow.objects.using(other).count() for other in others])

    job_id = elsewhere.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert found(queue, job_id).status is JobStatus.COMPLETED, found(queue, job_id)
    assert not any(BusinessRow.objects.using(other).exists() for other in others)


# -- waiting costs nothing


def test_a_thousand_waiting_jobs_do_not_stand_in_the_way(queue: JobQueue) -> None:
    @job("durable.parked", takes_context=True)
    def parked(ctx: JobContext, token: str | None) -> None:
        if token is None:
            ctx.wait_for(hours=1)
        else:
            ctx.wait_for_token(token)

    @job("durable.ready")
    def ready() -> str:
        return threading.current_thread().name

    token = queue.create_token().id
    parked.using(alias=queue.alias, priority=9).enqueue_many({"token": token if n % 2 else None} for n in range(1000))
    burst(queue, concurrency=1)
    assert queue.count_jobs({"status": "waiting"}) == 1000
    assert queue.store.count(by=("worker_id",)) == {(None,): 1000}
    job_id = ready.using(alias=queue.alias).enqueue().id
    burst(queue, concurrency=1)
    assert found(queue, job_id).status is JobStatus.COMPLETED
    assert found(queue, job_id).attempts == 1
    assert queue.complete_token(token)
    assert queue.count_jobs({"status": "waiting"}) == 500


# -- deadlines


def test_prolong_and_on_timeout_move_the_deadline(queue: JobQueue) -> None:
    asked: list[int] = []

    @job("durable.slow", takes_context=True, timeout=0.2, max_attempts=1)
    def slow(ctx: JobContext) -> str:
        ctx.on_timeout(lambda: asked.append(1) or (0.3 if len(asked) < 3 else None))
        assert ctx.prolong(0.25)
        ctx.signal.wait(30)
        return str(ctx.signal.reason)

    @job("durable.no_deadline", takes_context=True)
    def no_deadline(ctx: JobContext) -> bool:
        return ctx.prolong(5)

    job_id = slow.using(alias=queue.alias).enqueue().id
    other = no_deadline.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert (found(queue, job_id).failure_reason, len(asked)) == ("timeout", 3)
    assert found(queue, other).output is False
    why = [e.metadata["reason"] for e in queue.get_job_events(job_id) if e.event_type is EventType.PROLONGED]
    assert why[0] == "prolong"
    assert "on_timeout" in why


def test_who_waited_for_the_token_of_a_deleted_job_learns_that_its_time_was_up(queue: JobQueue) -> None:
    @job("durable.orphan", takes_context=True, max_attempts=1)
    def orphan(ctx: JobContext, token: str) -> Any:
        return ctx.wait_for_token(token).error

    @job("durable.token_maker", takes_context=True)
    def maker(ctx: JobContext) -> None:
        ctx.wait_for_token(ctx.create_token())

    maker_id = maker.using(alias=queue.alias).enqueue().id
    burst(queue)
    [token] = queue.store.find(Kind.TOKEN, job_id=maker_id)
    job_id = orphan.using(alias=queue.alias).enqueue(token=token.id).id
    burst(queue)
    queue.delete_job(maker_id)
    queue.expire_timed_out_tokens()
    assert queue.get_token(token) is None
    burst(queue)
    assert found(queue, job_id).output == "Token timed out"


def test_a_history_that_is_full_can_still_be_waited_in(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataqueue_django.worker.history.MOST_STEPS", 1)

    @job("durable.full", takes_context=True, max_attempts=1)
    def full(ctx: JobContext) -> None:
        ctx.wait_for(hours=1)
        ctx.run("one too many", lambda: 1)

    job_id = full.using(alias=queue.alias).enqueue().id
    burst(queue)
    assert queue.cancel_job(job_id)
    assert queue.retry_job(job_id)
    burst(queue)
    assert found(queue, job_id).status is JobStatus.WAITING
    let_time_pass(queue, job_id)
    burst(queue)
    failed_for_good(queue, job_id, FailureReason.INVALID_STEP, "which is the most there can be")
