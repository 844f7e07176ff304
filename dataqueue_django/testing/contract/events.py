"""Events: the history of a job, from which its status and attempts follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from ...domain.changes import Change
from ...domain.lifecycle import ENDINGS
from ...domain.records import JobStatus, NewJob
from ...domain.transitions import Execution, complete, fail, reclaim, release, snooze, write_progress
from .base import Contract
from .finishing import BROKEN, REPORT
from .watching import replay

ENDS: dict[str, Callable[[Execution], Change]] = {
    "completed": complete,
    "failed": lambda run: fail(run, BROKEN, retry_in=5),
    "released": lambda run: release(run, why="stopping"),
    "snoozed": lambda run: snooze(run, 5),
    "reclaimed": reclaim,
}


class Events(Contract):
    """See Store.events, Store.outcome_of and Store.delete_events."""

    def test_a_life_in_events(self) -> None:
        job_id = self.add(max_attempts=3)
        worker = self.worker()
        run = self.start(job_id, worker=worker)
        self.commit(write_progress(run, REPORT))
        self.commit(fail(run, BROKEN, retry_in=0))
        run = self.start(job_id, worker=worker)
        self.commit(release(run, why="stopping"))
        run = self.start(job_id, worker=worker)
        self.commit(reclaim(run))
        self.commit(complete(self.start(job_id, worker=worker)))
        told = [(e.event_type.value, e.claim_seq, e.attempt) for e in self.store.events(job_id)]
        assert told == [
            ("added", 0, 0),
            ("processing", 1, 1),
            ("failed", 1, 1),
            ("processing", 3, 2),
            ("released", 3, 2),
            ("processing", 5, 2),
            ("reclaimed", 5, 2),
            ("processing", 7, 3),
            ("completed", 7, 3),
        ]
        assert replay(self.store.events(job_id)) == (JobStatus.COMPLETED, 3)

    def test_events_come_page_by_page(self) -> None:
        job_id, other = self.add(), self.add()
        for _ in range(4):
            self.commit(release(self.start(job_id), why="x"), release(self.start(other), why="x"))
        everything = self.store.events(job_id)
        assert len(everything) == 9
        assert {event.job_id for event in everything} == {job_id}
        assert self.store.events(job_id, limit=4) == everything[:4]
        assert self.store.events(job_id, limit=4, after=everything[3].id) == everything[4:8]
        assert self.store.events(job_id, after=everything[-1].id) == []

    def test_a_job_that_never_was_has_no_events(self) -> None:
        assert self.store.events(10**9) == []

    @pytest.mark.parametrize("word", ENDS)
    def test_the_outcome_of_an_execution(self, word: str) -> None:
        run = self.running()
        assert self.store.outcome_of(run.job_id, run.claim_seq) is None
        end: Change = ENDS[word](run)
        self.commit(end)
        self.commit(release(self.start(run.job_id, at=self.later(9)), why="x") if word != "completed" else end)
        outcome = self.store.outcome_of(run.job_id, run.claim_seq)
        assert outcome is not None
        assert outcome.event_type.value == word
        assert outcome.event_type in ENDINGS

    def test_no_outcome_of_what_never_ran(self) -> None:
        job_id = self.add()
        for claim_seq in (0, 1, 3):
            assert self.store.outcome_of(job_id, claim_seq) is None

    # -- deleting them

    def test_only_events_of_jobs_that_have_ended_are_deleted(self) -> None:
        ended = self.running()
        self.commit(complete(ended))
        final = self.running()
        self.commit(fail(final, BROKEN, retry_in=None))
        going_on = [self.add(run_at=self.later(60)), self.running().job_id, self.retrying()]
        before = [self.trace(job_id) for job_id in going_on]
        assert self.store.delete_events(before=self.later(1)) == 6
        assert self.store.events(ended.job_id) == self.store.events(final.job_id) == []
        assert [self.trace(job_id) for job_id in going_on] == before
        assert self.job(ended.job_id).status is JobStatus.COMPLETED

    def test_only_old_events_are_deleted(self) -> None:
        run = self.running()
        self.commit(complete(run), at=self.later(10))
        assert self.store.delete_events(before=self.now) == 0
        assert self.store.delete_events(before=self.later(10)) == 2
        assert self.words(run.job_id) == ["completed"]
        assert self.store.delete_events(before=self.later(10) + timedelta(microseconds=1)) == 1

    def test_events_are_deleted_in_lots(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(5)])
        for job_id in ids:
            self.commit(complete(self.start(job_id)))
        lots = [self.store.delete_events(before=self.later(1), limit=6) for _ in range(4)]
        assert lots == [6, 6, 3, 0]

    def retrying(self) -> int:
        """Return a job that has failed and will be tried again."""
        run = self.running()
        self.commit(fail(run, BROKEN, retry_in=5))
        return run.job_id
