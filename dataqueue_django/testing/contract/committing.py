"""Committing: guards, alternatives, follow-ups, spawned jobs, values relative to the record, all or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ...domain.changes import Add, After, Append, Change, Committed, FieldOf, Verb, Verdict
from ...domain.liveness import expire
from ...domain.records import EventType, JobStatus, Kind, NewJob
from ...domain.transitions import Execution, complete, fail, release
from .base import Contract
from .finishing import BROKEN, LOST


def edit(job_id: int, **fields: Any) -> Change:
    """Return an unguarded change of fields, with its event."""
    return Change(verb=Verb.OTHER, id=job_id, set=fields, event=EventType.EDITED)


def guarded(job_id: int, guard: dict[str, tuple[Any, ...]], **fields: Any) -> Change:
    """Return the same under a guard."""
    return replace(edit(job_id, **fields), guard=guard)


class Committing(Contract):
    """See Store.commit and domain.changes."""

    def test_nothing_to_commit(self) -> None:
        assert self.store.commit([], now=self.now) == []

    def test_an_unguarded_change(self) -> None:
        job_id = self.add()
        before = self.job(job_id)
        assert self.commit(edit(job_id, priority=5, pending_reason="because")) == [
            Committed(verdict=Verdict.APPLIED, choice=0)
        ]
        assert self.job(job_id) == replace(before, priority=5, pending_reason="because")

    def test_a_change_that_sets_nothing_only_writes_its_event(self) -> None:
        job_id = self.add()
        before = self.job(job_id)
        self.commit(edit(job_id))
        assert self.job(job_id) == before
        assert self.words(job_id) == ["added", "edited"]

    def test_the_event_says_who_and_what(self) -> None:
        job_id = self.add()
        change = replace(edit(job_id, priority=1), actor="user 7: Ann", metadata={"old": {"priority": 0}})
        self.commit(change, at=self.later(4))
        event = self.store.events(job_id)[-1]
        assert (event.event_type, event.actor) == (EventType.EDITED, "user 7: Ann")
        assert event.metadata == {"old": {"priority": 0}}
        assert (event.created_at, event.claim_seq, event.attempt) == (self.later(4), 0, 0)

    # -- guards

    @pytest.mark.parametrize(
        ("guard", "holds"),
        [
            ({"status": (JobStatus.PENDING,)}, True),
            ({"status": (JobStatus.PROCESSING, JobStatus.PENDING)}, True),
            ({"status": (JobStatus.PROCESSING,)}, False),
            ({"status": (JobStatus.PENDING,), "claim_seq": (0,)}, True),
            ({"status": (JobStatus.PENDING,), "claim_seq": (1,)}, False),
            ({"paused_at": (None,)}, True),
            ({"worker_id": (1, None)}, True),
            ({"group_id": ("g",), "priority": (2, 3)}, True),
            ({"group_id": ("G",)}, False),
            ({"queue": ()}, False),
        ],
    )
    def test_guards(self, guard: dict[str, Any], holds: bool) -> None:
        job_id = self.add(group_id="g", priority=3)
        before = self.trace(job_id)
        [answer] = self.commit(guarded(job_id, guard, priority=9))
        assert answer.applied == holds
        assert (self.trace(job_id) == before) != holds
        assert self.job(job_id).priority == (9 if holds else 3)

    def test_a_change_of_a_job_that_is_not_there_is_lost(self) -> None:
        assert self.commit(edit(10**9, priority=1)) == [LOST]

    def test_an_item_that_is_lost_does_not_touch_the_others(self) -> None:
        first, second, third = (self.add() for _ in range(3))
        before = self.trace(second)
        answers = self.commit(
            edit(third, priority=3), guarded(second, {"claim_seq": (7,)}, priority=2), edit(first, priority=1)
        )
        assert [answer.verdict for answer in answers] == [Verdict.APPLIED, Verdict.LOST, Verdict.APPLIED]
        assert [job.priority for job in self.store.get([first, second, third])] == [1, 0, 3]
        assert self.trace(second) == before

    def test_later_items_see_what_earlier_ones_did(self) -> None:
        job_id = self.add()
        answers = self.commit(
            guarded(job_id, {"priority": (0,)}, priority=1),
            guarded(job_id, {"priority": (0,)}, priority=2),
            guarded(job_id, {"priority": (1,)}, priority=3, position=FieldOf("priority")),
        )
        assert [answer.applied for answer in answers] == [True, False, True]
        assert (self.job(job_id).priority, self.job(job_id).position) == (3, 1)
        assert self.words(job_id) == ["added", "edited", "edited"]

    def test_many_items(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(300)])
        answers = self.commit(*(edit(id, priority=n % 7) for n, id in enumerate(ids)))
        assert all(answer.applied for answer in answers)
        assert [job.priority for job in self.store.get(ids)] == [n % 7 for n in range(300)]

    # -- alternatives

    def test_the_first_alternative_that_holds_is_applied(self) -> None:
        run = self.running()
        cancelled = replace(complete(run), guard={"cancel_requested_at": (self.now,)}, event=EventType.CANCELLED)
        progress = guarded(run.job_id, {"status": (JobStatus.PROCESSING,)}, progress=10)
        [answer] = self.store.commit([(cancelled, progress, complete(run))], now=self.now)
        assert answer == Committed(verdict=Verdict.APPLIED, choice=1)
        assert (self.job(run.job_id).status, self.job(run.job_id).progress) == (JobStatus.PROCESSING, 10)

    def test_the_last_alternative_is_the_outcome_whatever_else_changed(self) -> None:
        run = self.running()
        waits = guarded(run.job_id, {"claim_seq": (run.claim_seq,), "paused_at": (None,)}, progress=10)
        self.set_fields(run.job_id, paused_at=self.now)
        [answer] = self.store.commit([(waits, complete(run))], now=self.now)
        assert answer == Committed(verdict=Verdict.APPLIED, choice=1)
        assert self.job(run.job_id).status is JobStatus.COMPLETED

    def test_no_alternative_holds(self) -> None:
        run = self.running()
        self.commit(release(run, why="stopping"))
        before = self.trace(run.job_id)
        alternatives = (complete(run, output=1), fail(run, BROKEN, retry_in=1), complete(run))
        assert self.store.commit([alternatives], now=self.now) == [LOST]
        assert self.trace(run.job_id) == before

    def test_alternatives_may_be_about_different_jobs(self) -> None:
        gone, job_id = self.running(), self.add()
        self.commit(complete(gone))
        [answer] = self.store.commit([(complete(gone), edit(job_id, priority=1))], now=self.now)
        assert answer.choice == 1
        assert self.job(job_id).priority == 1

    # -- follow-ups and spawned jobs

    def test_follow_ups_come_after_the_change(self) -> None:
        job_id, other, third = (self.add() for _ in range(3))
        lost = guarded(other, {"claim_seq": (5,)}, priority=5)
        change = replace(edit(job_id, priority=1), then=(lost, edit(third, priority=3)))
        before = self.trace(other)
        assert self.commit(change) == [Committed(verdict=Verdict.APPLIED, choice=0)]
        assert [job.priority for job in self.store.get([job_id, other, third])] == [1, 0, 3]
        assert self.trace(other) == before

    def test_no_follow_up_without_the_change(self) -> None:
        job_id, other = self.add(), self.add()
        before = self.trace(other)
        change = replace(guarded(job_id, {"claim_seq": (5,)}), then=(edit(other, priority=2),))
        assert self.commit(change) == [LOST]
        assert self.trace(other) == before

    def test_a_change_may_be_followed_by_one_of_a_worker(self) -> None:
        job_id, worker = self.add(), self.worker()
        self.commit(replace(edit(job_id, priority=1), then=(expire(worker.id),)))
        assert self.job(job_id).priority == 1
        stored = self.store.fetch(Kind.WORKER, worker.id)
        assert stored is not None
        assert stored.expired_at == self.now

    def test_a_spawned_job_is_linked(self) -> None:
        run = self.running(max_attempts=1)
        dead = NewJob(job_type="bury", payload={"of": run.job_id}, tags=("dead",))
        change = replace(fail(run, BROKEN, retry_in=None), spawn=dead, link="dead_letter_job_id")
        [answer] = self.commit(change, at=self.later(2))
        assert answer.spawned is not None
        assert self.job(run.job_id).dead_letter_job_id == answer.spawned
        born = self.job(answer.spawned)
        assert (born.job_type, born.payload, born.tags) == ("bury", {"of": run.job_id}, ("dead",))
        assert born.created_at == born.run_at == born.ready_at == self.later(2)
        assert self.words(born.id) == ["added"]
        assert [job.id for job in self.claim(at=self.later(2))] == [born.id]

    def test_nothing_is_spawned_by_what_is_lost(self) -> None:
        run = self.running()
        self.commit(complete(run))
        change = replace(complete(run), spawn=NewJob(job_type="next"), link="dead_letter_job_id")
        assert self.commit(change) == [LOST]
        assert self.store.count() == {(): 1}

    def test_a_spawned_job_whose_key_is_taken(self) -> None:
        standing, job_id = self.add(idempotency_key="k"), self.add()
        change = replace(edit(job_id), spawn=NewJob(job_type="t", idempotency_key="k"), link="dead_letter_job_id")
        assert self.commit(change)[0].spawned == standing
        assert self.job(job_id).dead_letter_job_id == standing
        assert self.store.count() == {(): 2}

    def test_several_items_spawn(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(3)])
        answers = self.commit(*(replace(edit(id), spawn=NewJob(job_type="child")) for id in ids))
        assert len({answer.spawned for answer in answers} - {None, *ids}) == 3

    # -- values relative to the record and to the clock

    def test_relative_values(self) -> None:
        job_id = self.add(priority=3, max_attempts=4)
        self.commit(
            edit(
                job_id,
                priority=Add(-5),
                max_attempts=Add(2),
                position=FieldOf("priority"),
                wait_until=After(1.5),
                scheduled_for=FieldOf("run_at"),
            ),
            at=self.later(10),
        )
        job = self.job(job_id)
        assert (job.priority, job.max_attempts, job.position) == (-2, 6, 3)
        assert (job.wait_until, job.scheduled_for) == (self.later(11.5), self.now)

    def test_a_relative_value_may_be_guarded_by_its_own_field(self) -> None:
        job_id = self.add(priority=3)
        counted = guarded(job_id, {"priority": (3,)}, priority=Add(1))
        assert [answer.applied for answer in self.commit(counted, counted)] == [True, False]
        assert self.job(job_id).priority == 4

    def test_appending_keeps_the_last(self) -> None:
        job_id = self.add()
        for n in range(4):
            self.commit(edit(job_id, error_history=Append({"n": n}, keep=3)), at=self.later(n))
        assert self.job(job_id).error_history == tuple(
            {"n": n, "timestamp": self.later(n).isoformat()} for n in (1, 2, 3)
        )

    def test_appending_several_times_in_one_call(self) -> None:
        job_id = self.add()
        self.commit(*(edit(job_id, error_history=Append({"n": n}, keep=9)) for n in range(3)))
        assert [entry["n"] for entry in self.job(job_id).error_history] == [0, 1, 2]

    def test_ready_at_decides_when_a_job_can_be_claimed(self) -> None:
        job_id = self.add()
        self.commit(edit(job_id, ready_at=After(60)))
        assert self.claim(at=self.later(59)) == []
        self.commit(edit(job_id, ready_at=None))
        assert self.claim(at=self.later(10**6)) == []
        self.commit(edit(job_id, ready_at=After(0)), at=self.later(5))
        assert [job.id for job in self.claim(at=self.later(5))] == [job_id]

    def test_a_commit_without_a_time_goes_by_the_clock_of_the_store(self) -> None:
        job_id = self.store.insert([NewJob(job_type="t")])[0].id
        self.store.commit([(edit(job_id, wait_until=After(3600)),)])
        hour = self.job(job_id).wait_until
        assert hour is not None
        assert abs(hour - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)

    # -- all or nothing

    def test_a_call_that_raises_leaves_nothing(self) -> None:
        run, job_id = self.running(), self.add()
        before = self.trace(run.job_id), self.trace(job_id), self.store.count()
        broken = Change(verb=Verb.OTHER, id=job_id, set={"no_such_field": 1})
        spawning = replace(complete(run), spawn=NewJob(job_type="next", idempotency_key="k"))
        with pytest.raises(Exception, match="no_such_field"):
            self.commit(spawning, expire(self.worker("other").id), broken)
        assert (self.trace(run.job_id), self.trace(job_id), self.store.count()) == before
        assert all(worker.expired_at is None for worker in self.store.find(Kind.WORKER))
        assert not self.store.insert([NewJob(job_type="t", idempotency_key="k")], now=self.now)[0].existed

    def test_the_store_goes_on_after_a_call_that_raised(self) -> None:
        run = self.running()
        with pytest.raises(Exception, match="no_such_field"):
            self.commit(Change(verb=Verb.OTHER, id=run.job_id, set={"no_such_field": 1}))
        assert self.commit(complete(run))[0].applied

    def test_waiting_or_not_makes_no_difference_when_nobody_else_is_there(self) -> None:
        run = self.running()
        stale = Execution(run.job_id, run.claim_seq + 2, 1, 3)
        answers = self.store.commit([(complete(stale),), (complete(run),)], now=self.now, wait=False)
        assert [answer.verdict for answer in answers] == [Verdict.LOST, Verdict.APPLIED]
