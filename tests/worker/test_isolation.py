"""Handlers in child processes: what they may do there, how they are stopped, and what is left of them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from threading import Thread
from typing import Any

import psutil
import pytest
from django.db import connections

from dataqueue_django import FailureReason, Job, JobStatus, get_queue
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker import cancelling
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.harness.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

TYPE = "harness.isolated"


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def burst(queue: JobQueue, **options: Any) -> None:
    WorkerLoop(queue, ProcessorOptions(burst=True, **options)).run()


def found(queue: JobQueue, job_id: int) -> Job:
    [record] = queue.store.get([job_id])
    return record


def added(queue: JobQueue, *acts: str, **options: Any) -> int:
    return queue.add_job(TYPE, {"acts": list(acts)}, **options)


def lives(pid: int) -> bool:
    """Whether a process runs; an orphan that nobody buries stays visible."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_it_runs_in_another_process(queue: JobQueue) -> None:
    ids = [added(queue, "pid") for _ in range(5)]
    burst(queue, concurrency=1)
    jobs = [found(queue, id) for id in ids]
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}, jobs[0].error_history
    [pid] = {job.output for job in jobs}
    assert pid != os.getpid()
    assert not lives(pid)


@pytest.mark.parametrize("act", ["spin", "stuck", "litter"])
def test_it_is_killed_at_its_timeout(queue: JobQueue, act: str) -> None:
    id = added(queue, act, timeout=0.5, max_attempts=1)
    burst(queue)
    job = found(queue, id)
    assert (job.status, job.failure_reason) == (JobStatus.FAILED, FailureReason.TIMEOUT)
    if act == "litter":
        assert not lives(job.progress_data["done"])


@pytest.mark.parametrize(
    ("act", "least"),
    [("spin", 0.3), ("stuck", 0.3), ("litter", 0.3), ("wait:no such file", 0.0), ("stop_and_die", 0.0)],
)
def test_it_is_asked_to_stop_and_then_killed(
    queue: JobQueue, act: str, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "LOOK_DEAF", 0.05)
    monkeypatch.setattr(cancelling, "LOOK_LISTENING", 0.05)
    worker = replace(queue.settings.worker, cancel_grace=0.3)
    own = JobQueue(queue.store, replace(queue.settings, worker=worker), queue.handlers, queue.notifier)
    id, asked_at = added(queue, f"progress:7+sleep:0.3+{act}" if act != "litter" else act), []

    def ask() -> None:
        wait_until(lambda: found(queue, id).progress is not None or bool(found(queue, id).progress_data))
        asked_at.append(time.monotonic())
        assert queue.cancel_job(id, abort_running=True, actor="ann", reason="wrong file")
        connections.close_all()

    asker = Thread(target=ask)
    asker.start()
    burst(own)
    ended_at = time.monotonic()
    asker.join()
    job, event = found(queue, id), queue.get_job_events(id)[-1]
    assert (job.status, job.attempts, event.actor) == (JobStatus.CANCELLED, 1, "ann"), job.error_history
    assert event.metadata["reason"] == "wrong file"
    assert ended_at - asked_at[0] >= least
    if act == "litter":
        assert not lives(job.progress_data["done"])


@pytest.mark.parametrize(("act", "how"), [("exit:7", "exit code 7"), ("die", "SIGKILL")])
def test_a_process_that_dies_fails_the_attempt(queue: JobQueue, act: str, how: str) -> None:
    id = added(queue, act, "ok:second")
    burst(queue)
    job = found(queue, id)
    assert (job.status, job.output, job.attempts, job.crash_count) == (JobStatus.COMPLETED, "second", 2, 1)
    assert how in str(job.error_history[0]["message"])


def test_what_is_durable_works_in_it(queue: JobQueue) -> None:
    id = added(queue, "run:a+log:line+progress:7+pause:0.01+spawn:ok+prolong+ok:done", timeout=30)
    burst(queue)
    job = found(queue, id)
    assert (job.status, job.output, job.progress, job.attempts) == (JobStatus.COMPLETED, "done", 7, 1), job
    assert [line.message for line in queue.get_job_logs(id)] == ["line", "line"]
