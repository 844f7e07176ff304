"""`run_job` and `inline` work inside a TestCase, on its one connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.test import TestCase
from django.utils import timezone

from dataqueue_django import JobContext, JobStatus, Snooze, get_queue, job
from dataqueue_django.exceptions import JobNotFound, JobStateError
from dataqueue_django.testing import inline, run_job
from tests.variants import SQLITE


@job("testing.make_group")
def make_group(name: str) -> dict[str, str]:
    Group.objects.create(name=name)
    return {"made": name}


@job("testing.make_group_async", takes_context=True)
async def make_group_async(ctx: JobContext, name: str) -> None:
    ctx.set_progress(40, "soon")
    await Group.objects.acreate(name=name)
    ctx.set_output({"async": name})


@job("testing.make_it_twice", max_attempts=2)
def make_it_twice(name: str) -> None:
    Group.objects.create(name=name)
    Group.objects.create(name=name)


@job("testing.snoozing")
def snoozing() -> None:
    raise Snooze(timedelta(minutes=5))


@job("testing.fan_out")
def fan_out(names: list[str]) -> None:
    make_group.enqueue_many([{"name": name} for name in names])


@job("testing.waiting", takes_context=True)
def waiting(ctx: JobContext, name: str) -> dict[str, Any]:
    ctx.run("first", lambda: Group.objects.create(name=name).pk)
    ctx.wait_for(days=3)
    token = ctx.create_token(timeout="48h")
    answer = ctx.wait_for_token(token)
    ctx.run("second", lambda: Group.objects.create(name=f"{name} 2").pk)
    ctx.run_atomic("third", lambda: name)  # the queue may be on a database of its own, which holds no groups
    return {"answer": answer.output}


class RunJobTests(TestCase):
    databases = "__all__"

    def test_a_job_that_waits_is_run_on_as_if_its_time_had_come(self) -> None:
        queue = get_queue()
        parked = run_job(waiting.enqueue(name="w"))
        assert parked.status is JobStatus.WAITING
        parked = run_job(parked)
        assert parked.wait_token_id is not None
        with self.assertRaisesMessage(JobStateError, "waiting"):
            run_job(parked)
        assert queue.complete_token(parked.wait_token_id, {"yes": True})
        done = run_job(parked)
        assert (done.status, done.output, done.attempts) == (JobStatus.COMPLETED, {"answer": {"yes": True}}, 1)
        assert Group.objects.filter(name__startswith="w").count() == 2

    def test_runs_a_job_and_returns_it_completed(self) -> None:
        done = run_job(make_group.enqueue(name="a"))
        assert (done.status, done.output, done.attempts) == (JobStatus.COMPLETED, {"made": "a"}, 1)
        assert Group.objects.filter(name="a").exists()

    def test_runs_an_async_handler(self) -> None:
        done = run_job(make_group_async.enqueue(name="b"))
        assert (done.status, done.output) == (JobStatus.COMPLETED, {"async": "b"})
        assert (done.progress, done.progress_message) == (40, "soon")
        assert Group.objects.filter(name="b").exists()

    def test_runs_a_job_that_is_not_due_yet(self) -> None:
        tomorrow = timezone.now() + timedelta(days=1)
        assert run_job(make_group.using(run_at=tomorrow).enqueue(name="c")).status is JobStatus.COMPLETED

    def test_records_an_error_and_can_run_the_job_again(self) -> None:
        added = make_it_twice.enqueue(name="d")
        first = run_job(added)
        assert (first.status, first.will_retry, first.error_history[0]["type"]) == ("failed", True, "IntegrityError")
        second = run_job(added)
        assert (second.is_terminal, second.attempts) == (True, 2)

    def test_an_error_of_the_database_leaves_the_test_s_transaction_usable(self) -> None:
        with pytest.raises(IntegrityError):
            run_job(make_it_twice.enqueue(name="e"), raise_errors=True)
        assert Group.objects.count() >= 0

    def test_a_snoozed_job_uses_up_no_attempt(self) -> None:
        snoozed = run_job(snoozing.enqueue())
        assert (snoozed.status, snoozed.resuming) == (JobStatus.PENDING, True)
        assert run_job(snoozed).attempts == 1

    def test_leaves_no_worker_behind(self) -> None:
        run_job(make_group.enqueue(name="f"))
        assert get_queue().store.find("worker") == []

    def test_refuses_a_job_that_has_ended(self) -> None:
        done = run_job(make_group.enqueue(name="g"))
        with pytest.raises(JobStateError, match="is completed; expected one that is ready"):
            run_job(done)

    def test_refuses_an_unknown_job(self) -> None:
        with pytest.raises(JobNotFound, match="no job 999999"):
            run_job(999_999)


class InlineTests(TestCase):
    databases = "__all__"

    @inline()
    def test_runs_jobs_as_they_are_enqueued(self) -> None:
        added = make_group.enqueue(name="h")
        job = get_queue().get_job(added.id)
        assert job is not None
        assert job.status is JobStatus.COMPLETED

    def test_runs_jobs_that_jobs_enqueue(self) -> None:
        with inline():
            fan_out.enqueue(names=["i", "j"])
        assert Group.objects.filter(name__in=["i", "j"]).count() == 2

    def test_leaves_later_jobs_alone(self) -> None:
        with inline():
            added = make_group.using(run_at=timezone.now() + timedelta(hours=1)).enqueue(name="k")
        job = get_queue().get_job(added.id)
        assert job is not None
        assert job.status is JobStatus.PENDING

    def test_raises_the_handler_s_error_when_asked(self) -> None:
        own, queues = transaction.atomic(), transaction.atomic(using=SQLITE)
        with inline(raise_errors=True), pytest.raises(IntegrityError), own, queues:
            make_it_twice.enqueue(name="l")

    def test_stops_running_jobs_when_it_is_closed(self) -> None:
        with inline():
            pass
        make_group.enqueue(name="m")
        assert not Group.objects.filter(name="m").exists()


@job("testing.break_transaction", takes_context=True)
def break_transaction(ctx: JobContext, alias: str) -> None:
    Group.objects.using(alias).create(name="n")
    Group.objects.using(alias).create(name="n")


@pytest.mark.django_db(databases="__all__")
def test_a_broken_transaction_is_mended_on_every_database(any_alias: str) -> None:
    added = break_transaction.using(alias=any_alias).enqueue(alias=any_alias)
    assert run_job(added, alias=any_alias).failure_reason == "handler_error"
    assert not Group.objects.using(any_alias).filter(name="n").exists()


@pytest.mark.django_db(databases="__all__")
def test_a_handler_that_breaks_another_database_of_the_test_leaves_it_usable(any_alias: str) -> None:
    with pytest.raises(IntegrityError):
        run_job(make_it_twice.using(alias=any_alias).enqueue(name="e"), alias=any_alias, raise_errors=True)
    assert not Group.objects.exists()
