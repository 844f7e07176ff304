"""process, reclaim, cleanup, expire and maintenance, as a platform's cron calls them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from dataqueue_django import EventType, JobContext, JobStatus, get_queue, job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.liveness import expire as expire_worker
from dataqueue_django.domain.records import Claim, Kind, Worker
from dataqueue_django.domain.steering import cancel
from dataqueue_django.endpoints import tasks
from dataqueue_django.queue import JobQueue
from tests.endpoints.conftest import Call
from tests.harness.workers import wait_until
from tests.variants import declared

NO_MORE = {"deletedEvents": 0, "deletedLogs": 0, "deletedTicks": 0}

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def add(queue: JobQueue, job_type: str, number: int = 1, /, **options: Any) -> list[int]:
    return queue.add_jobs([{"job_type": job_type, "payload": {}, **options}] * number, allow_unknown=True)


def held_by_the_dead(queue: JobQueue) -> int:
    worker = queue.store.put(Worker(label="gone"))
    [id] = add(queue, "endpoint.held")
    queue.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="gone", ids=(id,), crashed=None))
    queue.store.commit([(expire_worker(worker.id),)])
    return id


# -- process


def test_a_batch_is_run(call: Call, queue: JobQueue) -> None:
    job("endpoint.work")(lambda: None)
    ids = add(queue, "endpoint.work", 4)
    answer = call("process", batchSize=3, concurrency=2)
    assert answer.json() == {"message": "Job processing completed", "processed": 3, "givenBack": 0}
    assert call("process", {"batchSize": 3, "workerId": "cron-1", "verbose": True}).json()["processed"] == 1
    assert {found.status for found in queue.store.get(ids)} == {JobStatus.COMPLETED}
    assert call("process").json()["processed"] == 0


def test_queues_and_job_types_are_chosen(call: Call, queue: JobQueue) -> None:
    job("endpoint.a")(lambda: None)
    job("endpoint.b")(lambda: None)
    add(queue, "endpoint.a", queue="mail")
    add(queue, "endpoint.b", queue="mail")
    add(queue, "endpoint.a", queue="other")
    assert call("process", queues="mail , x", jobTypes="endpoint.a").json()["processed"] == 1
    assert call("process", {"queues": ["mail"], "jobType": "endpoint.b"}).json()["processed"] == 1
    assert call("process", {"jobTypes": ["endpoint.a", "endpoint.b"]}).json()["processed"] == 1


def test_what_does_not_end_in_time_is_given_back_uncharged(call: Call, queue: JobQueue) -> None:
    stopped = threading.Event()

    @job("endpoint.long", takes_context=True)
    def long(ctx: JobContext) -> None:
        while not ctx.signal.wait(0.01):
            pass
        stopped.set()

    [id] = add(queue, "endpoint.long")
    answer = call("process", seconds=1)
    assert answer.json() == {"message": "Job processing completed", "processed": 0, "givenBack": 1}
    assert queue.store.get([id])[0].status is JobStatus.PENDING
    assert queue.get_job_events(id)[-1].event_type is EventType.RELEASED
    assert stopped.wait(60)
    wait_until(lambda: not any(t.name.startswith("dataqueue") for t in threading.enumerate()))


def test_jobs_that_fail_are_no_error_of_the_call(call: Call, queue: JobQueue) -> None:
    @job("endpoint.broken", max_attempts=1)
    def broken() -> None:
        raise ValueError("x")

    [id] = add(queue, "endpoint.broken")
    assert call("process").json()["processed"] == 1
    assert queue.store.get([id])[0].status is JobStatus.FAILED


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"batchSize": "0"}, "batchSize is '0'; expected a whole number from 1 to 1000."),
        ({"batchSize": "1e9"}, "batchSize is '1e9'; expected a whole number from 1 to 1000."),
        ({"batchSize": "2.5"}, "batchSize is '2.5'"),
        ({"batchSize": "nan"}, "batchSize is 'nan'"),
        ({"concurrency": "-1"}, "concurrency is '-1'; expected a whole number from 1 to 100."),
        ({"seconds": "0"}, "seconds is '0'; expected a number from 1 to 25."),
        ({"seconds": "25.1"}, "seconds is '25.1'"),
        ({"seconds": "inf"}, "seconds is 'inf'"),
        ({"batchsize": "3"}, "'batchsize' is not known here. Did you mean 'batchSize'?"),
        ({"x" * 9999: "3"}, "is not known here. Known: alias, seconds"),
        ({"alias": "defult"}, "DATAQUEUE has no alias 'defult'."),
        ({"workerId": ""}, "workerId is ''; expected a string."),
        ({"workerId": "\x00"}, "worker_id is '\\x00'"),
        ({"queues": ","}, "queues is ''; expected a string."),
        ({"jobTypes": "endpoint.unknown"}, "unknown job type 'endpoint.unknown'"),
        ({"verbose": "maybe"}, "verbose is 'maybe'; expected true or false."),
    ],
)
def test_silly_values(call: Call, query: dict[str, str], says: str) -> None:
    answer = call("process", **query)
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert len(answer.json()["message"]) < 500


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{",
        "3",
        "null",
        "\xff",
        "[" * 100_000,
        '{"batchSize": true}',
        '{"batchSize": [1]}',
        '{"alias": {}}',
        '{"queues": {"a": 1}}',
        '{"queues": [1]}',
        '{"batchSize": 1' + "0" * 5000 + "}",
    ],
)
def test_silly_bodies(call: Call, body: str) -> None:
    answer = call("process", body)
    assert answer.status_code == 400
    assert len(answer.json()["message"]) < 500


def test_a_body_too_large(call: Call, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert call("process", '{"queues": ["' + "x" * 2000 + '"]}').status_code == 413


def test_a_form_has_nothing_to_say(queue: JobQueue, client: Any) -> None:
    from tests.endpoints.conftest import SECRET

    answer = client.post(f"/dataqueue/expire?alias={queue.alias}", {"x": "y"}, headers={"Authorization": SECRET})
    assert answer.status_code == 200


def test_the_time_is_the_project_s_to_allow(call: Call, settings: Any) -> None:
    settings.DATAQUEUE_CRON_SECONDS = 3
    assert call("process", seconds=4).status_code == 400
    assert call("process", seconds=3).status_code == 200


# -- reclaim


def test_jobs_of_the_dead_come_back(call: Call, queue: JobQueue) -> None:
    id = held_by_the_dead(queue)
    answer = call("reclaim", {"maxProcessingTimeMinutes": 10})
    assert answer.json() == {"message": "Stuck jobs reclaimed", "reclaimed": 1, "observed": False}
    assert queue.store.get([id])[0].status is not JobStatus.PROCESSING
    assert call("reclaim", maxProcessingTimeMinutes="0").status_code == 400


def test_the_silent_are_watched_where_there_is_time(call: Call, queue: JobQueue, settings: Any) -> None:
    settings.DATAQUEUE = declared(queue.alias, LEASE=0.5, HEARTBEAT=0.1, REAP_EVERY=0.1)
    queue = get_queue(queue.alias)
    worker = queue.store.put(Worker(label="silent", lease_ms=500))
    [id] = add(queue, "endpoint.held")
    queue.store.claim(Claim(limit=1, worker_id=worker.id, locked_by="silent", ids=(id,), crashed=None))
    wait_until(lambda: queue.store.now() - queue.store.get([id])[0].locked_at > timedelta(seconds=7))
    assert call("reclaim", maxProcessingTimeMinutes=0.1).json()["reclaimed"] == 1


# -- cleanup, expire, maintenance


def ended(queue: JobQueue, number: int, *, days: float) -> None:
    queue.store.commit([cancel(id) for id in add(queue, "x", number)], now=timezone.now() - timedelta(days=days))


def completed(queue: JobQueue, number: int, *, days: float) -> None:
    from dataqueue_django.domain.transitions import Execution, complete

    worker = queue.store.put(Worker(label="w"))
    ids = tuple(add(queue, "x", number))
    jobs = queue.store.claim(Claim(limit=number, worker_id=worker.id, locked_by="w", ids=ids, crashed=None))
    moment = timezone.now() - timedelta(days=days)
    queue.store.commit([(complete(Execution.of(job)),) for job in jobs], now=moment)


def test_old_jobs_go_as_retention_says(call: Call, queue: JobQueue) -> None:
    ended(queue, 2, days=31)
    completed(queue, 3, days=31)
    completed(queue, 1, days=29)
    facts = call("cleanup").json()
    assert (facts["deleted"], facts["done"], queue.count_jobs()) == (5, True, 1)


def test_old_jobs_go_as_the_caller_says(call: Call, queue: JobQueue) -> None:
    """As DataQueue's cleanupOldJobs: the completed ones."""
    ended(queue, 2, days=31)
    completed(queue, 3, days=5)
    facts = call("cleanup", {"daysToKeep": 3}).json()
    assert facts == {"message": "Old jobs cleaned up", "deleted": 3, **NO_MORE, "done": True}
    assert call("cleanup", daysToKeep=0).status_code == 400


def test_cleaning_ends_after_the_batch_in_which_the_time_is_up(
    call: Call, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(queue, 2, days=31)
    completed(queue, 1, days=31)
    monkeypatch.setattr(tasks, "_seconds", lambda given: 0.0)
    assert call("cleanup").json() == {"message": "Old jobs cleaned up", "deleted": 1, **NO_MORE, "done": False}


def test_tokens_expire(call: Call, queue: JobQueue) -> None:
    token = queue.create_token(timeout=0.001)
    wait_until(lambda: queue.store.now() > token.timeout_at)
    assert call("expire", {}).json() == {"message": "Timed out tokens expired", "expired": 1}


def test_maintenance_is_all_of_them(call: Call, queue: JobQueue) -> None:
    held_by_the_dead(queue)
    completed(queue, 2, days=31)
    facts = call("maintenance").json()
    assert facts.pop("deletedEvents") >= 0
    assert (facts.pop("deletedLogs"), facts.pop("deletedTicks")) == (0, 0)
    assert facts == {
        "message": "Maintenance completed",
        "enqueued": 0,
        "expired": 0,
        "reclaimed": 1,
        "observed": False,
        "deleted": 2,
        "done": True,
    }
    assert call("maintenance", daysToKeep=3, seconds=2).status_code == 200


@pytest.mark.parametrize("name", ["process", "maintenance"])
def test_schedules_that_are_due_add_their_jobs(call: Call, queue: JobQueue, name: str) -> None:
    job("endpoint.tick")(lambda: None)
    id = queue.add_cron_job("hourly", "@hourly", "endpoint.tick", {})
    hour = queue.store.now().replace(minute=0, second=0, microsecond=0)
    change = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=id, set={"next_run_at": hour})
    assert queue.store.commit([(change,)])[0].applied
    assert call(name).status_code == 200
    assert queue.count_jobs({"job_type": "endpoint.tick"}) == 1


def test_a_store_that_is_away(call: Call, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("the server is away")

    monkeypatch.setattr(type(connections[queue.alias]), "get_new_connection", away)
    connections[queue.alias].close()
    for name in ("process", "reclaim", "cleanup", "expire", "maintenance", "health"):
        answer = call(name)
        assert (answer.status_code, answer.json()) == (503, {"message": "The store cannot be reached."}), name
