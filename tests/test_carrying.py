"""What travels with a job from where it is added to where it runs."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from django.core.checks import run_checks

from dataqueue_django import JobContext, JobStatus, get_queue, job
from dataqueue_django.exceptions import ConfigurationError, InvalidJob, InvalidPayload
from dataqueue_django.handlers import registry
from dataqueue_django.queue import JobQueue, base
from dataqueue_django.testing import run_job
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.carriers import Picky, request_id
from tests.harness.fixtures import REAL

pytestmark = [REAL, pytest.mark.usefixtures("forget_handlers")]

PATHS = ["tests.app.carriers.RequestId", "tests.app.carriers.Picky"]


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    settings.DATAQUEUE_CONTEXT = PATHS
    return get_queue(any_alias)


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> type[Picky]:
    monkeypatch.setattr(Picky, "refuses", "")
    Picky.seen.clear()
    return Picky


def burst(queue: JobQueue) -> None:
    WorkerLoop(queue, ProcessorOptions(burst=True)).run()


def added(queue: JobQueue, job_type: str, payload: Any = None, *, request: str | None = "r1", **options: Any) -> int:
    token = request_id.set(request)
    try:
        return queue.add_job(job_type, {} if payload is None else payload, **options)
    finally:
        request_id.reset(token)


def output(queue: JobQueue, id: int) -> Any:
    found = queue.store.get([id])[0]
    assert found.status is JobStatus.COMPLETED, found.error_history
    return found.output


def test_a_sync_and_an_async_handler_find_it(queue: JobQueue) -> None:
    @job("carrying.sync")
    def sync() -> str | None:
        return request_id.get()

    @job("carrying.async")
    async def coroutine() -> str | None:
        return request_id.get()

    ids = [added(queue, f"carrying.{kind}", request=r) for kind in ("sync", "async") for r in ("r1", None, "r2")]
    ids += queue.add_jobs([{"job_type": "carrying.sync", "payload": {}}])
    assert [found.context for found in queue.store.get(ids[:2])] == [{"request": "r1"}, None]
    burst(queue)
    assert [output(queue, id) for id in ids] == ["r1", None, "r2", "r1", None, "r2", None]
    assert request_id.get() is None


def test_a_child_process_finds_it(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_CARRIERS", "tests.app.carriers.RequestId")
    id = added(queue, "harness.isolated", {"acts": ["carried"]})
    burst(queue)
    assert output(queue, id) == "r1"


def test_jobs_that_a_handler_adds_carry_on(queue: JobQueue) -> None:
    @job("carrying.child")
    def child() -> str | None:
        return request_id.get()

    @job("carrying.parent", takes_context=True)
    def parent(ctx: JobContext) -> list[int]:
        return [ctx.spawn("carrying.child", {}), child.enqueue().id if queue.alias == "default" else 0]

    id = added(queue, "carrying.parent", request="r7")
    burst(queue)
    for found in output(queue, id):
        assert not found or output(queue, found) == "r7"


def test_it_is_there_again_at_each_attempt_and_after_each_wait(queue: JobQueue) -> None:
    seen = []

    @job("carrying.again", takes_context=True, retry_delay=0.001, retry_backoff="fixed")
    def again(ctx: JobContext) -> None:
        seen.append(request_id.get())
        ctx.wait_for(0.001)
        if ctx.attempt == 1:
            raise ValueError("x")

    id = added(queue, "carrying.again")
    while not queue.store.get([id])[0].is_terminal:
        burst(queue)
    assert set(seen) == {"r1"}
    assert len(seen) >= 3


def test_the_test_kit_carries_it(queue: JobQueue) -> None:
    job("carrying.kit")(lambda: request_id.get())
    assert run_job(added(queue, "carrying.kit"), alias=queue.alias).output == "r1"


def test_what_cannot_be_captured_is_not_added(queue: JobQueue, picky: type[Picky]) -> None:
    job("carrying.refused")(lambda: None)
    for refusal, error in (("capture", LookupError), ("size", InvalidJob), ("json", InvalidPayload)):
        picky.refuses = refusal
        with pytest.raises(error):
            added(queue, "carrying.refused")
    assert queue.count_jobs({"job_type": "carrying.refused"}) == 0


def test_where_it_cannot_be_restored_the_handler_does_not_run(
    queue: JobQueue, picky: type[Picky], caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    job("carrying.enter", max_attempts=1)(lambda: ran.append(1))
    picky.refuses = "enter"
    id = added(queue, "carrying.enter")
    burst(queue)
    found = queue.store.get([id])[0]
    assert (found.status, ran) == (JobStatus.FAILED, [])
    assert "no such tenant" in str(found.error_history)
    assert [record for record in caplog.records if record.exc_info and "LookupError" in record.getMessage()]


def test_what_fails_at_the_end_changes_nothing_any_more(
    queue: JobQueue, picky: type[Picky], caplog: pytest.LogCaptureFixture
) -> None:
    job("carrying.leave")(lambda: "done")
    picky.refuses = "leave"
    id = added(queue, "carrying.leave")
    burst(queue)
    assert output(queue, id) == "done"
    assert any("failed after job" in record.getMessage() for record in caplog.records)


def test_a_failure_cannot_be_swallowed(queue: JobQueue, picky: type[Picky]) -> None:
    error = ValueError("x")

    @job("carrying.swallow", max_attempts=1)
    def fail() -> None:
        raise error

    picky.refuses = "swallow"
    id = added(queue, "carrying.swallow")
    burst(queue)
    assert queue.store.get([id])[0].status is JobStatus.FAILED
    assert picky.seen == [error]


def test_a_payload_that_does_not_fit_is_judged_as_ever(queue: JobQueue, picky: type[Picky]) -> None:
    @job("carrying.payload")
    def typed(n: int) -> None: ...

    id = added(queue, "carrying.payload", {"n": 1})
    registry.remove("carrying.payload")

    @job("carrying.payload")
    def other(m: int) -> None: ...

    burst(queue)
    found = queue.store.get([id])[0]
    assert (found.status.value, found.failure_reason) == ("failed", "invalid_payload")


def test_failures_are_logged_with_what_was_carried(queue: JobQueue) -> None:
    heard: list[str | None] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                heard.append(request_id.get())

    @job("carrying.logged", max_attempts=1)
    def fail() -> None:
        raise ValueError("x")

    listener, logger = Listener(), logging.getLogger("dataqueue_django.jobs")
    logger.addHandler(listener)
    try:
        added(queue, "carrying.logged")
        burst(queue)
    finally:
        logger.removeHandler(listener)
    assert heard == ["r1"]


def test_threads_do_not_mix_it_up(queue: JobQueue) -> None:
    barrier = threading.Barrier(2, timeout=60)

    @job("carrying.thread")
    def meet() -> str | None:
        barrier.wait()
        return request_id.get()

    ids = [added(queue, "carrying.thread", request=r) for r in ("a", "b")]
    WorkerLoop(queue, ProcessorOptions(burst=True, concurrency=2)).run()
    assert [output(queue, id) for id in ids] == ["a", "b"]


def test_without_carriers_nothing_is_asked(any_alias: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATAQUEUE_CONTEXT = []
    job("carrying.free")(lambda: request_id.get())
    monkeypatch.setattr(base, "replace", None)  # what would put a context into a job
    queue = get_queue(any_alias)
    id = added(queue, "carrying.free")
    assert queue.store.get([id])[0].context is None
    burst(queue)
    assert output(queue, id) is None


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["tests.app.carriers.Nobody"], "cannot be imported"),
        (["nowhere"], "cannot be imported"),
        (["tests.app.carriers.Nameless"], "with a name"),
        (["tests.app.carriers.request_id"], "expected a subclass of dataqueue_django.Carrier"),
        ([PATHS[0], "tests.app.carriers.Twin"], "two carriers of one name"),
        (PATHS[0], "expected a list of names"),
        ([3], "expected a list of names"),
    ],
)
def test_settings_that_make_no_sense(settings: Any, paths: Any, says: str) -> None:
    settings.DATAQUEUE_CONTEXT = paths
    with pytest.raises(ConfigurationError, match=says):
        get_queue().add_job("harness.pid", {})
    found = [message for message in run_checks(tags=["dataqueue"]) if message.id == "dataqueue.E005"]
    assert [says in message.msg for message in found] == [True]
