"""Adding jobs: in the caller's transaction, once per key, any number at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dataqueue_django import EventType, JobStatus, get_queue, job
from dataqueue_django.exceptions import (
    ConfigurationError,
    InvalidFilter,
    InvalidJob,
    InvalidPayload,
    PayloadTooLarge,
)
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.base import described


@job("adding.send", queue="mail", priority=3, max_attempts=7, timeout=timedelta(seconds=2))
def send(order_id: int, copy_to: str | None = None) -> None: ...


@job("adding.whole")
def whole(payload: dict[str, Any]) -> None: ...


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def test_enqueue_returns_the_record_as_stored(queue: JobQueue) -> None:
    added = send.using(alias=queue.alias, tags=["vip", "vip", "eu"]).enqueue(7, copy_to="x@example.org")
    stored = queue.get_job(added.id)
    assert stored is not None
    for field in ("job_type", "payload", "queue", "priority", "max_attempts", "timeout_ms", "tags", "ready_at"):
        assert getattr(added, field) == getattr(stored, field), field
    assert stored.payload == {"order_id": 7, "copy_to": "x@example.org"}
    assert (stored.queue, stored.priority, stored.max_attempts, stored.timeout_ms) == ("mail", 3, 7, 2000)
    assert (stored.tags, stored.status, added.existed) == (("vip", "eu"), JobStatus.PENDING, False)
    assert [event.event_type for event in queue.get_job_events(added.id)] == [EventType.ADDED]


def test_a_handler_with_one_payload_parameter_gets_it_whole(queue: JobQueue) -> None:
    added = whole.using(alias=queue.alias).enqueue({"file": 3})
    assert added.payload == {"file": 3}


def test_add_job_returns_the_id(queue: JobQueue) -> None:
    job_id = queue.add_job("adding.send", {"order_id": 7}, priority=10)
    stored = queue.get_job(job_id)
    assert stored is not None
    assert (stored.priority, stored.queue) == (10, "mail")


def test_options_beat_the_handler_s_which_beat_the_alias(settings: object) -> None:
    settings.DATAQUEUE = {"default": {"JOB_DEFAULTS": {"QUEUE": "slow", "MAX_ATTEMPTS": 9, "RETRY_DELAY": 5}}}  # type: ignore[attr-defined]
    spec = described(get_queue(), "adding.send", {"order_id": 1}, send.using(max_attempts=2).options)
    assert (spec.queue, spec.max_attempts, spec.retry_delay_ms) == ("mail", 2, 5000)
    spec = described(get_queue(), "adding.whole", {}, whole.options)
    assert (spec.queue, spec.max_attempts) == ("slow", 9)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_job_exists_if_and_only_if_the_caller_s_transaction_commits(queue: JobQueue) -> None:
    bound = send.using(alias=queue.alias)
    with pytest.raises(RuntimeError), transaction.atomic(using=queue.alias):
        Group.objects.using(queue.alias).create(name="gone")
        lost = bound.enqueue(order_id=1)
        raise RuntimeError
    assert queue.get_job(lost.id) is None or queue.get_job(lost.id).payload != {"order_id": 1}  # type: ignore[union-attr]
    with transaction.atomic(using=queue.alias):
        kept = bound.enqueue(order_id=2)
        with pytest.raises(RuntimeError), transaction.atomic(using=queue.alias):
            undone = bound.enqueue(order_id=3)
            raise RuntimeError
    payloads = [found.payload["order_id"] for found in queue.store.get([lost.id, kept.id, undone.id])]
    assert payloads == [2]


def test_a_taken_key_gives_the_job_that_has_it(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    bound = send.using(alias=queue.alias, idempotency_key="inv-7")
    first = bound.enqueue(order_id=7)
    again = bound.enqueue(order_id=7)
    assert (again.id, again.existed, again.payload_differs) == (first.id, True, False)
    with caplog.at_level(logging.WARNING):
        other = bound.enqueue(order_id=8)
    assert (other.id, other.existed, other.payload_differs, other.payload) == (first.id, True, True, {"order_id": 7})
    assert "its type or payload differs" in caplog.text
    assert queue.add_job("adding.send", {"order_id": 7}, idempotency_key="inv-7") == first.id
    assert [e.event_type for e in queue.get_job_events(first.id)] == [EventType.ADDED]


def test_keys_compare_byte_for_byte(queue: JobQueue) -> None:
    keys = ["Key", "key", "KEY ", "Kéy"]
    ids = {send.using(alias=queue.alias, idempotency_key=key).enqueue(order_id=1).id for key in keys}
    assert len(ids) == 4


def test_many_jobs_are_inserted_all_or_none(queue: JobQueue) -> None:
    ids = send.using(alias=queue.alias).enqueue_many({"order_id": n} for n in range(2500))
    assert len(ids) == len(set(ids)) == 2500
    assert [found.payload["order_id"] for found in queue.store.get([ids[0], ids[-1]])] == [0, 2499]

    def broken() -> Iterator[dict[str, int]]:
        for n in range(1500):
            yield {"order_id": n}
        yield {"order": 1}

    before = queue.store.count()
    with pytest.raises(InvalidPayload, match=r"payload\.order is not a parameter.*order_id"):
        send.using(alias=queue.alias).enqueue_many(broken())
    assert queue.store.count() == before


def test_an_empty_lot_touches_nothing(queue: JobQueue, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0, using=queue.alias):  # type: ignore[operator]
        assert send.using(alias=queue.alias).enqueue_many([]) == []
        assert queue.add_jobs([]) == []


def test_add_jobs_takes_different_jobs_and_keeps_their_order(queue: JobQueue) -> None:
    jobs = [
        {"job_type": "adding.whole", "payload": {"a": 1}, "idempotency_key": "b"},
        {"job_type": "adding.send", "payload": {"order_id": 1}, "idempotency_key": "a", "tags": ["t"]},
        {"job_type": "adding.whole", "payload": {"a": 1}, "idempotency_key": "b"},
    ]
    ids = queue.add_jobs(jobs)
    assert ids[0] == ids[2] != ids[1]
    assert [found.job_type for found in queue.store.get(ids[:2])] == ["adding.whole", "adding.send"]


def test_a_bad_job_in_a_lot_is_named_and_nothing_is_inserted(queue: JobQueue) -> None:
    with pytest.raises(InvalidJob, match="Job 1 got the unknown option 'priorty'. Did you mean 'priority'"):
        queue.add_jobs([{"job_type": "adding.whole", "payload": {}}, {"job_type": "adding.whole", "priorty": 1}])
    assert queue.store.count() == {(): 0}


def test_unknown_job_types_are_refused_with_the_nearest(queue: JobQueue) -> None:
    with pytest.raises(InvalidJob, match=r"No handler.*'adding.snd'.*Did you mean 'adding.send'"):
        queue.add_job("adding.snd", {})
    assert queue.add_job("elsewhere.known", {"a": 1}, allow_unknown=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"payload\.order_id is missing"),
        ({"order_id": 1, "copyto": "x"}, r"payload\.copyto is not a parameter.*copy_to"),
        ({"order_id": datetime(2026, 1, 1, tzinfo=UTC)}, r"payload\.order_id is a datetime"),
        ({"order_id": float("nan")}, r"payload\.order_id is a float \(nan\); expected int"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidPayload, match=message):
        send.enqueue(**arguments)  # type: ignore[arg-type]


def test_a_payload_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(PayloadTooLarge, match=r"payload is 11\d\d\d\d\d bytes of JSON; expected at most 1048576"):
        send.enqueue(order_id=1, copy_to="x" * 1_100_000)


def test_the_payload_is_detached_from_the_caller_s_objects(queue: JobQueue) -> None:
    payload = {"list": [1]}
    added = whole.using(alias=queue.alias).enqueue(payload)
    payload["list"].append(2)
    assert added.payload == {"list": [1]}


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_async_code_enqueues_too(queue: JobQueue) -> None:
    async def view() -> int:
        added = await send.using(alias=queue.alias).aenqueue(order_id=5)
        found = await queue.aget_job(added.id)
        assert found is not None
        assert found.payload == {"order_id": 5}
        return added.id

    assert async_to_sync(view)() > 0


def test_a_job_for_later_is_stored_as_such(queue: JobQueue) -> None:
    later = timezone.now() + timedelta(hours=1)
    added = send.using(alias=queue.alias, run_at=later).enqueue(order_id=1)
    stored = queue.get_job(added.id)
    assert stored is not None
    assert (stored.run_at, stored.ready_at) == (later, later)


def test_enqueue_costs_a_fixed_number_of_statements(queue: JobQueue) -> None:
    """One statement on PostgreSQL, where a web request pays for the round trip; a few local ones on SQLite."""
    allowed = {"sqlite": 6, "postgresql": 1}[connections[queue.alias].vendor]
    with CaptureQueriesContext(connections[queue.alias]) as captured:
        send.using(alias=queue.alias, tags=["a"]).enqueue(order_id=1)
    statements = [q["sql"] for q in captured if "SAVEPOINT" not in q["sql"] and q["sql"] not in ("BEGIN", "COMMIT")]
    assert len(statements) <= allowed, statements


@pytest.mark.parametrize("given", [None, 5, "text", {"a": 1}])
def test_what_cannot_be_read_as_jobs_is_refused(queue: JobQueue, given: Any) -> None:
    with pytest.raises(InvalidJob, match="expected an iterable"):
        queue.add_jobs(given)
    with pytest.raises(InvalidJob, match="expected an iterable"):
        send.enqueue_many(given)


def test_odd_ids_and_types_are_refused_in_a_sentence(queue: JobQueue) -> None:
    with pytest.raises(InvalidJob, match=r"No handler is registered for the job type \[\]"):
        queue.add_job([])  # type: ignore[arg-type]
    with pytest.raises(InvalidFilter, match="job_id is 'x'; expected a whole number"):
        queue.get_job("x")  # type: ignore[arg-type]
    assert queue.get_job(2**70) is None
    with pytest.raises(ConfigurationError, match=r"The alias of a queue is \['default'\]; expected a string"):
        send.using(alias=["default"]).enqueue(order_id=1)  # type: ignore[arg-type]


def test_hostile_keys_are_shown_escaped_and_cut(queue: JobQueue) -> None:
    with pytest.raises(InvalidPayload) as refused:
        queue.add_job("adding.send", {"order_id": 1, "a\nFORGED LINE " + "x" * 100_000: 1})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_without_autocommit_the_job_is_part_of_what_the_caller_commits(queue: JobQueue) -> None:
    connection = connections[queue.alias]
    connection.set_autocommit(False)
    try:
        added = send.using(alias=queue.alias).enqueue(order_id=1)
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert queue.get_job(added.id) is None


def test_one_line_is_logged_per_job_once_it_is_committed(
    queue: JobQueue, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    captured = django_capture_on_commit_callbacks(using=queue.alias, execute=True)
    with caplog.at_level(logging.INFO, logger="dataqueue_django.jobs"), captured:
        added = send.using(alias=queue.alias).enqueue(order_id=1)
    (record,) = caplog.records
    assert record.getMessage() == f"job {added.id} 'adding.send' added queue=mail"
    assert record.dataqueue["job_id"] == added.id  # type: ignore[attr-defined]
    assert "order_id" not in record.getMessage()
