"""Pauses: of everything, of a queue, of a job type, of a type within a queue, and of one job."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ...domain.controls import scope_id
from ...domain.lifecycle import State, state_of
from ...domain.pausing import pause, resume
from ...domain.records import FOREVER, JobStatus, Kind, Pause, Token
from ...domain.steering import cancel, edit, retry
from ...domain.tokens import wake
from ...domain.transitions import complete, fail, park
from ...domain.waits import Wait, WaitKind
from .base import Contract, ids_of
from .finishing import BROKEN
from .lifecycle import waiting_for_time


class Pausing(Contract):
    """See Store.claim, Store.controls and domain.pausing."""

    # -- of many jobs, without touching one

    @pytest.mark.parametrize(
        ("queue", "job_type", "kept"),
        [("", "", ()), ("q", "", (2, 3)), ("", "t", (1, 3)), ("q", "t", (1, 2, 3)), ("Q", "", (0, 1, 2, 3))],
    )
    def test_jobs_of_a_paused_scope_are_not_handed_out(self, queue: str, job_type: str, kept: tuple[int, ...]) -> None:
        jobs = [self.add(kind, queue=name) for name in ("q", "p") for kind in ("t", "u")]
        self.pause(queue, job_type)
        assert ids_of(self.claim()) == [jobs[n] for n in kept]
        assert self.store.remove(Kind.PAUSE, [scope_id(queue, job_type)]) == 1
        assert ids_of(self.claim()) == [jobs[n] for n in range(4) if n not in kept]

    def test_the_jobs_that_run_go_on(self) -> None:
        run = self.running()
        self.pause()
        [done] = self.commit(complete(run))
        assert done.applied

    def test_a_pause_ends_at_its_time(self) -> None:
        job_id = self.add()
        self.pause("default", until=self.later(5))
        assert self.claim(at=self.later(4.999)) == []
        assert self.store.next_ready_in(self.asking(), now=self.later(2)) == pytest.approx(3)
        assert ids_of(self.claim(at=self.later(5))) == [job_id]

    def test_a_new_pause_takes_the_place_of_the_one_before(self) -> None:
        self.add()
        self.pause("default", reason="one", until=self.later(1))
        self.pause("default", reason="two", actor="ann")
        [found] = self.store.find(Kind.PAUSE)
        assert (found.reason, found.actor, found.until, found.created_at) == ("two", "ann", None, self.now)
        assert self.claim(at=self.later(9)) == []

    def test_what_is_named_is_not_handed_out_either(self) -> None:
        paused, free = self.add("t"), self.add("u")
        self.pause(job_type="t")
        assert ids_of(self.claim(ids=(paused, free))) == [free]

    def test_a_group_s_jobs_are_paused_with_their_queue(self) -> None:
        self.add(group_id="a")
        other = self.add(queue="other", group_id="a")
        self.pause("default")
        assert ids_of(self.claim()) == [other]

    def test_a_paused_queue_looks_empty_to_one_that_only_asks(self) -> None:
        self.add()
        assert self.store.would_find(self.asking(), now=self.now) or self.claim()  # staged by the claim at the latest
        self.add()
        self.claim(0)
        self.pause()
        assert not self.store.would_find(self.asking(), now=self.now)

    def test_names_with_a_slash_are_other_scopes(self) -> None:
        first, second = self.add("c", queue="a/b"), self.add("b/c", queue="a")
        self.pause("a/b", "c")
        assert ids_of(self.claim()) == [second]
        self.store.remove(Kind.PAUSE, [scope_id("a", "b/c")])
        assert self.claim() == []
        self.store.remove(Kind.PAUSE, [scope_id("a/b", "c")])
        assert ids_of(self.claim()) == [first]

    # -- of one job

    def test_a_paused_job_is_not_handed_out_until_it_is_resumed(self) -> None:
        job_id = self.add()
        self.steer(pause(job_id, actor="ann", reason="why"))
        job = self.job(job_id)
        assert (job.paused_by, job.pause_reason, job.ready_at) == ("ann", "why", None)
        assert state_of(job, self.now) is State.PAUSED
        assert self.claim(at=self.later(9)) == []
        self.steer(resume(job_id, actor="bob"))
        assert (self.job(job_id).paused_at, self.job(job_id).ready_at) == (None, self.now)
        assert ids_of(self.claim()) == [job_id]
        assert self.words(job_id) == ["added", "paused", "unpaused", "processing"]
        assert [event.actor for event in self.store.events(job_id)] == ["", "ann", "bob", ""]

    def test_a_pause_of_a_job_ends_at_its_time_by_itself(self) -> None:
        job_id = self.add()
        self.steer(pause(job_id, until=self.later(5)))
        assert self.claim(at=self.later(4)) == []
        assert state_of(self.job(job_id), self.later(4)) is State.PAUSED
        assert state_of(self.job(job_id), self.later(5)) is State.READY
        assert ids_of(self.claim(at=self.later(5))) == [job_id]
        assert (self.job(job_id).paused_at, self.job(job_id).paused_until) == (None, None)

    def test_a_job_that_is_due_later_than_its_pause_ends_is_delayed_then(self) -> None:
        job_id = self.add(run_at=self.later(9))
        self.steer(pause(job_id, until=self.later(5)))
        assert state_of(self.job(job_id), self.later(6)) is State.DELAYED
        assert self.claim(at=self.later(8)) == []
        assert ids_of(self.claim(at=self.later(9))) == [job_id]

    def test_a_resumed_job_keeps_the_time_it_had(self) -> None:
        job_id = self.add(run_at=self.later(9))
        self.steer(pause(job_id))
        self.steer(resume(job_id))
        assert self.claim(at=self.later(8)) == []
        assert ids_of(self.claim(at=self.later(9))) == [job_id]

    def test_pausing_twice_keeps_the_first_pause_unless_it_has_ended(self) -> None:
        job_id = self.add()
        self.steer(pause(job_id, actor="ann", until=self.later(5)))
        [answer] = self.store.commit([pause(job_id, actor="bob")], now=self.later(4))
        assert not answer.applied
        self.steer(pause(job_id, actor="bob"), at=self.later(5))
        assert self.job(job_id).paused_by == "bob"
        assert self.claim(at=self.later(9)) == []

    def test_a_job_that_waits_for_a_time_can_be_paused(self) -> None:
        run = self.running()
        self.steer(waiting_for_time(run, 3))
        self.steer(pause(run.job_id))
        assert self.job(run.job_id).status is JobStatus.WAITING
        assert self.claim(at=self.later(9)) == []
        self.steer(resume(run.job_id))
        assert self.claim(at=self.later(2)) == []
        assert ids_of(self.claim(at=self.later(3))) == [run.job_id]

    @pytest.mark.parametrize("until", [None, 5.0])
    def test_a_job_that_waits_for_a_token_stays_paused_when_that_is_closed(self, until: float | None) -> None:
        run = self.waiting_for_token("wp_a")
        self.steer(pause(run, until=None if until is None else self.later(until)))
        self.steer(wake(run, "wp_a"), at=self.later(1))
        assert state_of(self.job(run), self.later(1)) is State.PAUSED
        assert self.claim(at=self.later(4)) == []
        if until is None:
            self.steer(resume(run))
        assert ids_of(self.claim(at=self.later(5))) == [run]
        assert self.job(run).attempts == 1

    def test_a_pause_that_ends_does_not_wake_a_job_whose_token_is_open(self) -> None:
        run = self.waiting_for_token("wp_a")
        self.steer(pause(run, until=self.later(5)))
        assert self.claim(at=self.later(9)) == []
        self.steer(wake(run, "wp_a"), at=self.later(9))
        assert ids_of(self.claim(at=self.later(9))) == [run]

    @pytest.mark.parametrize("until", [None, 5.0])
    def test_a_job_that_will_be_retried_can_be_paused(self, until: float | None) -> None:
        run = self.running()
        self.commit(fail(run, BROKEN, retry_in=1))
        self.steer(pause(run.job_id, until=None if until is None else self.later(until)))
        job = self.job(run.job_id)
        assert (job.will_retry, job.is_terminal) == (True, False)
        assert job.ready_at == (FOREVER if until is None else self.later(until))
        assert job.next_attempt_at == (None if until is None else self.later(until))
        assert self.claim(at=self.later(4)) == []
        if until is None:
            self.steer(resume(run.job_id))
        assert ids_of(self.claim(at=self.later(5))) == [run.job_id]

    def test_what_runs_or_has_ended_cannot_be_paused(self) -> None:
        run, ended = self.running(), self.running()
        self.commit(fail(ended, BROKEN, retry_in=None))
        for job_id in (run.job_id, ended.job_id, 999_999):
            assert not self.store.commit([pause(job_id)], now=self.now)[0].applied
            assert not self.store.commit([resume(job_id)], now=self.now)[0].applied

    @pytest.mark.parametrize("until", [None, 5.0])
    def test_a_paused_job_can_be_edited_and_stays_paused(self, until: float | None) -> None:
        job_id = self.add()
        self.steer(pause(job_id, until=None if until is None else self.later(until)))
        self.steer(edit(job_id, {"run_at": self.later(7), "priority": 3}))
        assert state_of(self.job(job_id), self.later(4)) is State.PAUSED
        assert self.claim(at=self.later(6)) == []
        if until is None:
            assert self.claim(at=self.later(8)) == []
            self.steer(resume(job_id))
            assert self.claim(at=self.later(6)) == []
        assert ids_of(self.claim(at=self.later(7))) == [job_id]

    def test_a_paused_job_can_be_cancelled_and_is_not_paused_once_it_is_retried(self) -> None:
        job_id = self.add()
        self.steer(pause(job_id, reason="why"))
        self.steer(cancel(job_id))
        self.steer(retry(job_id))
        job = self.job(job_id)
        assert (job.paused_at, job.paused_by, job.pause_reason) == (None, None, None)
        assert ids_of(self.claim()) == [job_id]

    # -- words for the usual steps

    def pause(self, queue: str = "", job_type: str = "", **options: Any) -> None:
        """Pause a scope."""
        given = Pause(id=scope_id(queue, job_type), queue=queue, job_type=job_type, **options)
        self.store.put(given, now=self.now)

    def steer(self, item: Any, *, at: datetime | None = None) -> None:
        """Commit what must apply."""
        [answer] = self.store.commit([item], now=at or self.now)
        assert answer.applied

    def waiting_for_token(self, id: str) -> int:
        """Return the id of a job that waits for a token."""
        self.store.put(Token(id=id, timeout_at=self.now + timedelta(days=1)), now=self.now)
        run = self.running()
        self.steer(park(run, Wait(kind=WaitKind.TOKEN, place=0, token_id=id)))
        return run.job_id
