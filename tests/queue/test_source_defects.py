"""What goes wrong elsewhere, in systems that this one takes its features from, and what happens here instead."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from dataqueue_django import EventType, Job, JobStatus, get_queue, job
from dataqueue_django.domain.lifecycle import State, state_of
from dataqueue_django.domain.liveness import beat, expire
from dataqueue_django.domain.records import Claim, ClaimedJob, NewJob, Worker
from dataqueue_django.domain.transitions import Execution, complete, fail, write_progress
from dataqueue_django.queue import JobQueue
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.testing import run_job
from tests.faults.inprocess import Workshop
from tests.queue.states import BROKEN, JOB_TYPE, job_in, run_of
from tests.stores.tables import empty


@job("defects.fails")
def fails() -> None:
    """A handler that never succeeds."""
    raise ValueError("no")


def claimed(queue: JobQueue, *, limit: int = 10, types: tuple[str, ...] = ()) -> list[ClaimedJob]:
    """Return what a new worker gets that asks for anything."""
    worker = queue.store.put(Worker(label="another"))
    claim = Claim(limit=limit, worker_id=worker.id, locked_by="another", job_types=types, crashed=None)
    return queue.store.claim(claim)


def events(queue: JobQueue, job_id: int) -> list[str]:
    """Return the words of a job's events."""
    return [event.event_type.value for event in queue.get_job_events(job_id)]


def found(queue: JobQueue, job_id: int) -> Job:
    """Return a job that is there."""
    job = queue.get_job(job_id)
    assert job is not None
    return job


def lose_its_worker(queue: JobQueue, run: Execution) -> None:
    """Let the worker of a running job be known to be gone."""
    queue.store.commit([(expire(found(queue, run.job_id).worker_id or 0),)])


# -- reclaiming


def test_a_job_whose_last_attempt_died_with_its_worker_ends(queue: JobQueue) -> None:
    """Elsewhere it goes back to pending, where no claim takes it, since its attempts are used up; nothing tells."""
    run = run_of(queue, job_in(queue, State.READY, max_attempts=1))
    lose_its_worker(queue, run)
    assert queue.reclaim_stuck_jobs() == 1
    assert found(queue, run.job_id).is_terminal
    assert events(queue, run.job_id) == ["added", "processing", "failed"]
    assert queue.retry_job(run.job_id)
    assert [job.id for job in claimed(queue)] == [run.job_id]


def test_a_reclaimed_job_is_claimed_again_and_its_events_say_so(queue: JobQueue) -> None:
    """Elsewhere a job that is taken back leaves no event."""
    run = run_of(queue, job_in(queue, State.READY))
    lose_its_worker(queue, run)
    assert queue.reclaim_stuck_jobs() == 1
    assert events(queue, run.job_id) == ["added", "processing", "reclaimed"]
    [again] = claimed(queue)
    assert (again.id, again.attempts) == (run.job_id, 2)


def test_a_job_of_a_live_worker_may_take_as_long_as_it_takes(queue: JobQueue) -> None:
    """Elsewhere a job of more than ten minutes is run a second time beside the first."""
    run = run_of(queue, job_in(queue, State.READY))
    queue.store.commit([(beat(found(queue, run.job_id).worker_id or 0),)])
    assert queue.reclaim_stuck_jobs(0.000001) == 0
    [done] = queue.store.commit([(complete(run),)])
    assert done.applied


# -- finishing


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_a_worker_that_lost_its_job_cannot_end_it(queue: JobQueue, end: str) -> None:
    """Elsewhere it stores the event of a completion while the job is pending, and the output is lost or overwrites."""
    run = run_of(queue, job_in(queue, State.READY))
    lose_its_worker(queue, run)
    queue.reclaim_stuck_jobs()
    before = queue.get_job(run.job_id), queue.get_job_events(run.job_id)
    change = complete(run, output="late") if end == "complete" else fail(run, BROKEN, retry_in=0)
    [late] = queue.store.commit([(change,)])
    assert not late.applied
    assert (queue.get_job(run.job_id), queue.get_job_events(run.job_id)) == before


def test_an_old_execution_writes_nothing_into_a_newer_one(queue: JobQueue) -> None:
    """Elsewhere progress and output are written by id alone, so one that ran out of time overwrites its successor's."""
    old = run_of(queue, job_in(queue, State.READY))
    queue.store.commit([(fail(old, BROKEN, retry_in=None),)])
    queue.retry_job(old.job_id)
    new = run_of(queue, old.job_id)
    [mine] = queue.store.commit([(write_progress(new, {"progress": 7}),)])
    [late, later] = queue.store.commit([(write_progress(old, {"progress": 99}),), (complete(old, output="old"),)])
    assert (mine.applied, late.applied, later.applied) == (True, False, False)
    assert (found(queue, old.job_id).progress, found(queue, old.job_id).status) == (7, JobStatus.PROCESSING)
    assert queue.store.commit([(complete(new, output="new"),)])[0].applied
    assert found(queue, old.job_id).output == "new"


def test_a_cancelled_job_is_never_completed(queue: JobQueue) -> None:
    """Elsewhere a finish does not ask whose job it is, and a job cancelled in between becomes completed."""
    old = run_of(queue, job_in(queue, State.READY))
    queue.store.commit([(fail(old, BROKEN, retry_in=600),)])
    assert queue.cancel_job(old.job_id)
    [late] = queue.store.commit([(complete(old),)])
    assert not late.applied
    assert found(queue, old.job_id).status is JobStatus.CANCELLED
    assert events(queue, old.job_id)[-1] == "cancelled"


def test_a_failure_says_rightly_whether_there_will_be_another_attempt(queue: JobQueue) -> None:
    """Elsewhere the event of failure 1 of 2 says that there will be none."""
    added = fails.using(alias=queue.alias, max_attempts=2).enqueue()
    run_job(added, alias=queue.alias)
    last = run_job(added, alias=queue.alias)
    said = [e.metadata["willRetry"] for e in queue.get_job_events(added.id) if e.event_type is EventType.FAILED]
    assert said == [True, False]
    assert last.is_terminal


def test_a_job_that_nobody_can_run_says_rightly_that_it_is_over(queue: JobQueue) -> None:
    """Elsewhere a job without handler says that it will not be tried again, and is."""
    done = run_job(queue.add_job("defects.nobody", allow_unknown=True), alias=queue.alias)
    assert (done.will_retry, queue.get_job_events(done.id)[-1].metadata["willRetry"]) == (False, False)
    assert claimed(queue) == []


# -- steering


def test_a_retried_job_that_had_no_attempt_left_runs(queue: JobQueue) -> None:
    """Elsewhere it is pending for ever: a claim asks for attempts that are not there."""
    added = fails.using(alias=queue.alias, max_attempts=1).enqueue()
    assert run_job(added, alias=queue.alias).is_terminal
    assert queue.retry_job(added.id)
    assert [job.id for job in claimed(queue)] == [added.id]


def test_a_retry_of_a_running_job_starts_no_second_one(queue: JobQueue) -> None:
    """Elsewhere it does, and two handlers work on one job."""
    run = run_of(queue, job_in(queue, State.READY))
    assert queue.retry_job(run.job_id) is False
    assert claimed(queue) == []
    assert events(queue, run.job_id) == ["added", "processing"]


def test_a_retried_event_means_that_the_job_was_retried(queue: JobQueue) -> None:
    """Elsewhere the retry of a cancelled job changes nothing and stores an event of it."""
    job_id, over = job_in(queue, State.CANCELLED), job_in(queue, State.COMPLETED)
    assert queue.retry_job(job_id)
    assert not queue.retry_job(over)
    assert (events(queue, job_id)[-1], events(queue, over)[-1]) == ("retried", "completed")
    assert [job.id for job in claimed(queue)] == [job_id]


@pytest.mark.parametrize("state", [s for s in State if s not in (State.MISSING,)])
def test_there_is_an_event_exactly_where_something_changed(queue: JobQueue, state: State) -> None:
    """Elsewhere an edit, a retry or a completion that comes too late leaves an event all the same."""
    for ask in (queue.cancel_job, queue.retry_job, lambda id: queue.edit_job(id, priority=5)):
        job_id = job_in(queue, state)
        before, count = queue.get_job(job_id), len(events(queue, job_id))
        did = ask(job_id)
        assert (queue.get_job(job_id) != before) is did
        assert len(events(queue, job_id)) == count + did


def test_events_go_with_the_transaction_of_what_they_tell(queue: JobQueue) -> None:
    """Elsewhere they are written apart, so that one can be there without the other."""
    job_id = job_in(queue, State.READY)
    with transaction.atomic(using=queue.alias):
        queue.edit_job(job_id, priority=5)
        queue.cancel_job(job_id)
        queue.retry_job(job_id)
        transaction.set_rollback(True, using=queue.alias)
    assert events(queue, job_id) == ["added"]
    assert state_of(queue.get_job(job_id), queue.store.now()) is State.READY


def test_cancelling_many_tells_as_much_as_cancelling_one(queue: JobQueue) -> None:
    """Elsewhere a bulk cancellation leaves neither an event nor the time."""
    ids = [job_in(queue, State.READY), job_in(queue, State.DELAYED)]
    assert queue.cancel_all_upcoming_jobs(actor="ann") == 2
    for job_id in ids:
        event = queue.get_job_events(job_id)[-1]
        assert (event.event_type, event.actor) == (EventType.CANCELLED, "ann")
        assert found(queue, job_id).last_cancelled_at is not None


# -- keys


def test_a_key_twice_in_one_lot_is_one_job_with_one_event(queue: JobQueue) -> None:
    """Elsewhere the one row gets two events of having been added."""
    one = {"job_type": JOB_TYPE, "payload": {"n": 1}, "idempotency_key": "k"}
    first, second = queue.add_jobs([one, one])
    assert first == second
    assert events(queue, first) == ["added"]


def test_a_job_that_was_there_is_not_announced_again(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    """Elsewhere whoever listens for new jobs hears of it each time."""
    first = queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k")
    with caplog.at_level(logging.INFO, logger="dataqueue_django.jobs"):
        assert queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k") == first
    assert caplog.records == []
    assert events(queue, first) == ["added"]


# -- finding


def test_tags_are_a_set_whatever_their_order(queue: JobQueue) -> None:
    """Elsewhere the mode "exact" finds only tags in the order in which the job has them."""
    job_id = queue.add_job(JOB_TYPE, {"n": 1}, tags=["b", "a"])
    assert [job.id for job in queue.get_jobs_by_tags(["a", "b"], "exact")] == [job_id]
    assert [job.id for job in queue.get_jobs_by_tags(["b", "a"], "exact")] == [job_id]


def test_a_job_without_tags_has_none_of_them(queue: JobQueue) -> None:
    """Elsewhere the mode "none" passes over jobs without tags, and so does what is cancelled by it."""
    bare = queue.add_job(JOB_TYPE, {"n": 1})
    tagged = queue.add_job(JOB_TYPE, {"n": 1}, tags=["a"])
    assert [job.id for job in queue.get_jobs_by_tags(["a"], "none")] == [bare]
    assert queue.cancel_all_upcoming_jobs({"tags": {"values": ["a"], "mode": "none"}}) == 1
    assert [found(queue, id).status.value for id in (bare, tagged)] == ["cancelled", "pending"]


def test_a_list_by_status_has_the_tags(queue: JobQueue) -> None:
    """Elsewhere it comes without."""
    queue.add_job(JOB_TYPE, {"n": 1}, tags=["a"])
    assert [job.tags for job in queue.get_jobs_by_status("pending")] == [("a",)]


# -- cleaning


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_failed_and_cancelled_jobs_can_be_cleaned_up_with_their_keys(queue: JobQueue, state: State) -> None:
    """Elsewhere only completed jobs are, and the others keep their keys for ever."""
    first = queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k", max_attempts=1)
    if state is State.CANCELLED:
        queue.cancel_job(first)
    else:
        queue.store.commit([(fail(run_of(queue, first), BROKEN, retry_in=None),)])
    assert queue.cleanup_old_jobs(0, confirm_all=True) == 0
    assert queue.cleanup_old_jobs(0, statuses=[found(queue, first).status], confirm_all=True) == 1
    assert queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k") != first


# -- claiming


def test_a_worker_for_one_type_gets_its_job_from_behind_many_others(queue: JobQueue) -> None:
    """Elsewhere a claim looks at three times its batch and starves behind jobs of other types."""
    queue.store.insert([NewJob(job_type="others", priority=9) for _ in range(100)])
    mine = queue.add_job(JOB_TYPE, {"n": 1})
    assert [job.id for job in claimed(queue, limit=1, types=(JOB_TYPE,))] == [mine]


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])
class TestWorkers:
    """With transactions that are real, and real workers."""

    @pytest.fixture
    def queue(self, any_alias: str) -> Iterator[JobQueue]:
        empty(any_alias)
        yield get_queue(any_alias)
        empty(any_alias)

    def test_a_claim_never_hands_out_more_than_was_asked_for(self, queue: JobQueue) -> None:
        """Elsewhere a limit in a subquery may be evaluated once more for rows that others hold."""
        ids = {answer.id for answer in queue.store.insert([NewJob(job_type="t") for _ in range(60)])}

        def claim(_: int) -> list[int]:
            with queue.store.private_session():
                return [job.id for job in claimed(queue, limit=5)]

        with ThreadPoolExecutor(3) as pool:
            lots = list(pool.map(claim, range(9)))
        handed_out = [id for lot in lots for id in lot]
        assert all(len(lot) <= 5 for lot in lots)
        assert len(handed_out) == len(set(handed_out))
        assert set(handed_out) <= ids

    def test_a_job_without_handler_leaves_the_others_of_its_type_alone(self, queue: JobQueue) -> None:
        """Elsewhere one such job rewrites a field of every pending job of its type."""
        assert isinstance(queue.store, PortableStore)
        strange = [queue.add_job("defects.nobody", allow_unknown=True) for _ in range(3)]
        before: list[Any] = queue.store.get(strange)
        workshop = Workshop(queue.store)
        workshop.handle("good", lambda: "well")
        good = workshop.add("good")
        try:
            assert workshop.start(burst=True).wait() == 0
        finally:
            workshop.close()
        assert found(queue, good).output == "well"
        assert queue.store.get(strange) == before
