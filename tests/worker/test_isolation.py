"""Handlers in child processes: what they may do there, how they are stopped, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from django.db import OperationalError, connections
from django.test import override_settings

from dataqueue_django import FailureReason, Job, JobStatus, check_isolatable, get_queue, job
from dataqueue_django.domain.records import Claim, Worker
from dataqueue_django.exceptions import ConfigurationError, InvalidJob
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker import cancelling
from dataqueue_django.worker.heart import Heart
from dataqueue_django.worker.isolation import hunting
from dataqueue_django.worker.isolation.wire import ENCODER, from_job, to_job
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.models import BusinessRow
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL

TYPE = "harness.isolated"


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


@pytest.fixture
def plain() -> JobQueue:
    """The queue for what does not depend on the store."""
    return get_queue()


def with_settings(queue: JobQueue, **worker: Any) -> JobQueue:
    """Return the queue with other settings for its workers."""
    settings = replace(queue.settings, worker=replace(queue.settings.worker, **worker))
    return JobQueue(queue.store, settings, queue.handlers, queue.notifier)


def burst(queue: JobQueue, **options: Any) -> None:
    WorkerLoop(queue, ProcessorOptions(burst=True, **options)).run()


def until_ended(queue: JobQueue, *ids: int) -> None:
    """Work until these jobs have ended; those that wait are waited for."""
    while not all(found(queue, id).is_terminal for id in ids):
        burst(queue)


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


def test_it_runs_in_another_process(plain: JobQueue) -> None:
    ids = [added(plain, "pid") for _ in range(5)]
    burst(plain, concurrency=1)
    jobs = [found(plain, id) for id in ids]
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
    own = with_settings(queue, cancel_grace=0.3)
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


@pytest.mark.parametrize(("act", "how"), [("exit:7", "exit code 7"), ("die", "SIGKILL"), ("segv", "SIGSEGV")])
def test_a_process_that_dies_fails_the_attempt(plain: JobQueue, act: str, how: str) -> None:
    id = added(plain, act, "ok:second")
    burst(plain)
    job = found(plain, id)
    assert (job.status, job.output, job.attempts, job.crash_count) == (JobStatus.COMPLETED, "second", 2, 1)
    assert how in str(job.error_history[0]["message"])


@pytest.mark.parametrize(
    ("acts", "output"),
    [
        ("run:a+log:line+progress:7+pause:0.01+spawn:ok+prolong+ok:done", "done"),
        ("token:0.01", "Token timed out"),
        ("more:60+sleep:0.7+ok:late", "late"),
    ],
)
def test_what_is_durable_works_in_it(queue: JobQueue, acts: str, output: str | None) -> None:
    id = added(queue, acts, timeout=0.5 if "more" in acts else 30)
    until_ended(queue, id)
    job = found(queue, id)
    assert (job.status, job.output, job.attempts) == (JobStatus.COMPLETED, output, 1), job.error_history
    assert job.progress == (7 if "progress" in acts else None)
    lines = [line.message for line in queue.get_job_logs(id)]
    assert lines == ["line"] * (acts.count("log") * (2 if "pause" in acts else 1))


def test_what_is_written_with_its_record_works_in_it() -> None:
    queue = get_queue()  # whose database the acts write to
    id = added(queue, "atomic:a+log:line+finish:b")
    burst(queue)
    assert (found(queue, id).status, found(queue, id).output) == (JobStatus.COMPLETED, "b")
    rows = BusinessRow.objects.using(queue.settings.database)
    assert sorted(rows.values_list("note", "job_id")) == [("a", id), ("b", id)]
    assert [line.message for line in queue.get_job_logs(id)] == ["line"]


def test_async_handlers_run_in_it_and_are_killed_too(queue: JobQueue) -> None:
    quick, stuck = (
        queue.add_job("harness.isolated_async", {"seconds": seconds}, timeout=timeout, max_attempts=1)
        for seconds, timeout in ((0, 30), (60, 1))
    )
    until_ended(queue, quick, stuck)
    job, late = found(queue, quick), found(queue, stuck)
    assert (job.status, late.status) == (JobStatus.COMPLETED, JobStatus.FAILED), (job, late)
    assert str(job.output).startswith("in ")
    assert job.output != f"in {os.getpid()}"
    assert late.failure_reason == FailureReason.TIMEOUT
    assert [line.message for line in queue.get_job_logs(quick)] == ["awake"]


def test_it_runs_while_settings_are_overridden(plain: JobQueue) -> None:
    """As tests of a project do. The process has the settings of the module."""
    id = added(plain, "ok:done")
    with override_settings(DEBUG=True), override_settings(LANGUAGE_CODE="de"):
        burst(plain)
    job = found(plain, id)
    assert (job.status, job.output) == (JobStatus.COMPLETED, "done"), job.error_history


def test_a_poisonous_job_stops_and_harms_no_other(queue: JobQueue) -> None:
    poison = added(queue, "exit:1", max_attempts=10)
    others = [added(queue, "ok") for _ in range(10)]
    for _ in range(3):
        burst(queue)
    job = found(queue, poison)
    assert (job.status, job.failure_reason) == (JobStatus.FAILED, FailureReason.WORKER_LOST)
    assert (job.attempts, job.crash_count) == (3, 3)
    assert {(found(queue, id).status, found(queue, id).attempts) for id in others} == {(JobStatus.COMPLETED, 1)}


def test_memory_and_cpu_time_are_bounded(plain: JobQueue) -> None:
    queue = with_settings(plain, isolate_memory=1024, isolate_cpu=0.5)
    hog, spin, modest = added(queue, "hog:2048", "ok"), added(queue, "spin", "ok"), added(queue, "hog:16")
    for _ in range(2):
        burst(queue)
    jobs = [found(queue, id) for id in (hog, spin, modest)]
    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 3, jobs
    assert [job.attempts for job in jobs] == [2, 2, 1]
    assert jobs[0].error_history[0]["type"] == "MemoryError"
    assert "SIGXCPU" in str(jobs[1].error_history[0]["message"])


def test_a_worker_or_a_queue_may_isolate_every_handler(plain: JobQueue) -> None:
    by_setting = with_settings(plain, isolate_queues=("apart",))
    apart, beside = (plain.add_job("harness.pid", {}, queue=name) for name in ("apart", "beside"))
    burst(by_setting)
    assert found(plain, beside).output == os.getpid()
    assert found(plain, apart).output not in (None, os.getpid())
    by_option = plain.add_job("harness.pid", {})
    burst(plain, isolate=True)
    assert found(plain, by_option).output not in (None, os.getpid())


def test_a_child_is_replaced_after_its_number_of_jobs(plain: JobQueue) -> None:
    queue = with_settings(plain, isolate_jobs=2)
    ids = [added(queue, "pid") for _ in range(5)]
    burst(queue, concurrency=1)
    assert len({found(queue, id).output for id in ids}) == 3


def test_a_child_holds_nothing_open_of_its_worker(plain: JobQueue, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with secret.open("w") as file:
        os.set_inheritable(file.fileno(), True)
        id = added(plain, "files")
        burst(plain)
    held = found(plain, id).output
    assert held
    assert str(secret) not in held


def test_when_the_lease_is_over_it_is_killed_though_nobody_can_be_told(
    plain: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is a peer's from then on, so what cannot ask any more must not go on."""
    queue = with_settings(plain, heartbeat=0.1, lease=1.0)
    away = Event()

    def beat(heart: Heart, original: Callable[[Heart], None] = Heart._beat) -> None:
        if away.is_set():
            raise OperationalError("the database is away")
        original(heart)

    monkeypatch.setattr(Heart, "_beat", beat)
    id = added(queue, "litter", "ok")
    loop = WorkerLoop(queue, ProcessorOptions(burst=True))
    worker = Thread(target=loop.run)
    worker.start()
    try:
        wait_until(lambda: found(queue, id).progress is not None)
        pid = found(queue, id).progress_data["done"]
        away.set()
        wait_until(lambda: not lives(pid))
        assert found(queue, id).status is JobStatus.PROCESSING
    finally:
        away.clear()
        worker.join()
    until_ended(queue, id)
    job = found(queue, id)
    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 1)


def test_what_cannot_be_isolated_is_told_at_once(plain: JobQueue) -> None:
    @job("isolation.local", isolate=True)
    def local() -> None: ...

    check_isolatable("harness.isolated", plain.alias)
    with pytest.raises(ConfigurationError, match="unknown to a child process.*it finds none"):
        check_isolatable(local, plain.alias)
    with pytest.raises(InvalidJob, match=r"Did you mean 'harness.isolated'"):
        check_isolatable("harness.isolate", plain.alias)
    id = local.using(max_attempts=1).enqueue().id
    burst(get_queue())
    assert "no handler is registered" in str(found(get_queue(), id).error_history[0]["message"])


@pytest.mark.parametrize("tick", [None, datetime(2026, 3, 1, 12, tzinfo=UTC)])
def test_a_job_arrives_as_it_was_sent(plain: JobQueue, tick: datetime | None) -> None:
    added(plain, "pid", tags=["a", "b"])
    worker = plain.store.put(Worker(label="w"))
    [claimed] = plain.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="w"))
    sent = replace(claimed, scheduled_for=tick, context={"request": "r1"})
    assert to_job(json.loads(ENCODER.encode(from_job(sent)))) == sent


def test_what_is_just_being_started_and_shows_no_environment_yet_is_waited_for() -> None:
    mark = f"{os.getpid()}.test"
    last = [sys.executable, "-c", "import time; time.sleep(60)"]
    first = f"import os, time; time.sleep(0.2); os.execve({last[0]!r}, {last!r}, {{{hunting.MARK!r}: {mark!r}}})"
    started = subprocess.Popen([sys.executable, "-S", "-c", first], env={})
    assert hunting.kill_all(mark)
    assert started.wait(10) == -signal.SIGKILL


def test_what_has_no_environment_of_its_own_is_not_waited_for_long() -> None:
    bare = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], env={})
    try:
        began = time.monotonic()
        assert hunting.kill_all(f"{os.getpid()}.test", within=60)
        assert time.monotonic() - began < 60
        assert bare.poll() is None
    finally:
        bare.kill()
        bare.wait()
