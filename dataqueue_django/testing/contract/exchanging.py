"""Exchanging: the same as a commit and then a claim, however the store does it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ...domain.changes import Alternatives, Change, Committed, Verb, Verdict
from ...domain.liveness import expire
from ...domain.records import ClaimedJob, EventType, JobStatus, NewJob
from ...domain.transitions import Execution, complete, fail, release, write_progress
from .base import Contract, execution_of, ids_of
from .finishing import BROKEN, LOST, REPORT

TAKEN = Committed(verdict=Verdict.APPLIED, choice=0)


class Exchanging(Contract):
    """See Store.exchange."""

    def test_nothing_for_nothing(self) -> None:
        assert self.store.exchange([], None, now=self.now) == ([], [])

    def test_completing_and_claiming(self) -> None:
        runs, waiting = [self.running() for _ in range(3)], self.add()
        results, jobs = self.swap([complete(run, output={"n": 1}) for run in runs])
        assert results == [TAKEN] * 3
        assert ids_of(jobs) == [waiting]
        for run in runs:
            job = self.job(run.job_id)
            assert (job.status, job.output, job.finished_at) == (JobStatus.COMPLETED, {"n": 1}, self.now)
            assert self.words(run.job_id) == ["added", "processing", "completed"]
        assert self.job(waiting).status is JobStatus.PROCESSING

    def test_completing_when_there_is_nothing_to_claim(self) -> None:
        run = self.running()
        assert self.swap([complete(run)]) == ([TAKEN], [])

    def test_claiming_alone_is_a_claim(self) -> None:
        ids = self.add_all([NewJob(job_type="t", priority=-n) for n in range(5)])
        results, jobs = self.store.exchange([], self.asking(3), now=self.now)
        assert (results, ids_of(jobs)) == ([], ids[:3])

    def test_committing_alone_is_a_commit(self) -> None:
        runs = [self.running(), self.running()]
        items: list[Alternatives] = [(complete(runs[0]),), (fail(runs[1], BROKEN, retry_in=1),)]
        assert self.store.exchange(items, None, now=self.now) == ([TAKEN, TAKEN], [])

    def test_answers_stand_in_the_order_of_the_items(self) -> None:
        runs = [self.running() for _ in range(6)]
        self.commit(release(runs[1], why="x"), release(runs[4], why="x"))
        items = [
            fail(runs[0], BROKEN, retry_in=99),
            complete(runs[1]),
            complete(runs[2]),
            release(runs[3], why="stopping"),
            fail(runs[4], BROKEN, retry_in=1),
            complete(runs[5]),
        ]
        results, _ = self.swap(items, limit=0)
        assert results == [TAKEN, LOST, TAKEN, TAKEN, LOST, TAKEN]
        statuses = [job.status.value for job in self.store.get([run.job_id for run in runs])]
        assert statuses == ["failed", "pending", "completed", "pending", "pending", "completed"]

    def test_every_kind_of_completion(self) -> None:
        """A store may have a faster way for plain completions: it must not mistake others for them."""
        first, second, third, fourth, fifth = (self.running() for _ in range(5))
        spawning = replace(complete(second), spawn=NewJob(job_type="next", priority=-1))
        by_somebody = replace(complete(third), actor="user 1: Ann", metadata={"note": "done by hand"})
        unusual = replace(complete(fourth), set={**complete(fourth).set, "pending_reason": "odd"})
        partial = replace(complete(fifth), set={k: v for k, v in complete(fifth).set.items() if k != "failure_reason"})
        self.set_fields(fifth.job_id, failure_reason="kept")
        [plain, spawned, *_], _ = self.swap([complete(first), spawning, by_somebody, unusual, partial], limit=0)
        assert plain == TAKEN
        assert self.job(spawned.spawned or 0).job_type == "next"
        event = self.store.events(third.job_id)[-1]
        assert (event.actor, event.metadata) == ("user 1: Ann", {"note": "done by hand"})
        assert self.job(fourth.job_id).pending_reason == "odd"
        assert self.job(fifth.job_id).failure_reason == "kept"

    @pytest.mark.parametrize("output", [None, 0, "", "text", [], {"a": {"b": [1.5, None]}}, "null"])
    def test_outputs(self, output: Any) -> None:
        run = self.running()
        self.swap([complete(run, output=output)])
        assert self.job(run.job_id).output == output

    def test_completing_without_output_keeps_what_stood_there(self) -> None:
        run = self.running()
        self.set_fields(run.job_id, output=[1])
        self.swap([complete(run)])
        assert self.job(run.job_id).output == [1]

    @pytest.mark.parametrize("names", [("progress",), ("progress_message",), ("progress_data",), tuple(REPORT)])
    def test_reports(self, names: tuple[str, ...]) -> None:
        run = self.running()
        stood = {"progress": 1, "progress_message": "m", "progress_data": [0]}
        self.commit(write_progress(run, stood))
        self.swap([complete(run, progress={name: REPORT[name] for name in names})])
        job = self.job(run.job_id)
        expected = {**stood, **{name: REPORT[name] for name in names}}
        assert {name: getattr(job, name) for name in REPORT} == expected

    # -- one execution, one end

    def test_one_execution_twice(self) -> None:
        run = self.running()
        results, _ = self.swap([complete(run, output=1), complete(run, output=2)])
        assert results == [TAKEN, LOST]
        assert self.job(run.job_id).output == 1
        assert self.words(run.job_id) == ["added", "processing", "completed"]

    def test_two_ends_of_one_execution(self) -> None:
        run = self.running()
        results, _ = self.swap([complete(run), fail(run, BROKEN, retry_in=None)])
        assert results == [TAKEN, LOST]
        assert self.job(run.job_id).status is JobStatus.COMPLETED

    def test_stale_and_current_execution_together(self) -> None:
        old = self.running()
        self.commit(release(old, why="stopping"))
        new = self.start(old.job_id)
        results, _ = self.swap([complete(old, output="old"), complete(new, output="new")])
        assert results == [LOST, TAKEN]
        assert self.job(new.job_id).output == "new"

    def test_a_job_that_is_gone(self) -> None:
        run = self.running()
        self.store.delete([run.job_id], force=True)
        waiting = self.add()
        results, jobs = self.swap([complete(run)])
        assert (results, ids_of(jobs)) == ([LOST], [waiting])

    def test_alternatives(self) -> None:
        run = self.running()
        cancelled = Change(
            verb=Verb.OTHER,
            id=run.job_id,
            guard={"cancel_requested_at": (self.now,), "claim_seq": (run.claim_seq,)},
            set={**complete(run).set, "status": JobStatus.CANCELLED},
            event=EventType.CANCELLED,
        )
        self.set_fields(run.job_id, cancel_requested_at=self.now)
        [result], _ = self.store.exchange([(cancelled, complete(run))], None, now=self.now)
        assert result == TAKEN
        assert self.job(run.job_id).status is JobStatus.CANCELLED

    # -- both halves

    def test_what_is_given_back_can_be_claimed_in_the_same_call(self) -> None:
        run = self.running()
        results, [again] = self.swap([release(run, why="stopping")])
        assert results == [TAKEN]
        assert execution_of(again) == Execution(run.job_id, 3, 1, 3)
        assert self.words(run.job_id) == ["added", "processing", "released", "processing"]

    def test_an_expired_worker_finishes_but_claims_nothing(self) -> None:
        worker = self.worker()
        run, waiting = self.start(self.add(), worker=worker), self.add()
        self.commit(expire(worker.id))
        items: list[Alternatives] = [(complete(run),)]
        assert self.store.exchange(items, self.asking(worker=worker), now=self.now) == ([TAKEN], [])
        assert self.job(waiting).status is JobStatus.PENDING

    def test_the_order_and_the_limit_of_the_claim(self) -> None:
        ids = self.add_all([NewJob(job_type=f"t{n % 2}", queue=f"q{n % 3}", priority=n % 5) for n in range(30)])
        expected = sorted(ids, key=lambda id: (-(ids.index(id) % 5), id))
        run = self.running(priority=9)
        _, jobs = self.swap([complete(run)], limit=7)
        assert ids_of(jobs) == expected[:7]

    def test_a_worker_that_finishes_what_it_claimed(self) -> None:
        ids = self.add_all([NewJob(job_type="t", payload=n) for n in range(40)])
        claim = self.asking(6)
        results, jobs = self.store.exchange([], claim, now=self.now)
        done: list[int] = []
        while jobs:
            done += ids_of(jobs)
            items: list[Alternatives] = [(complete(execution_of(job), output=job.payload),) for job in jobs]
            results, jobs = self.store.exchange(items, claim, now=self.now)
            assert results == [TAKEN] * len(items)
        assert done == ids
        assert [job.output for job in self.store.get(ids)] == list(range(40))
        assert self.store.count(by=("status",)) == {("completed",): 40}

    # -- helpers

    def swap(self, changes: list[Change], limit: int = 10) -> tuple[list[Committed], list[ClaimedJob]]:
        """Exchange changes without alternatives for up to `limit` jobs."""
        return self.store.exchange([(change,) for change in changes], self.asking(limit), now=self.now)
