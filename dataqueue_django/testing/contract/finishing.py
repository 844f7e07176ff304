"""Finishing: what each transition leaves behind, and that an execution that lost its job leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ...domain.changes import Change, Committed, Verdict
from ...domain.records import FailureReason, Job, JobStatus
from ...domain.transitions import (
    CRASH_LIMIT,
    KEPT_ERRORS,
    Execution,
    Fault,
    complete,
    fail,
    reclaim,
    release,
    snooze,
    write_progress,
)
from .base import Contract

BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="it's broken", traceback="line 1")
REPORT: dict[str, Any] = {"progress": 40, "progress_message": "two fifths", "progress_data": {"done": [1, 2]}}

WRITES: dict[str, Callable[[Execution], Change]] = {
    "complete": complete,
    "complete with output": lambda run: complete(run, output={"a": 1}, progress=REPORT),
    "fail": lambda run: fail(run, BROKEN, retry_in=30),
    "fail for good": lambda run: fail(run, BROKEN, retry_in=None),
    "release": lambda run: release(run, why="stopping"),
    "snooze": lambda run: snooze(run, 30),
    "reclaim": reclaim,
    "write progress": lambda run: write_progress(run, REPORT),
}
"""Everything an execution, or the reclaim of it, can write."""

LOST = Committed(verdict=Verdict.LOST)


class Finishing(Contract):
    """See domain.transitions for what each transition means."""

    def test_complete(self) -> None:
        run = self.running()
        self.settle(complete(run, output={"rows": 3}))
        job = self.left(run, JobStatus.COMPLETED)
        assert (job.output, job.ready_at) == ({"rows": 3}, None)
        assert (job.finished_at, job.completed_at, job.is_terminal) == (self.later(9), self.later(9), True)
        self.ended_by(run, "completed", None)

    def test_complete_without_output_keeps_what_stood_there(self) -> None:
        run = self.running()
        self.set_fields(run.job_id, output=[1])
        self.settle(complete(run))
        assert self.job(run.job_id).output == [1]

    def test_complete_with_none_as_output(self) -> None:
        run = self.running()
        self.set_fields(run.job_id, output=[1])
        self.settle(complete(run, output=None))
        assert self.job(run.job_id).output is None

    def test_complete_after_a_failure(self) -> None:
        run = self.running()
        self.commit(fail(run, BROKEN, retry_in=0))
        self.settle(complete(self.start(run.job_id)))
        job = self.job(run.job_id)
        assert (job.failure_reason, len(job.error_history)) == (None, 1)

    def test_complete_with_the_last_report(self) -> None:
        run = self.running()
        self.settle(complete(run, progress=REPORT))
        assert self.report(run) == REPORT

    @pytest.mark.parametrize("name", REPORT)
    def test_complete_with_a_part_of_a_report(self, name: str) -> None:
        run = self.running()
        self.commit(write_progress(run, {"progress": 1, "progress_message": "m", "progress_data": [0]}))
        self.settle(complete(run, progress={name: REPORT[name]}))
        others = {"progress": 1, "progress_message": "m", "progress_data": [0]}
        assert self.report(run) == {**others, name: REPORT[name]}

    def test_fail_with_another_attempt(self) -> None:
        run = self.running()
        self.settle(fail(run, BROKEN, retry_in=30.5, progress=REPORT))
        job = self.left(run, JobStatus.FAILED)
        assert (job.ready_at, job.next_attempt_at, job.will_retry) == (
            self.later(39.5),
            self.later(39.5),
            True,
        )
        assert (job.failure_reason, job.last_failed_at) == ("handler_error", self.later(9))
        assert (job.finished_at, job.is_terminal) == (None, False)
        assert job.error_history == (
            {
                "attempt": 1,
                "reason": "handler_error",
                "type": "ValueError",
                "message": "it's broken",
                "traceback": "line 1",
                "timestamp": self.later(9).isoformat(),
            },
        )
        assert self.report(run) == REPORT
        self.ended_by(
            run,
            "failed",
            {
                "willRetry": True,
                "failureReason": "handler_error",
                "error": "ValueError: it's broken",
                "retryInMs": 30500,
            },
        )

    def test_fail_for_good(self) -> None:
        run = self.running()
        self.settle(fail(run, BROKEN, retry_in=None))
        job = self.left(run, JobStatus.FAILED)
        assert (job.ready_at, job.will_retry, job.is_terminal) == (None, False, True)
        assert job.finished_at == job.last_failed_at == self.later(9)
        self.ended_by(
            run,
            "failed",
            {"willRetry": False, "failureReason": "handler_error", "error": "ValueError: it's broken"},
        )

    def test_fail_on_the_last_attempt(self) -> None:
        run = self.running(max_attempts=1)
        self.settle(fail(run, BROKEN, retry_in=30))
        assert self.left(run, JobStatus.FAILED).is_terminal

    def test_the_error_history_is_bounded(self) -> None:
        run = self.running(max_attempts=1000)
        for _ in range(KEPT_ERRORS + 3):
            self.commit(fail(run, BROKEN, retry_in=0))
            run = self.start(run.job_id)
        attempts = [entry["attempt"] for entry in self.job(run.job_id).error_history]
        assert attempts == list(range(4, KEPT_ERRORS + 4))

    def test_release(self) -> None:
        run = self.running()
        self.settle(release(run, why="stopping"))
        job = self.left(run, JobStatus.PENDING)
        assert (job.ready_at, job.resuming, job.attempts) == (self.later(9), True, 1)
        assert (job.error_history, job.crash_count, job.finished_at) == ((), 0, None)
        self.ended_by(run, "released", {"reason": "stopping"})

    def test_snooze(self) -> None:
        run = self.running()
        self.settle(snooze(run, 12.25, progress=REPORT))
        job = self.left(run, JobStatus.PENDING)
        assert (job.ready_at, job.resuming, job.attempts) == (self.later(21.25), True, 1)
        assert self.report(run) == REPORT
        self.ended_by(run, "snoozed", {"delayMs": 12250})
        assert self.claim(at=self.later(21)) == []

    def test_the_first_reclaim_gives_the_job_back_at_once(self) -> None:
        run = self.running()
        self.settle(reclaim(run, backoff=60))
        job = self.left(run, JobStatus.PENDING)
        assert (job.ready_at, job.resuming, job.crash_count) == (self.later(9), False, 1)
        assert (job.failure_reason, job.last_failed_at) == ("worker_lost", self.later(9))
        [entry] = job.error_history
        assert (entry["attempt"], entry["reason"], entry["type"]) == (1, "worker_lost", "WorkerLost")
        self.ended_by(run, "reclaimed", {"crashes": 1})

    def test_later_reclaims_wait(self) -> None:
        run = self.running(max_attempts=9)
        self.commit(reclaim(run))
        again = self.start(run.job_id)
        assert (again.attempts, again.crash_count) == (2, 1)
        self.settle(reclaim(again, backoff=60))
        job = self.left(again, JobStatus.PENDING)
        assert (job.ready_at, job.crash_count) == (self.later(69), 2)

    def test_reclaim_of_the_last_attempt_is_final(self) -> None:
        run = self.running(max_attempts=1)
        self.settle(reclaim(run))
        job = self.left(run, JobStatus.FAILED)
        assert (job.is_terminal, job.crash_count, job.ready_at) == (True, 1, None)
        assert job.finished_at == self.later(9)
        self.ended_by(run, "failed", {"willRetry": False, "failureReason": "worker_lost", "crashes": 1})

    def test_a_job_that_takes_too_many_workers_down_fails(self) -> None:
        job_id = self.add(max_attempts=100)
        for _ in range(CRASH_LIMIT):
            self.settle(reclaim(self.start(job_id, at=self.later(10))))
        job = self.job(job_id)
        assert (job.status, job.is_terminal, job.crash_count) == (JobStatus.FAILED, True, CRASH_LIMIT)

    def test_progress(self) -> None:
        run = self.running()
        before, events = self.trace(run.job_id)
        self.settle(write_progress(run, REPORT))
        assert before is not None
        assert self.job(run.job_id) == replace(before, **REPORT)
        assert self.store.events(run.job_id) == events
        self.settle(write_progress(run, {"progress_data": None, "progress": 0}))
        assert self.report(run) == {"progress": 0, "progress_message": "two fifths", "progress_data": None}

    # -- the fence

    def test_an_execution_that_was_given_away_writes_nothing(self) -> None:
        old = self.running()
        self.commit(reclaim(old))
        self.start(old.job_id)
        self.refused(old)

    def test_nor_does_one_whose_worker_claims_the_job_again(self) -> None:
        worker = self.worker()
        old = self.start(self.add(), worker=worker)
        self.commit(release(old, why="stopping"))  # the same attempt, the same worker: only claim_seq differs
        new = self.start(old.job_id, worker=worker)
        assert new.attempts == old.attempts
        self.refused(old)

    @pytest.mark.parametrize("end", [name for name in WRITES if name != "write progress"])
    def test_nor_one_that_has_ended(self, end: str) -> None:
        run = self.running()
        self.settle(WRITES[end](run))
        self.refused(run)

    def test_nor_one_that_never_was(self) -> None:
        self.refused(Execution(self.add(), 1, 1, 3))

    def test_nor_one_whose_job_is_gone(self) -> None:
        run = self.running()
        self.store.delete([run.job_id], force=True)
        self.refused(run)

    def test_an_execution_ends_once_in_one_call(self) -> None:
        run = self.running()
        done, lost = self.commit(release(run, why="stopping"), complete(run))
        assert (done.applied, lost) == (True, LOST)
        assert self.job(run.job_id).status is JobStatus.PENDING

    # -- helpers

    def settle(self, change: Change) -> None:
        """Commit, nine seconds from now, a change that must take."""
        assert self.commit(change, at=self.later(9)) == [Committed(verdict=Verdict.APPLIED, choice=0)]

    def left(self, run: Execution, status: JobStatus) -> Job:
        """Return the job after it left processing for `status`."""
        job = self.job(run.job_id)
        assert (job.status, job.claim_seq) == (status, run.claim_seq + 1)
        assert (job.worker_id, job.locked_by, job.locked_at) == (None, None, None)
        assert job.updated_at == self.later(9)
        return job

    def ended_by(self, run: Execution, word: str, metadata: Any) -> None:
        """Assert which event closed the execution."""
        event = self.store.events(run.job_id)[-1]
        assert event == self.store.outcome_of(run.job_id, run.claim_seq)
        assert (event.event_type.value, event.metadata) == (word, metadata)
        assert (event.claim_seq, event.attempt) == (run.claim_seq, run.attempts)
        assert (event.created_at, event.worker_id, event.actor) == (self.later(9), None, "")

    def report(self, run: Execution) -> dict[str, Any]:
        """Return what the job says of its progress."""
        job = self.job(run.job_id)
        return {name: getattr(job, name) for name in REPORT}

    def refused(self, run: Execution) -> None:
        """Assert that all an execution writes is lost and leaves no trace, in a commit and in an exchange."""
        before = self.trace(run.job_id)
        for name, write in WRITES.items():
            assert self.commit(write(run), at=self.later(99)) == [LOST], name
            assert self.store.exchange([(write(run),)], None, now=self.later(99)) == ([LOST], []), name
            assert self.trace(run.job_id) == before, name
