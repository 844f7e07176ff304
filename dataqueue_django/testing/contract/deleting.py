"""Deleting: a job goes with everything that belongs to it; a running one only by force."""

from __future__ import annotations

from functools import partial

from ...domain.changes import Change, Verb, Verdict
from ...domain.filters import JobFilter, TagMatch
from ...domain.records import JobLog, JobStatus, NewJob
from ...domain.steering import cancel, retry
from ...domain.transitions import Execution, complete, fail
from .base import Contract
from .finishing import BROKEN
from .lifecycle import waiting_for_time

ENDS = (
    complete,
    lambda run: fail(run, BROKEN, retry_in=5),
    lambda run: fail(run, BROKEN, retry_in=None),
    lambda run: waiting_for_time(run, 5)[0],
)

EVERY_END = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class Deleting(Contract):
    """See Store.delete, Store.delete_ended and Store.delete_logs."""

    def test_a_job_goes_with_its_events(self) -> None:
        job_id, other = self.add(tags=("a",)), self.add(tags=("a",))
        before = self.trace(other)
        assert self.store.delete([job_id]) == 1
        assert self.trace(job_id) == (None, [])
        assert self.trace(other) == before

    def test_nothing_to_delete(self) -> None:
        self.add()
        assert self.store.delete([]) == 0
        assert self.store.delete([10**9]) == 0
        assert self.store.count() == {(): 1}

    def test_a_job_named_twice_goes_once(self) -> None:
        job_id = self.add()
        assert self.store.delete([job_id, job_id]) == 1
        assert self.store.delete([job_id]) == 0

    def test_a_running_job_stays(self) -> None:
        run, pending = self.running(), self.add()
        before = self.trace(run.job_id)
        assert self.store.delete([run.job_id, pending]) == 1
        assert self.trace(run.job_id) == before

    def test_force_takes_a_running_job(self) -> None:
        run = self.running()
        assert self.store.delete([run.job_id], force=True) == 1
        assert self.trace(run.job_id) == (None, [])
        [late] = self.commit(complete(run))
        assert late.verdict is Verdict.LOST

    def test_jobs_can_go_whatever_became_of_them(self) -> None:
        for end in ENDS:
            run = self.running()
            self.commit(end(run))
            assert self.store.delete([run.job_id]) == 1
        assert self.store.count() == {(): 0}

    def test_what_is_gone_is_not_claimed(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(3)])
        self.store.delete([ids[0], ids[2]])
        assert [job.id for job in self.claim()] == [ids[1]]

    def test_many(self) -> None:
        ids = self.add_all([NewJob(job_type="t", tags=("a", "b")) for _ in range(1000)])
        assert self.store.delete(ids[:999]) == 999
        assert [job.id for job in self.claim()] == ids[999:]

    # -- what has ended

    def test_what_ended_first_goes_first(self) -> None:
        runs = [self.running(tags=("a",)) for _ in range(5)]
        for n, run in enumerate(runs):
            self.commit(complete(run), at=self.later(10 - n))
        assert self.store.delete_ended(JobStatus.COMPLETED, before=self.later(9), limit=2) == 2
        assert {job.id for job in self.store.get([run.job_id for run in runs])} == {run.job_id for run in runs[:3]}
        assert self.trace(runs[4].job_id) == (None, [])
        assert len(self.store.query(JobFilter(tags=TagMatch(("a",))))) == 3
        assert self.store.delete_ended(JobStatus.COMPLETED, before=self.later(9), limit=2) == 1
        assert self.store.delete_ended(JobStatus.COMPLETED, before=self.later(9), limit=2) == 0

    def test_only_the_statuses_asked_for(self) -> None:
        completed, failed, cancelled = self.running(), self.running(), self.add()
        self.commit(complete(completed), fail(failed, BROKEN, retry_in=None))
        self.store.commit([cancel(cancelled)], now=self.now)
        for status, job_id in zip(EVERY_END, (completed.job_id, failed.job_id, cancelled), strict=True):
            assert self.store.delete_ended(status, before=self.later(1)) == 1
            assert self.store.get([job_id]) == []

    def test_what_was_retried_has_not_ended(self) -> None:
        run = self.running()
        self.commit(fail(run, BROKEN, retry_in=None))
        self.store.commit([retry(run.job_id)], now=self.now)
        assert [self.store.delete_ended(status, before=self.later(10**6)) for status in EVERY_END] == [0, 0, 0]

    def test_an_idempotency_key_is_free_again(self) -> None:
        run = self.running(idempotency_key="k")
        self.commit(complete(run))
        self.store.delete_ended(JobStatus.COMPLETED, before=self.later(1))
        assert self.add(idempotency_key="k") != run.job_id

    def test_some_job_types_or_all_but_some(self) -> None:
        for job_type in ("a", "b", "c", "a"):
            self.commit(complete(self.running(job_type=job_type)))
        delete = partial(self.store.delete_ended, JobStatus.COMPLETED, before=self.later(1))
        assert delete(job_types=("x",)) == 0
        assert delete(exclude_job_types=("a", "b")) == 1
        assert delete(job_types=("a", "b"), exclude_job_types=("b",)) == 2
        assert self.store.count(by=("job_type",)) == {("b",): 1}

    def test_nothing_that_ended_before_a_moment_is_looked_at(self) -> None:
        runs = [self.running() for _ in range(3)]
        for n, run in enumerate(runs):
            self.commit(complete(run), at=self.later(n))
        assert self.store.delete_ended(JobStatus.COMPLETED, since=self.later(1), before=self.later(2)) == 1
        assert {job.id for job in self.store.get([run.job_id for run in runs])} == {runs[0].job_id, runs[2].job_id}

    # -- lines of log

    def test_only_lines_of_jobs_that_have_ended_are_deleted(self) -> None:
        ended, going_on = self.running(), self.running()
        self.write(ended, 2)
        self.write(going_on, 2)
        self.commit(complete(ended))
        assert self.store.delete_logs(before=self.later(2)) == 2
        assert self.store.logs(ended.job_id) == []
        assert len(self.store.logs(going_on.job_id)) == 2
        assert self.job(ended.job_id).status is JobStatus.COMPLETED

    def test_only_old_lines_are_deleted(self) -> None:
        run = self.running()
        self.write(run, 3)
        self.commit(complete(run))
        assert self.store.delete_logs(before=self.now) == 0
        assert self.store.delete_logs(before=self.later(2)) == 2
        assert [line.message for line in self.store.logs(run.job_id)] == ["line 2"]

    def test_lines_are_deleted_in_lots_the_oldest_first(self) -> None:
        run = self.running()
        self.write(run, 5)
        self.commit(complete(run))
        assert self.store.delete_logs(before=self.later(9), limit=2) == 2
        assert [line.message for line in self.store.logs(run.job_id)] == ["line 2", "line 3", "line 4"]
        assert [self.store.delete_logs(before=self.later(9), limit=2) for _ in range(3)] == [2, 1, 0]

    def write(self, run: Execution, count: int) -> None:
        """Let an execution log some lines, a second apart."""
        lines = tuple(
            JobLog(job_id=run.job_id, created_at=self.later(n), level="info", message=f"line {n}") for n in range(count)
        )
        [done] = self.commit(Change(verb=Verb.RECORD, id=run.job_id, put=lines))
        assert done.applied
