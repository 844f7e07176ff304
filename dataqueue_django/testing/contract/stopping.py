"""Requests to cancel: rows beside running jobs, what they decide, and when they go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ...domain.changes import After, Alternatives, Change, Committed, Verdict
from ...domain.records import CancelRequest, EventType, JobStatus, Kind, Step, Token, TokenStatus
from ...domain.steering import ask_to_stop, cancel, catch_up, retry
from ...domain.transitions import (
    Execution,
    complete,
    fail,
    or_cancelled,
    park,
    reclaim,
    release,
    snooze,
    stopped,
    take_away,
)
from ...domain.waits import Wait, WaitKind
from .base import Contract
from .finishing import BROKEN, REPORT

WAITED_FOR = "wp_of_a_stopped_job"
WHO, WHY = "ann", "wrong file"

GOES_ON: dict[str, Callable[[Execution], Alternatives]] = {
    "fail": lambda run: (fail(run, BROKEN, retry_in=5, progress=REPORT),),
    "snooze": lambda run: (snooze(run, 5),),
    "release": lambda run: (release(run, why="stopping"),),
    "reclaim": lambda run: (reclaim(run),),
    "take away": lambda run: (take_away(run, held_for=60),),
    "wait for a time": lambda run: park(run, Wait(kind=WaitKind.FOR, place=0, until=After(5))),
    "wait for a token": lambda run: park(run, Wait(kind=WaitKind.TOKEN, place=0, token_id=WAITED_FOR)),
}
"""The ways in which an execution ends after which its job would run again."""

ENDS: dict[str, tuple[Callable[[Execution], Change], JobStatus]] = {
    "complete": (complete, JobStatus.COMPLETED),
    "fail for good": (lambda run: fail(run, BROKEN, retry_in=None), JobStatus.FAILED),
    "reclaim for good": (lambda run: reclaim(run, crash_limit=1), JobStatus.FAILED),
}
"""The ways in which it ends for good, and the status that stays."""


class Stopping(Contract):
    """`ask_to_stop`, and who wins."""

    # -- asking

    def test_a_request_stands_beside_a_job_that_goes_on(self) -> None:
        run = self.running()
        before = self.job(run.job_id)
        assert self.ask(run).applied
        assert self.job(run.job_id) == before
        assert self.request(run.job_id) == CancelRequest(
            id=run.job_id, claim_seq=run.claim_seq, created_at=self.now, actor=WHO, reason=WHY
        )
        event = self.store.events(run.job_id)[-1]
        assert (event.event_type, event.claim_seq, event.attempt) == (EventType.CANCEL_REQUESTED, run.claim_seq, 1)
        assert (event.actor, event.metadata) == (WHO, {"reason": WHY})

    def test_the_last_to_ask_is_heard(self) -> None:
        run = self.running()
        self.ask(run)
        assert self.ask(run, actor="bob", reason="", at=self.later(1)).applied
        assert self.request(run.job_id) == CancelRequest(
            id=run.job_id, claim_seq=run.claim_seq, created_at=self.later(1), actor="bob"
        )
        assert self.words(run.job_id) == ["added", "processing", "cancel_requested", "cancel_requested"]

    def test_an_execution_that_is_over_cannot_be_asked(self) -> None:
        run = self.running()
        self.commit(release(run, why="stopping"))
        again = self.start(run.job_id)
        before = self.trace(run.job_id)
        for late in (run, replace(again, claim_seq=again.claim_seq + 1)):
            assert self.ask(late).verdict is Verdict.LOST
        assert self.trace(run.job_id) == before
        assert self.request(run.job_id) is None

    def test_a_job_that_is_gone_cannot_be_asked(self) -> None:
        run = self.running()
        self.ask(run)
        self.store.delete([run.job_id], force=True)
        assert self.request(run.job_id) is None
        assert self.ask(run).verdict is Verdict.LOST

    def test_a_request_goes_with_what_has_ended(self) -> None:
        run = self.running()
        self.ask(run)
        self.commit(complete(run))
        assert self.store.delete_ended(JobStatus.COMPLETED, before=self.later(1)) == 1
        assert self.store.find(Kind.CANCEL) == []

    # -- who wins

    @pytest.mark.parametrize("way", GOES_ON)
    def test_a_job_with_a_request_does_not_run_again(self, way: str) -> None:
        self.store.put(Token(id=WAITED_FOR), now=self.now)
        run = self.running()
        self.ask(run)
        answer = self.end(or_cancelled(GOES_ON[way](run)))
        assert answer == Committed(verdict=Verdict.APPLIED, choice=0)
        self.is_cancelled(run)

    @pytest.mark.parametrize("way", GOES_ON)
    def test_without_a_request_it_does(self, way: str) -> None:
        self.store.put(Token(id=WAITED_FOR, status=TokenStatus.COMPLETED), now=self.now)
        run, other = self.running(), self.running()
        self.ask(other)
        answer = self.end(or_cancelled(GOES_ON[way](run)))
        assert answer.choice in (1, 2)
        assert not self.job(run.job_id).is_terminal
        assert self.words(run.job_id) != ["added", "processing"]

    @pytest.mark.parametrize("way", ENDS)
    def test_what_ends_for_good_stays_so(self, way: str) -> None:
        end, status = ENDS[way]
        run = self.running()
        self.ask(run)
        assert or_cancelled((end(run),)) == (end(run),)
        assert self.end((end(run),)).applied
        assert self.job(run.job_id).status is status

    def test_what_the_execution_left_behind_is_kept(self) -> None:
        self.store.put(Token(id=WAITED_FOR), now=self.now)
        failed, waiting = self.running(), self.running()
        for run in (failed, waiting):
            self.ask(run)
        self.end(or_cancelled(GOES_ON["fail"](failed)))
        self.end(or_cancelled(GOES_ON["wait for a token"](waiting)))
        job = self.job(failed.job_id)
        assert (job.progress, job.progress_message) == (REPORT["progress"], REPORT["progress_message"])
        assert [entry["type"] for entry in job.error_history] == [BROKEN.type]
        assert job.last_failed_at == self.now
        steps: list[Step] = self.store.steps(waiting.job_id)
        assert len(steps) == 1

    def test_a_handler_that_stopped_has_its_job_cancelled(self) -> None:
        run = self.running()
        self.ask(run)
        assert self.end(stopped(run, progress={"progress": 7})).choice == 0
        self.is_cancelled(run)
        assert self.job(run.job_id).progress == 7

    def test_it_is_cancelled_also_when_the_request_is_gone(self) -> None:
        run = self.running()
        assert self.end(stopped(run)).choice == 1
        assert self.job(run.job_id).status is JobStatus.CANCELLED

    def test_one_that_lost_its_job_cancels_nothing(self) -> None:
        run = self.running()
        self.commit(release(run, why="stopping"))
        again = self.start(run.job_id)
        self.ask(again)
        before = self.trace(run.job_id)
        for item in (stopped(run), or_cancelled((release(run, why="stopping"),))):
            assert self.end(item).verdict is Verdict.LOST
        assert self.trace(run.job_id) == before
        assert self.request(run.job_id) is not None

    def test_in_one_commit_each_item_sees_what_earlier_ones_did(self) -> None:
        run, other = self.running(), self.running()
        self.ask(other)
        answers = self.store.commit(
            [
                ask_to_stop(run.job_id, run.claim_seq, actor=WHO, reason=WHY),
                or_cancelled((release(run, why="stopping"),)),
                or_cancelled((release(other, why="stopping"),)),
                retry(other.job_id),
            ],
            now=self.now,
        )
        assert [answer.choice for answer in answers] == [0, 0, 0, 0]
        self.is_cancelled(run)
        assert self.job(other.job_id).status is JobStatus.PENDING
        assert self.store.find(Kind.CANCEL) == []

    @pytest.mark.parametrize("ask", [cancel, retry])
    def test_a_request_goes_when_the_job_is_cancelled_or_retried(self, ask: Callable[[int], Alternatives]) -> None:
        run = self.running()
        self.ask(run)
        self.commit(fail(run, BROKEN, retry_in=5))
        assert self.end(ask(run.job_id)).applied
        assert self.request(run.job_id) is None

    # -- reading

    def test_the_requests_for_some_jobs(self) -> None:
        runs = [self.running() for _ in range(3)]
        for run in runs[1:]:
            self.ask(run)
        ids = [run.job_id for run in runs]
        assert [one.id for one in self.store.cancel_requests(ids[::-1])] == ids[1:]
        assert self.store.cancel_requests(ids[:1]) == []
        assert self.store.cancel_requests([]) == []
        assert [one.id for one in self.store.find(Kind.CANCEL)] == ids[1:]

    def test_a_request_is_stray_once_its_execution_is_over(self) -> None:
        runs = [self.running() for _ in range(4)]
        for run in runs:
            self.ask(run)
        assert self.store.stray_requests() == []
        self.commit(complete(runs[1]), release(runs[2], why="stopping"))
        self.commit(release(runs[3], why="stopping"))
        self.start(runs[3].job_id)
        ids = [run.job_id for run in runs]
        assert [one.id for one in self.store.stray_requests()] == ids[1:]
        assert [one.id for one in self.store.stray_requests(limit=1)] == ids[1:2]
        assert [one.id for one in self.store.stray_requests(jobs=[ids[0], ids[2]])] == [ids[2]]

    # -- catching up

    @pytest.mark.parametrize("way", [way for way in GOES_ON if way != "fail"])
    def test_a_job_that_left_its_worker_meanwhile_is_cancelled(self, way: str) -> None:
        self.store.put(Token(id=WAITED_FOR), now=self.now)
        run = self.running()
        self.ask(run)
        assert self.end(GOES_ON[way](run)).applied
        assert self.catch_up(run).applied
        self.is_cancelled(run)
        assert self.store.stray_requests() == []

    def test_a_job_that_failed_and_would_be_retried_is_cancelled(self) -> None:
        run = self.running()
        self.ask(run)
        self.commit(fail(run, BROKEN, retry_in=5))
        assert self.catch_up(run).choice == 1
        self.is_cancelled(run)

    def test_one_that_runs_again_is_asked_anew(self) -> None:
        run = self.running()
        self.ask(run)
        self.commit(release(run, why="stopping"))
        again = self.start(run.job_id)
        assert self.catch_up(run).applied
        request = self.request(run.job_id)
        assert request is not None
        assert (request.claim_seq, request.actor, request.reason) == (again.claim_seq, WHO, WHY)
        assert request.created_at == self.now
        assert self.store.stray_requests() == []

    @pytest.mark.parametrize("way", ENDS)
    def test_after_one_that_has_ended_the_request_goes(self, way: str) -> None:
        end, _ = ENDS[way]
        run = self.running()
        self.ask(run)
        self.commit(end(run))
        before = self.trace(run.job_id)
        assert self.catch_up(run).applied
        assert self.trace(run.job_id) == before
        assert self.request(run.job_id) is None

    def test_a_newer_request_is_left_alone(self) -> None:
        run = self.running()
        self.ask(run)
        stale = self.request(run.job_id)
        assert stale is not None
        self.commit(fail(run, BROKEN, retry_in=None))
        late = catch_up(stale, self.job(run.job_id))
        self.end(retry(run.job_id))
        again = self.start(run.job_id)
        self.ask(again)
        assert self.end(late).verdict is Verdict.LOST
        assert self.request(run.job_id) is not None

    def test_a_request_that_was_met_meanwhile_cancels_nothing(self) -> None:
        run = self.running()
        self.ask(run)
        stale = self.request(run.job_id)
        assert stale is not None
        self.commit(release(run, why="stopping"))
        late = catch_up(stale, self.job(run.job_id))
        self.end(cancel(run.job_id))
        self.end(retry(run.job_id))
        before = self.trace(run.job_id)
        assert self.end(late).verdict is Verdict.LOST
        assert self.trace(run.job_id) == before

    # -- words

    def ask(self, run: Execution, *, actor: str = WHO, reason: str = WHY, at: Any = None) -> Committed:
        """Ask that an execution stops."""
        item = ask_to_stop(run.job_id, run.claim_seq, actor=actor, reason=reason)
        return self.store.commit([item], now=at or self.now)[0]

    def request(self, job_id: int) -> CancelRequest | None:
        """Return the request that stands for a job."""
        found: CancelRequest | None = self.store.fetch(Kind.CANCEL, job_id)
        return found

    def end(self, item: Alternatives) -> Committed:
        """Commit one item as workers do."""
        return self.store.exchange([item], None, now=self.now)[0][0]

    def catch_up(self, run: Execution) -> Committed:
        """See to the stray request of a job."""
        [request] = self.store.stray_requests(jobs=[run.job_id])
        return self.end(catch_up(request, next(iter(self.store.get([run.job_id])), None)))

    def is_cancelled(self, run: Execution) -> None:
        """Assert that a job was cancelled in the name of who asked, and that the request is gone."""
        job, event = self.job(run.job_id), self.store.events(run.job_id)[-1]
        assert (job.status, job.ready_at, job.finished_at) == (JobStatus.CANCELLED, None, self.now)
        assert (job.last_cancelled_at, job.wait_until, job.wait_token_id) == (self.now, None, None)
        assert (event.event_type, event.actor) == (EventType.CANCELLED, WHO)
        assert event.metadata["reason"] == WHY
        assert self.request(run.job_id) is None
        assert self.claim(ids=(run.job_id,), crashed=None, at=self.later(600)) == []
