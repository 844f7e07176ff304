"""Deleting: a job goes with everything that belongs to it; a running one only by force."""

from __future__ import annotations

from ...domain.changes import Verdict
from ...domain.records import NewJob
from ...domain.transitions import complete, fail
from .base import Contract
from .finishing import BROKEN
from .lifecycle import park

ENDS = (
    complete,
    lambda run: fail(run, BROKEN, retry_in=5),
    lambda run: fail(run, BROKEN, retry_in=None),
    lambda run: park(run, 5),
)


class Deleting(Contract):
    """See Store.delete."""

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
