"""Querying: what is found is what matches, in order, page after page; counts agree with it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from ...domain.backlog import Backlog
from ...domain.filters import COUNTABLE, EVERYTHING, JobFilter, Order, TagMatch, TagMode, TimeRange
from ...domain.records import Job, JobStatus, NewJob
from ...domain.steering import edit
from ...domain.transitions import complete, fail
from .base import NOW, Contract, execution_of, ids_of
from .finishing import BROKEN

FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    "one status": {"statuses": (JobStatus.PENDING,)},
    "two statuses": {"statuses": (JobStatus.COMPLETED, JobStatus.FAILED)},
    "queue": {"queues": ("mail",)},
    "queues": {"queues": ("mail", "Mail", "nobody")},
    "type": {"job_types": ("send",)},
    "types and status": {"job_types": ("send", "build"), "statuses": (JobStatus.PROCESSING,)},
    "keys": {"idempotency_keys": ("key 3", "key 4", "Key 5")},
    "nobody": {"queues": ("nobody",)},
    "no worker has this id": {"worker_ids": (10**9,)},
    "held": {"held": True},
    "held, of a queue": {"held": True, "queues": ("mail",)},
    "priority": {"priorities": (-1,)},
    "priorities": {"priorities": (-1, 2**31 - 1, 77)},
    "run_at after": {"run_at": TimeRange(gt=NOW + timedelta(seconds=1))},
    "run_at from": {"run_at": TimeRange(gte=NOW + timedelta(seconds=1))},
    "run_at before": {"run_at": TimeRange(lt=NOW + timedelta(seconds=1))},
    "run_at until": {"run_at": TimeRange(lte=NOW + timedelta(seconds=1))},
    "run_at within": {"run_at": TimeRange(gt=NOW, lt=NOW + timedelta(seconds=2))},
    "run_at at": {"run_at": TimeRange(eq=NOW + timedelta(seconds=1))},
    "run_at, to the microsecond": {"run_at": TimeRange(eq=NOW + timedelta(seconds=1, microseconds=1))},
    **{
        f"{mode} of {', '.join(tags) or 'nothing'}": {"tags": TagMatch(tags, mode)}
        for mode in TagMode
        for tags in (("a",), ("b", "a"), ("A",), ("a", "%"), ("c", "b", "a"), ("nobody",))
    },
    "no tags at all": {"tags": TagMatch((), TagMode.EXACT)},
    "much at once": {
        "tags": TagMatch(("a",), TagMode.NONE),
        "priorities": (0, -1),
        "run_at": TimeRange(gte=NOW),
        "job_types": ("send", "build"),
        "statuses": (JobStatus.PENDING, JobStatus.FAILED),
    },
}

TAGS = ((), ("a",), ("a", "b"), ("b", "a"), ("A",), ("a", "%"), ("c", "a", "b"), ("_",))


class Querying(Contract):
    """See Store.get, Store.query and Store.count."""

    def test_get(self) -> None:
        ids = self.add_all([NewJob(job_type="t", payload=n) for n in range(4)])
        found = self.store.get([ids[3], ids[1], ids[1], ids[3] + 1000])
        assert [(job.id, job.payload) for job in found] == [(ids[1], 1), (ids[3], 3)]
        assert self.store.get([]) == []
        assert self.store.get({ids[0]})[0].id == ids[0]

    @pytest.mark.parametrize("given", FILTERS.values(), ids=FILTERS)
    def test_jobs_by_filter(self, given: dict[str, Any]) -> None:
        where, jobs = JobFilter(**given), self.given_jobs()
        expected = [job for job in jobs if where.matches(job)]
        assert self.store.query(where, order=Order.OLDEST, limit=100) == expected
        assert self.store.query(where, order=Order.NEWEST, limit=100) == expected[::-1]
        assert self.store.count(where) == {(): len(expected)}

    @pytest.mark.parametrize("order", Order)
    def test_ids(self, order: Order) -> None:
        jobs = self.given_jobs()
        some = JobFilter(ids=(jobs[2].id, jobs[7].id, 10**9))
        assert self.store.query(some, order=order) == self.in_order([jobs[2], jobs[7]], order)

    def test_the_jobs_of_a_worker(self) -> None:
        worker, other = self.worker(), self.worker()
        mine = {self.start(self.add(), worker=worker).job_id for _ in range(3)}
        self.start(self.add(), worker=other)
        self.add()
        assert set(ids_of(self.store.query(JobFilter(worker_ids=(worker.id,))))) == mine
        assert self.store.count(JobFilter(worker_ids=(worker.id,))) == {(): 3}
        assert self.store.count(JobFilter(worker_ids=(worker.id, other.id))) == {(): 4}
        assert set(ids_of(self.store.query(JobFilter(worker_ids=(worker.id, 10**9))))) == mine
        assert set(ids_of(self.store.query(JobFilter(worker_ids=(worker.id, 0))))) == mine

    def test_newest_first_unless_said_otherwise(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(3)])
        assert ids_of(self.store.query(EVERYTHING)) == ids[::-1]

    @pytest.mark.parametrize("order", Order)
    def test_pages(self, order: Order) -> None:
        self.given_jobs()
        where = JobFilter(job_types=("send", "build"))
        everything = self.store.query(where, order=order, limit=100)
        for size in (1, 4, 7):
            found: list[Job] = []
            while page := self.store.query(where, order=order, limit=size, after=found[-1].id if found else None):
                assert len(page) <= size
                found += page
            assert found == everything

    @pytest.mark.parametrize("order", Order)
    def test_an_offset_skips(self, order: Order) -> None:
        self.given_jobs()
        where = JobFilter(job_types=("send", "build"))
        everything = self.store.query(where, order=order, limit=100)
        assert self.store.query(where, order=order, limit=3, offset=0) == everything[:3]
        assert self.store.query(where, order=order, limit=3, offset=4) == everything[4:7]
        assert self.store.query(where, order=order, limit=3, offset=10**6) == []

    @pytest.mark.parametrize("order", Order)
    def test_values_are_those_of_the_jobs(self, order: Order) -> None:
        self.given_jobs()
        where, names = JobFilter(queues=("mail", "default")), ("tags", "id", "status", "run_at", "priority", "queue")
        jobs = self.store.query(where, order=order, limit=100)
        expected = [tuple(getattr(job, name) for name in names) for job in jobs]
        assert self.store.values(where, names, order=order, limit=100) == expected
        assert self.store.values(where, names, order=order, limit=2, after=jobs[1].id) == expected[2:4]

    def test_tags_are_found_as_they_were_edited(self) -> None:
        ids = self.add_all([NewJob(job_type="t", tags=("old", "kept")) for _ in range(2)])
        self.store.commit([edit(ids[0], {"tags": ("kept", "new")}), edit(ids[1], {"tags": ()})], now=self.now)
        assert [self.tagged("old"), self.tagged("kept"), self.tagged("new")] == [[], [ids[0]], [ids[0]]]
        assert ids_of(self.store.query(JobFilter(tags=TagMatch(("kept",), TagMode.NONE)))) == [ids[1]]

    def test_the_clock(self) -> None:
        first = self.store.now()
        assert first.tzinfo is not None
        assert first <= self.store.now()

    def test_paging_goes_on_from_a_job_that_is_gone(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(4)])
        self.store.delete([ids[1]])
        assert ids_of(self.store.query(EVERYTHING, order=Order.OLDEST, after=ids[1])) == ids[2:]
        assert ids_of(self.store.query(EVERYTHING, order=Order.NEWEST, after=ids[1])) == ids[:1]

    @pytest.mark.parametrize("given", FILTERS.values(), ids=FILTERS)
    def test_counts(self, given: dict[str, Any]) -> None:
        where, jobs = JobFilter(**given), self.given_jobs()
        for by in (
            ("status",),
            ("queue",),
            ("job_type",),
            ("queue", "status"),
            ("status", "job_type", "queue"),
            ("worker_id",),
        ):
            expected = Counter(tuple(COUNTABLE[field](job) for field in by) for job in jobs if where.matches(job))
            assert self.store.count(where, by=by) == expected

    def test_counting_nothing(self) -> None:
        assert self.store.count() == {(): 0}
        assert self.store.count(by=("status",)) == {}

    # -- what is ready

    def test_nothing_is_ready(self) -> None:
        assert self.store.backlogs(now=self.now) == []
        self.add(run_at=self.later(1))
        self.commit(complete(self.running()))
        self.running()
        assert self.store.backlogs(now=self.now) == []

    def test_what_is_ready_by_queue_and_type(self) -> None:
        self.add("send", queue="mail", run_at=self.later(-90))
        self.add("send", queue="mail")
        self.add("Send", queue="mail", run_at=self.later(-5))
        self.add("send", run_at=self.later(10))
        self.add("build", run_at=self.later(60))
        assert self.store.backlogs(now=self.later(10)) == [
            Backlog(queue="default", job_type="send", ready=1, waited=0),
            Backlog(queue="mail", job_type="Send", ready=1, waited=15),
            Backlog(queue="mail", job_type="send", ready=2, waited=100),
        ]

    def test_jobs_that_have_come_due_count_before_anybody_claims(self) -> None:
        self.add(run_at=self.later(5))
        self.add(run_at=self.later(8))
        self.claim(at=self.now)
        both = Backlog(queue="default", job_type="send", ready=2, waited=15)
        assert self.store.backlogs(now=self.later(20)) == [both]
        self.claim(1, at=self.later(20))  # which also marks the other one as claimable
        [left] = self.store.backlogs(now=self.later(20))
        assert (left.ready, left.waited) == (1, 12)

    def test_a_failed_job_whose_retry_is_due_is_ready(self) -> None:
        self.commit(fail(self.running(), BROKEN, retry_in=5))
        assert self.store.backlogs(now=self.later(4)) == []
        assert self.store.backlogs(now=self.later(6)) == [Backlog(queue="default", job_type="send", ready=1, waited=1)]

    def test_by_the_clock_of_the_store(self) -> None:
        self.store.insert([NewJob(job_type="send")])
        [one] = self.store.backlogs()
        assert one.ready == 1
        assert 0 <= one.waited < 300

    # -- given

    def given_jobs(self) -> list[Job]:
        """Insert two dozen jobs of several queues, types and statuses; return them by id."""
        random = Random(5)
        jobs = [
            NewJob(
                job_type=random.choice(("send", "Send", "build")),
                queue=random.choice(("default", "mail", "Mail")),
                priority=random.choice((0, -1, 2**31 - 1)),
                run_at=random.choice((None, NOW - timedelta(days=1), NOW + timedelta(seconds=1))),
                tags=TAGS[n % len(TAGS)],
                idempotency_key=f"key {n}" if n % 2 else None,
            )
            for n in range(24)
        ]
        ids = self.add_all(jobs)
        runs = [execution_of(job) for job in self.claim(12, ids=tuple(random.sample(ids, 12)), at=self.later(1))]
        self.commit(*(complete(run) for run in runs[:4]), *(fail(run, BROKEN, retry_in=5) for run in runs[4:7]))
        return self.store.get(ids)

    def tagged(self, tag: str) -> list[int]:
        """Return the ids of the jobs with a tag."""
        return ids_of(self.store.query(JobFilter(tags=TagMatch((tag,)))))

    @staticmethod
    def in_order(jobs: list[Job], order: Order) -> list[Job]:
        """Return jobs, which stand by ascending id, in `order`."""
        return jobs[::-1] if order is Order.NEWEST else jobs
