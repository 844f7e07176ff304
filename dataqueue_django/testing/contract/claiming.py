"""Claiming: the right jobs, in order, no more than asked for, to a living worker only."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from ...domain.changes import Change, Verb
from ...domain.liveness import expire, stop
from ...domain.records import Claim, ClaimedJob, JobStatus, NewJob, Worker
from ...domain.transitions import complete, fail, reclaim, release, snooze
from .base import Contract, execution_of, ids_of
from .finishing import BROKEN

QUEUES = ("default", "Mail", "mail", "reports")
TYPES = ("send", "Send", "build", "tidy")

FILTERS: dict[str, dict[str, Any]] = {
    "everything": {"crashed": None},
    "not crashed": {},
    "crashed only": {"crashed": True},
    "one queue": {"queues": ("mail",), "crashed": None},
    "two queues": {"queues": ("mail", "reports"), "crashed": None},
    "without a queue": {"exclude_queues": ("mail",), "crashed": None},
    "wanted and unwanted queue": {"queues": ("mail", "Mail"), "exclude_queues": ("Mail",), "crashed": None},
    "one type": {"job_types": ("send",), "crashed": None},
    "without types": {"exclude_job_types": ("send", "tidy"), "crashed": None},
    "wanted and unwanted type": {"job_types": ("send",), "exclude_job_types": ("send",), "crashed": None},
    "queue and type": {"queues": ("default",), "job_types": ("send", "build"), "crashed": None},
    "queue without a type": {"queues": ("default",), "exclude_job_types": ("build",), "crashed": None},
    "all at once": {"queues": ("mail", "reports"), "exclude_job_types": ("tidy",), "crashed": True},
    "unknown queue": {"queues": ("nobody",), "crashed": None},
    "unknown type": {"job_types": ("nobody", "send"), "crashed": None},
}


class Claiming(Contract):
    """See Store.claim and Store.next_ready_in."""

    def test_a_claimed_job_is_processing(self) -> None:
        worker = self.worker("host:1")
        job_id = self.add()
        before = self.job(job_id)
        self.store.claim(self.asking(1, worker=worker), now=self.later(3))
        job = self.job(job_id)
        changed = {name for name in job.__slots__ if getattr(job, name) != getattr(before, name)}
        assert changed == {
            "status",
            "claim_seq",
            "attempts",
            "ready_at",
            "worker_id",
            "locked_by",
            "locked_at",
            "started_at",
            "last_started_at",
            "updated_at",
        }
        assert (job.status, job.claim_seq, job.attempts, job.ready_at) == (JobStatus.PROCESSING, 1, 1, None)
        assert (job.worker_id, job.locked_by) == (worker.id, "host:1")
        assert {job.locked_at, job.started_at, job.last_started_at, job.updated_at} == {self.later(3)}

    def test_the_answer_is_what_stands_in_the_store(self) -> None:
        job_id = self.add(
            "build",
            queue="reports",
            payload={"a": 1},
            priority=4,
            max_attempts=7,
            timeout_ms=5,
            retry_delay_ms=6,
            retry_backoff="fixed",
            retry_delay_max_ms=8,
            tags=("x", "y"),
            group_id="g",
        )
        [claimed] = self.claim(1)
        stored = self.job(job_id)
        assert claimed == ClaimedJob(**{name: getattr(stored, name) for name in ClaimedJob.__slots__})

    def test_a_claim_is_an_event(self) -> None:
        worker = self.worker()
        job_id = self.add()
        self.start(job_id, worker=worker, at=self.later(1))
        event = self.store.events(job_id)[-1]
        assert event.event_type.value == "processing"
        assert (event.claim_seq, event.attempt, event.worker_id) == (1, 1, worker.id)
        assert (event.created_at, event.actor, event.metadata) == (self.later(1), "", None)

    def test_nothing_to_claim(self) -> None:
        assert self.claim() == []

    def test_a_job_is_handed_out_once(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(4)])
        first, second = self.claim(3), self.claim(3)
        assert ids_of(first) + ids_of(second) == ids
        assert self.claim(3) == []

    # -- order and limit

    @pytest.mark.parametrize("seed", range(3))
    def test_order_over_everything_due(self, seed: int) -> None:
        expected = self.given_a_mixture(Random(seed))
        claimed: list[int] = []
        for limit in (1, 5, 2, 40, 40):
            jobs = ids_of(self.claim(limit, crashed=None))
            assert len(jobs) == min(limit, len(expected) - len(claimed))
            claimed += jobs
        assert claimed == expected

    @pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
    def test_claims_by_filter(self, filters: dict[str, Any]) -> None:
        everything = self.given_a_mixture(Random(7))
        self.add("send", queue="mail", run_at=self.later(60))
        known = {job.id: job for job in self.store.get(everything)}
        expected = [id for id in everything if wanted(known[id], filters)]
        claim = self.asking(100, **filters)
        assert self.store.would_find(claim, now=self.now) == bool(expected)
        assert ids_of(self.claim(3, **filters)) == expected[:3]
        assert ids_of(self.store.claim(claim, now=self.now)) == expected[3:]
        assert self.store.claim(claim, now=self.now) == []
        assert not self.store.would_find(claim, now=self.now)

    def test_nothing_would_be_found_in_an_empty_store(self) -> None:
        assert not self.store.would_find(self.asking(crashed=None), now=self.now)

    def test_named_jobs(self) -> None:
        ids = self.add_all([NewJob(job_type="t", priority=n) for n in range(5)])
        other_type = self.add("other")
        named = (ids[1], ids[3], other_type, ids[4] + 1000)
        assert ids_of(self.claim(9, ids=named, job_types=("t",))) == [ids[3], ids[1]]

    def test_the_limit_is_a_limit(self) -> None:
        self.add_all([NewJob(job_type=f"t{n % 3}", queue=f"q{n % 2}") for n in range(30)])
        for limit in (1, 2, 5):
            assert len(self.claim(limit)) == limit
        assert self.store.count(by=("status",)) == {("processing",): 8, ("pending",): 22}
        assert self.claim(0) == []

    def test_a_queue_with_very_many_types(self) -> None:
        jobs = [NewJob(job_type=f"type {n:03}", priority=n * 7 % 130) for n in range(130)]
        ids = self.add_all(jobs)
        expected = sorted(ids, key=lambda id: -jobs[ids.index(id)].priority)
        without = self.claim(1, exclude_job_types=(jobs[ids.index(expected[0])].job_type,))
        assert ids_of(without) == expected[1:2]
        assert ids_of(self.claim(200)) == [expected[0], *expected[2:]]

    def test_an_unwanted_type_in_front_does_not_hide_others(self) -> None:
        self.add_all([NewJob(job_type="unknown", priority=9) for _ in range(50)])
        last = self.add("known")
        assert ids_of(self.claim(1, job_types=("known",))) == [last]

    # -- due

    def test_a_job_is_due_at_its_time_and_not_before(self) -> None:
        job_id = self.add(run_at=self.later(60))
        assert self.claim(at=self.later(59.999999)) == []
        assert ids_of(self.claim(at=self.later(60))) == [job_id]

    def test_what_comes_due_takes_its_place_in_the_order(self) -> None:
        low = self.add()
        high = self.add(priority=5, run_at=self.later(60))
        assert ids_of(self.claim(1, at=self.later(61))) == [high]
        assert ids_of(self.claim(1, at=self.later(61))) == [low]

    def test_more_than_a_thousand_come_due_at_once(self) -> None:
        soon = [NewJob(job_type="t", run_at=self.later(60), priority=n // 1000) for n in range(1150)]
        ids = self.add_all(soon[:1000]) + self.add_all(soon[1000:])
        claim, due = self.asking(2000), self.later(61)
        nothing = self.asking(1, queues=("nobody",))
        while self.store.next_ready_in(nothing, now=due) is not None:  # a call prepares a bounded number of them
            self.store.claim(nothing, now=due)
        assert ids_of(self.store.claim(claim, now=due)) == ids[1000:] + ids[:1000]

    def test_a_failed_job_is_claimed_when_its_next_attempt_is_due(self) -> None:
        run = self.running()
        self.commit(fail(run, BROKEN, retry_in=30))
        assert self.claim(at=self.later(29)) == []
        [again] = self.claim(at=self.later(30))
        assert (again.id, again.attempts, again.claim_seq) == (run.job_id, 2, 3)

    def test_what_has_ended_is_never_claimed(self) -> None:
        self.commit(complete(self.running()), fail(self.running(), BROKEN, retry_in=None))
        assert self.claim(crashed=None, at=self.later(10**7)) == []

    def test_how_long_until_the_next_job_is_due(self) -> None:
        claim = self.asking()
        assert self.store.next_ready_in(claim, now=self.now) is None
        self.add_all([NewJob(job_type="t", run_at=self.later(n)) for n in (90, 30.5, 60)])
        assert self.store.next_ready_in(claim, now=self.now) == 30.5
        self.store.claim(claim, now=self.later(40))
        assert self.store.next_ready_in(claim, now=self.later(40)) == 20
        self.store.claim(claim, now=self.later(90))
        assert self.store.next_ready_in(claim, now=self.later(90)) is None

    # -- who asks

    def test_a_worker_that_is_not_there_gets_nothing(self) -> None:
        job_id = self.add()
        before = self.trace(job_id)
        gone = Worker(id=10**9, label="nobody")
        assert self.claim(worker=gone) == []
        assert self.trace(job_id) == before

    def test_an_expired_worker_gets_nothing(self) -> None:
        job_id, worker = self.add(), self.worker()
        before = self.trace(job_id)
        self.commit(expire(worker.id))
        assert self.claim(worker=worker) == []
        assert self.trace(job_id) == before
        assert ids_of(self.claim()) == [job_id]

    def test_a_stopping_worker_may_still_claim(self) -> None:
        job_id, worker = self.add(), self.worker()
        self.commit(stop(worker.id))
        assert ids_of(self.claim(worker=worker)) == [job_id]

    # -- attempts

    def test_every_claim_counts_an_attempt(self) -> None:
        job_id = self.add()
        for attempt in (1, 2, 3):
            run = self.start(job_id)
            assert (run.attempts, run.claim_seq) == (attempt, 2 * attempt - 1)
            self.commit(fail(run, BROKEN, retry_in=0))
        assert self.claim(crashed=None) == []

    def test_resuming_does_not_count_an_attempt(self) -> None:
        job_id = self.add(max_attempts=1)
        self.commit(release(self.start(job_id), why="stopping"))
        again = self.start(job_id)
        assert (again.attempts, again.claim_seq) == (1, 3)
        assert not self.job(job_id).resuming
        self.commit(snooze(again, 0))
        assert self.start(job_id).attempts == 1

    def test_the_first_start_is_kept(self) -> None:
        job_id = self.add()
        self.commit(release(self.start(job_id), why="stopping"))
        self.start(job_id, at=self.later(9))
        job = self.job(job_id)
        assert (job.started_at, job.last_started_at) == (self.now, self.later(9))

    def test_why_a_job_was_pending_is_no_news_any_more(self) -> None:
        job_id = self.add()
        self.set_fields(job_id, pending_reason="the group was full")
        self.start(job_id)
        assert self.job(job_id).pending_reason is None

    def test_a_claim_without_a_time_goes_by_the_clock_of_the_store(self) -> None:
        [due, _] = self.store.insert([NewJob(job_type="t"), NewJob(job_type="t", run_at=self.now)])
        assert [job.id for job in self.store.claim(self.asking())] == [due.id]

    # -- given

    def given_a_mixture(self, random: Random) -> list[int]:
        """Insert jobs of many kinds, a few of which once took a worker with them; return their ids in claim order."""
        jobs = [
            NewJob(
                job_type=random.choice(TYPES),
                queue=random.choice(QUEUES),
                priority=random.choice((-5, 0, 0, 0, 2**31 - 1, -(2**31))),
                run_at=random.choice((None, self.later(-random.randrange(4)))),
            )
            for _ in range(40)
        ]
        ids = self.add_all(jobs)
        moved = [Change(verb=Verb.OTHER, id=id, set={"position": n * 2**34}) for n, id in enumerate(ids[5:35:3], -3)]
        crashed = self.claim(6, ids=tuple(random.sample(ids, 6)))
        self.commit(*moved, *(reclaim(execution_of(job)) for job in crashed))
        everything = self.store.get(ids)
        everything.sort(key=lambda job: (-job.priority, job.position, job.ready_at, job.id))
        return ids_of(everything)


def wanted(job: Any, filters: dict[str, Any]) -> bool:
    """Return whether the filters of a claim let `job` through."""
    claim = Claim(limit=1, worker_id=0, locked_by="", **filters)
    return (
        (not claim.queues or job.queue in claim.queues)
        and job.queue not in claim.exclude_queues
        and (not claim.job_types or job.job_type in claim.job_types)
        and job.job_type not in claim.exclude_job_types
        and (claim.crashed is None or (job.crash_count > 0) == claim.crashed)
    )
