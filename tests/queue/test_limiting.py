"""Limits: set, replaced and removed, what they keep back, how they stand, and the sizes of groups."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from dataqueue_django import GroupFull, InvalidControl
from dataqueue_django.domain.lifecycle import State
from dataqueue_django.domain.records import Claim, GroupCounts, Worker
from dataqueue_django.queue import JobQueue
from tests.queue.states import JOB_TYPE, finish, handler, job_in, run_of

N = {"n": 1}


def claimed(queue: JobQueue, **asked: Any) -> list[int]:
    """Return the ids of the jobs that a worker gets now."""
    worker = queue.store.put(Worker(label="w", job_types=(JOB_TYPE,)))
    jobs = queue.store.claim(Claim(**{"limit": 10, "worker_id": worker.id, "locked_by": "w", **asked}))
    return [job.id for job in jobs]


def test_a_limit_is_what_was_asked_for(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dataqueue_django.queue"):
        limit = queue.set_limit(
            queue="mail", job_type="send", concurrency=3, rate=10, per=timedelta(minutes=1), burst=5, actor="ann"
        )
    assert (limit.queue, limit.job_type, limit.per_group, limit.group_id) == ("mail", "send", False, None)
    assert (limit.concurrency, limit.rate, limit.per, limit.burst) == (3, 10, timedelta(minutes=1), 5)
    assert (limit.max_size, limit.actor) == (None, "ann")
    assert queue.get_limits() == [limit]
    assert "was set by ann" in caplog.text


def test_a_limit_takes_the_place_of_the_one_of_its_scope(queue: JobQueue) -> None:
    one = queue.set_limit(queue="mail", concurrency=3)
    two = queue.set_limit(queue="mail", rate=1, per=0.5)
    assert queue.get_limits() == [two]
    assert (two.concurrency, two.rate, two.per) == (None, 1, timedelta(milliseconds=500))
    assert two.created_at == one.created_at
    assert two.updated_at >= one.updated_at


SCOPES: list[dict[str, Any]] = [
    {},
    {"queue": "mail"},
    {"job_type": "send"},
    {"queue": "mail", "job_type": "send"},
    {"queue": "mail", "per_group": True},
    {"queue": "mail", "group_id": "acme"},
    {"queue": "mail", "group_id": "*"},
]


def test_each_scope_has_a_limit_of_its_own(queue: JobQueue) -> None:
    made = [queue.set_limit(concurrency=n, **scope) for n, scope in enumerate(SCOPES)]
    assert sorted(made, key=lambda limit: limit.id) == queue.get_limits()
    assert len(queue.get_limits()) == len(SCOPES)
    for scope in SCOPES:
        assert queue.remove_limit(**scope) is True
        assert queue.remove_limit(**scope) is False
    assert queue.get_limits() == []


def test_setting_and_removing_a_limit_wakes_workers(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[int] = []
    monkeypatch.setattr(queue.notifier, "publish", lambda: heard.append(1))
    for act, wakes in (
        (lambda: queue.set_limit(concurrency=1), 1),
        (lambda: queue.remove_limit(), 1),
        (lambda: queue.remove_limit(), 0),
    ):
        heard.clear()
        with django_capture_on_commit_callbacks(using=queue.alias, execute=True):
            act()
        assert len(heard) == wakes


def test_no_more_jobs_are_claimed_than_may_run(queue: JobQueue) -> None:
    ids = [job_in(queue, State.READY) for _ in range(4)]
    queue.set_limit(queue="default", concurrency=2)
    assert claimed(queue) == ids[:2]
    assert claimed(queue) == []
    queue.set_limit(queue="default", concurrency=3)
    assert claimed(queue) == ids[2:3]
    queue.remove_limit(queue="default")
    assert claimed(queue) == ids[3:]


def test_a_limit_of_0_lets_nothing_begin(queue: JobQueue) -> None:
    job_in(queue, State.READY)
    queue.set_limit(concurrency=0)
    assert claimed(queue) == []


def test_a_rate_is_used_up(queue: JobQueue) -> None:
    ids = [job_in(queue, State.READY) for _ in range(4)]
    queue.set_limit(job_type=JOB_TYPE, rate=3, per=3600)
    assert claimed(queue) == ids[:3]
    assert claimed(queue) == []
    [use] = queue.get_limit_usage("default", JOB_TYPE)
    assert (use.running, use.permits.granted) == (3, 0)
    assert 0 < use.permits.retry_after <= 3600


def test_groups_each_have_what_a_limit_allows(queue: JobQueue) -> None:
    ids = {g: [queue.add_job(JOB_TYPE, N, group_id=g) for _ in range(3)] for g in ("a", "b")}
    queue.set_limit(queue="default", per_group=True, concurrency=1)
    queue.set_limit(queue="default", group_id="b", concurrency=2)
    assert sorted(claimed(queue)) == sorted([ids["a"][0], *ids["b"][:2]])


def test_how_limits_over_a_job_stand(queue: JobQueue) -> None:
    assert queue.get_limit_usage("default", JOB_TYPE) == []
    wide = queue.set_limit(concurrency=9)
    groups = queue.set_limit(queue="default", per_group=True, concurrency=2)
    for group in ("a", "a", "b", None):
        run_of(queue, queue.add_job(JOB_TYPE, N, group_id=group))
    uses = {use.limit.id: use.running for use in queue.get_limit_usage("default", JOB_TYPE, "a")}
    assert uses == {wide.id: 4, groups.id: 2}
    assert {use.limit.id for use in queue.get_limit_usage("default", JOB_TYPE)} == {wide.id}


def test_counts_of_a_group(queue: JobQueue) -> None:
    assert queue.get_group_counts("acme") == GroupCounts()
    run_of(queue, queue.add_job(JOB_TYPE, N, group_id="acme"))
    queue.add_job(JOB_TYPE, N, group_id="acme", run_at=queue.store.now() + timedelta(hours=1))
    queue.add_job(JOB_TYPE, N, group_id="acme", queue="mail")
    finish(queue, queue.add_job(JOB_TYPE, N, group_id="acme"))
    assert queue.get_group_counts("acme") == GroupCounts(waiting=2, active=1)
    assert queue.get_group_counts("acme", queue="mail") == GroupCounts(waiting=1)
    assert queue.get_group_counts("acme", job_type="other") == GroupCounts()


# -- the sizes of groups


def test_a_full_group_gets_no_other_job(queue: JobQueue) -> None:
    queue.set_limit(queue="default", per_group=True, max_size=2)
    first, _ = queue.add_job(JOB_TYPE, N, group_id="a"), queue.add_job(JOB_TYPE, N, group_id="a")
    with pytest.raises(GroupFull, match="The group 'a' has 2 of at most 2 jobs waiting; another cannot be added"):
        queue.add_job(JOB_TYPE, N, group_id="a")
    queue.add_job(JOB_TYPE, N, group_id="b")
    queue.add_job(JOB_TYPE, N)
    run_of(queue, first)
    queue.add_job(JOB_TYPE, N, group_id="a")
    with pytest.raises(GroupFull):
        handler.using(alias=queue.alias, group_id="a").enqueue(n=1)
    assert len(queue.get_jobs()) == 5


@pytest.mark.parametrize("many", [3, 1005])
def test_of_many_jobs_all_or_none_fit_into_their_group(queue: JobQueue, many: int) -> None:
    queue.set_limit(queue="default", group_id="a", max_size=many - 1)
    jobs = [{"job_type": JOB_TYPE, "payload": N, "group_id": "a"} for _ in range(many)]
    with pytest.raises(GroupFull):
        queue.add_jobs(jobs)
    assert queue.get_jobs() == []
    assert len(queue.add_jobs(jobs[1:])) == many - 1


def test_a_job_that_is_there_under_its_key_is_found_though_its_group_is_full(queue: JobQueue) -> None:
    queue.set_limit(queue="default", group_id="a", max_size=1)
    there = queue.add_job(JOB_TYPE, N, group_id="a", idempotency_key="k")
    assert queue.add_job(JOB_TYPE, N, group_id="a", idempotency_key="k") == there


def test_limits_have_async_twins(queue: JobQueue) -> None:
    limit = async_to_sync(queue.aset_limit)(queue="mail", concurrency=1)
    assert async_to_sync(queue.aget_limits)() == [limit]
    assert async_to_sync(queue.aremove_limit)(queue="mail") is True


WRONG: dict[str, tuple[Callable[[JobQueue], object], str]] = {
    "nothing": (lambda q: q.set_limit(), "limits nothing; expected at least one of concurrency, rate and max_size"),
    "name": (lambda q: q.set_limit(queue="", concurrency=1), "queue is ''; expected a name"),
    "all": (lambda q: q.set_limit(job_type="__all__", concurrency=1), "job_type is '__all__'; expected printable"),
    "negative": (lambda q: q.set_limit(concurrency=-1), "concurrency is -1; expected a whole number from 0 to"),
    "large": (lambda q: q.set_limit(concurrency=2**31), "concurrency is 2147483648; expected a whole number from 0"),
    "half": (lambda q: q.set_limit(concurrency=1.5), "concurrency is 1.5; expected a whole number"),  # type: ignore[arg-type]
    "true": (lambda q: q.set_limit(concurrency=True), "concurrency is True; expected a whole number"),
    "rate 0": (lambda q: q.set_limit(rate=0, per=1), "rate is 0; expected a whole number from 1"),
    "rate alone": (lambda q: q.set_limit(rate=1), "rate is given without per; expected both, such as rate=10, per=60"),
    "per alone": (lambda q: q.set_limit(per=1), "per is given without rate; expected both"),
    "per 0": (lambda q: q.set_limit(rate=1, per=0), r"per is 0; expected seconds or a timedelta from 0\.001 to"),
    "per long": (lambda q: q.set_limit(rate=1, per=timedelta(days=31)), "per is .*; expected seconds or a timedelta"),
    "per text": (lambda q: q.set_limit(rate=1, per="1"), "per is '1'; expected seconds"),  # type: ignore[arg-type]
    "per nan": (lambda q: q.set_limit(rate=1, per=float("nan")), "per is nan; expected seconds"),
    "burst 0": (lambda q: q.set_limit(rate=1, per=1, burst=0), "burst is 0; expected a whole number from 1"),
    "burst alone": (
        lambda q: q.set_limit(concurrency=1, burst=1),
        "burst is given without rate; expected rate and per",
    ),
    "size of no group": (
        lambda q: q.set_limit(max_size=1),
        "max_size is given for no group; expected per_group=True or",
    ),
    "size": (lambda q: q.set_limit(max_size=-1, per_group=True), "max_size is -1; expected a whole number from 0"),
    "both": (
        lambda q: q.set_limit(per_group=True, group_id="a", concurrency=1),
        "per_group and group_id 'a' are both given; expected one of them",
    ),
    "each": (lambda q: q.set_limit(per_group=1, concurrency=1), "per_group is 1; expected True or False"),  # type: ignore[arg-type]
    "group": (lambda q: q.set_limit(group_id="", concurrency=1), "group_id is ''; expected a string of 1 to 255"),
    "actor": (lambda q: q.set_limit(concurrency=1, actor=1), "actor is 1; expected a string"),  # type: ignore[arg-type]
    "removed": (lambda q: q.remove_limit(queue=1), "queue is 1; expected a name"),  # type: ignore[arg-type]
    "usage": (lambda q: q.get_limit_usage(None, "a"), "queue is None; expected a name"),  # type: ignore[arg-type]
    "usage of group": (lambda q: q.get_limit_usage("a", "a", 3), "group_id is 3; expected a string"),  # type: ignore[arg-type]
    "counts": (lambda q: q.get_group_counts(None), "group_id is None; expected a string"),  # type: ignore[arg-type]
    "counts of queue": (lambda q: q.get_group_counts("a", queue=""), "queue is ''; expected a name"),
}


@pytest.mark.parametrize(("act", "message"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_sentence_and_changes_nothing(
    queue: JobQueue, act: Callable[[JobQueue], object], message: str
) -> None:
    with pytest.raises(InvalidControl, match=message):
        act(queue)
    assert queue.get_limits() == []
