"""Why a job is where it is: one reason for each thing that keeps a job from running."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from dataqueue_django.domain.changes import After, Change, Verb
from dataqueue_django.domain.explaining import Explanation
from dataqueue_django.domain.lifecycle import State
from dataqueue_django.domain.liveness import expire, stop
from dataqueue_django.domain.records import Claim, EventType, Kind, NewJob, Pause, Worker
from dataqueue_django.queue import JobQueue
from tests.queue.states import JOB_TYPE, job_in, set_fields


def explained(queue: JobQueue, job_id: int) -> Explanation:
    found = queue.explain_job(job_id)
    assert found is not None
    return found


def worker(queue: JobQueue, **fields: object) -> Worker:
    given: dict[str, object] = {"label": "w", "job_types": (JOB_TYPE,), **fields}
    return queue.store.put(Worker(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (State.DELAYED, "delayed", "It runs in 10 min"),
        (State.BLOCKED, "blocked", "It waits for 1 other job to"),
        (State.PAUSED, "paused", "It was paused; it runs once it is resumed."),
        (State.WAITING, "waiting", "Its handler waits until 20"),
        (State.RETRYING, "retrying", "Attempt 1 failed; the next one comes in 10 min"),
        (State.FAILED, "failed", "It failed for good in attempt 1 of 3 (handler_error); it can be retried."),
        (State.CANCELLED, "cancelled", "It was cancelled at 20"),
        (State.COMPLETED, "completed", "It completed at 20"),
        (State.READY, "no_worker", "No worker is running; start one with `manage.py dataqueue_worker`."),
    ],
)
def test_each_state(queue: JobQueue, state: State, reason: str, words: str) -> None:
    found = explained(queue, job_in(queue, state))
    for gone in queue.get_workers():
        queue.store.commit([(expire(gone.id),)])
    assert (found.state, found.reason) == (state, reason)
    assert words in found.text
    assert found.facts["job_type"] == JOB_TYPE


def test_a_job_that_waits_for_a_token(queue: JobQueue) -> None:
    job_id = job_in(queue, State.WAITING)
    set_fields(queue, job_id, EventType.WAITING, ready_at=None, wait_until=None, wait_token_id="wp_a")
    found = explained(queue, job_id)
    assert (found.state, found.reason) == (State.WAITING, "waiting")
    assert found.text == "Its handler waits for the token wp_a to be completed."


def test_a_job_that_was_asked_to_stop(queue: JobQueue) -> None:
    job_id = job_in(queue, State.PROCESSING)
    queue.cancel_job(job_id, abort_running=True, actor="ann", reason="wrong file")
    found = explained(queue, job_id)
    assert (found.state, found.reason) == (State.PROCESSING, "asked_to_stop")
    assert "It was asked to stop by ann at 20" in found.text
    assert found.text.endswith(": wrong file.")
    assert (found.facts["asked_by"], found.facts["asked_why"]) == ("ann", "wrong file")
    queue.cancel_job(job_id, abort_running=True)
    assert "It was asked to stop at 20" in explained(queue, job_id).text


def test_a_job_that_runs(queue: JobQueue) -> None:
    found = explained(queue, job_in(queue, State.PROCESSING))
    assert found.reason == "running"
    assert "on 'worker of a test', attempt 1 of 3." in found.text


def test_a_job_whose_worker_is_gone_or_silent(queue: JobQueue) -> None:
    job_id = job_in(queue, State.PROCESSING)
    [holder] = queue.get_workers()
    past = Change(verb=Verb.OTHER, kind=Kind.WORKER, id=holder.id, set={"last_beat_at": After(-3700)})
    queue.store.commit([(past,)])
    found = explained(queue, job_id)
    assert (found.reason, "silent for 1 h 1 min" in found.text) == ("worker_silent", True)
    queue.store.commit([(expire(holder.id),)])
    assert explained(queue, job_id).reason == "worker_gone"


def test_a_ready_job_and_the_workers_there_are(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)

    def reason() -> str:
        return explained(queue, job_id).reason

    gone = worker(queue)
    queue.store.commit([(expire(gone.id),)])
    assert reason() == "no_worker"
    worker(queue, queues=("mail",))
    worker(queue, exclude_queues=("default",))
    assert reason() == "no_worker_for_queue"
    worker(queue, job_types=("other",))
    assert reason() == "no_worker_knows_type"
    stopping = worker(queue)
    queue.store.commit([(stop(stopping.id),)])
    assert reason() == "workers_stopping"
    busy = worker(queue, concurrency=1)
    assert reason() == "next"
    other = queue.store.insert([NewJob(job_type=JOB_TYPE, payload={"n": 1})])[0].id
    queue.store.claim(Claim(limit=1, worker_id=busy.id, locked_by="w", ids=(other,)))
    assert reason() == "workers_busy"
    assert explained(queue, job_id).facts["workers"] == {"alive": 5, "suitable": 1, "free": 0}


def test_a_type_that_no_code_here_knows_either(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY, job_type="states.nobody knows")
    worker(queue)
    assert "this code has no handler for it either" in explained(queue, job_id).text


def test_a_job_that_took_a_worker_down(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    set_fields(queue, job_id, EventType.EDITED, crash_count=1)
    worker(queue)
    assert explained(queue, job_id).reason == "runs_alone"


def test_a_retry_that_has_come_due_waits_for_a_worker(queue: JobQueue) -> None:
    job_id = job_in(queue, State.RETRYING)
    set_fields(queue, job_id, EventType.EDITED, ready_at=After())
    for gone in queue.get_workers():
        queue.store.commit([(expire(gone.id),)])
    found = explained(queue, job_id)
    assert (found.state, found.reason) == (State.RETRYING, "no_worker")


def test_it_reads_little_and_writes_nothing(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    for _ in range(20):
        worker(queue)
    before = queue.get_job(job_id), queue.get_job_events(job_id)
    explained(queue, job_id)  # pauses and limits are read again only when they have changed
    with CaptureQueriesContext(connections[queue.alias]) as queries:
        explained(queue, job_id)
    assert len(queries) <= 5
    assert (queue.get_job(job_id), queue.get_job_events(job_id)) == before


def test_a_job_that_is_paused_says_by_whom_why_and_until_when(queue: JobQueue) -> None:
    until = queue.store.now() + timedelta(hours=2)
    for state in (State.READY, State.WAITING, State.RETRYING):
        job_id = job_in(queue, state)
        queue.pause_job(job_id, actor="ann", reason="wrong file", until=until)
        found = explained(queue, job_id)
        assert found.reason == "paused"
        assert found.text == (
            "It was paused by ann: wrong file; it runs once it is resumed, or at "
            f"{until.isoformat(sep=' ', timespec='seconds')}."
        )
        assert (found.facts["paused_by"], found.facts["paused_why"], found.facts["until"]) == (
            "ann",
            "wrong file",
            until,
        )
    for state in (State.WAITING, State.RETRYING):
        job_id = job_in(queue, state)
        queue.pause_job(job_id)
        assert explained(queue, job_id).text == "It was paused; it runs once it is resumed."


@pytest.mark.parametrize(
    ("pause", "reason", "words"),
    [
        (
            lambda queue: queue.pause_all(actor="ann"),
            "all_paused",
            "Everything was paused by ann; it runs once that is",
        ),
        (
            lambda queue: queue.pause_queue("default"),
            "queue_paused",
            "The queue 'default' was paused; it runs once that",
        ),
        (
            lambda queue: queue.pause_job_type(JOB_TYPE, reason="broken"),
            "job_type_paused",
            "The job type 'states.job' was paused: broken; it runs",
        ),
        (
            lambda queue: queue.pause_job_type(JOB_TYPE, queue="default"),
            "job_type_paused",
            "The job type 'states.job' in the queue 'default' was paused; it runs",
        ),
    ],
)
def test_what_is_paused_above_a_job(
    queue: JobQueue, pause: Callable[[JobQueue], Pause], reason: str, words: str
) -> None:
    job_id, later = job_in(queue, State.READY), job_in(queue, State.DELAYED)
    made = pause(queue)
    found = explained(queue, job_id)
    assert (found.state, found.reason, found.facts["pause"]) == (State.READY, reason, made.id)
    assert found.text.startswith(words)
    assert explained(queue, later).reason == "delayed"


def test_a_pause_that_ends_by_itself_says_when(queue: JobQueue) -> None:
    until = queue.store.now() + timedelta(hours=2)
    queue.pause_queue("default", until=until)
    text = explained(queue, job_in(queue, State.READY)).text
    assert text.endswith(f"is resumed, or at {until.isoformat(sep=' ', timespec='seconds')}.")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"queue": "default"}, "The limit of 1 running job of the queue 'default' is reached (1 running)."),
        ({"job_type": JOB_TYPE}, "The limit of 1 running job of the job type 'states.job' is reached (1 running)."),
        ({}, "The limit of 1 running job of everything is reached (1 running)."),
    ],
)
def test_a_limit_that_is_reached(queue: JobQueue, scope: dict[str, str], words: str) -> None:
    limit = queue.set_limit(**scope, concurrency=1)  # type: ignore[arg-type]
    job_in(queue, State.PROCESSING)
    found = explained(queue, job_in(queue, State.READY))
    assert (found.reason, found.text, found.facts["limit"]) == ("limit_reached", words, limit.id)
    queue.set_limit(**scope, concurrency=2)  # type: ignore[arg-type]
    assert explained(queue, job_in(queue, State.READY)).reason != "limit_reached"


@pytest.mark.parametrize("scope", [{"per_group": True}, {"group_id": "acme"}])
def test_the_limit_of_a_group(queue: JobQueue, scope: dict[str, Any]) -> None:
    queue.set_limit(queue="default", concurrency=0, **scope)
    job_id = queue.add_job(JOB_TYPE, {"n": 1}, group_id="acme")
    text = "The limit of 0 running jobs of the group 'acme' of the queue 'default' is reached (0 running)."
    found = explained(queue, job_id)
    assert (found.reason, found.text) == ("limit_reached", text)
    assert explained(queue, job_in(queue, State.READY)).reason == "no_worker"


def test_a_rate_that_is_used_up_or_closed(queue: JobQueue) -> None:
    queue.set_limit(queue="default", rate=1, per=60)
    job_in(queue, State.PROCESSING)
    job_id = job_in(queue, State.READY)
    found = explained(queue, job_id)
    assert found.reason == "rate_reached"
    assert found.text.startswith("The rate of 1 per 60 s of the queue 'default' is used up; the next may begin in ")
    assert 0 < found.facts["next_in"] <= 60

    until = queue.store.now() + timedelta(hours=1)
    [use] = queue.get_limit_usage("default", JOB_TYPE)
    queue.store.close_rate([use.key], until=until)
    found = explained(queue, job_id)
    assert found.reason == "rate_closed"
    assert "is closed until 20" in found.text
    assert found.facts["until"] == until
