"""Handlers in child processes: what they may do there, how they are stopped, and what is left of them."""

from __future__ import annotations

import os
from typing import Any

import psutil
import pytest
from django.test import override_settings

from dataqueue_django import FailureReason, Job, JobStatus, get_queue
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions

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


def test_it_runs_while_settings_are_overridden(queue: JobQueue) -> None:
    """As tests of a project do. The process has the settings of the module."""
    id = added(queue, "ok:done")
    with override_settings(DEBUG=True), override_settings(LANGUAGE_CODE="de"):
        burst(queue)
    job = found(queue, id)
    assert (job.status, job.output) == (JobStatus.COMPLETED, "done"), job.error_history
