"""Schedules and their ticks: what a step of one does, all together or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ...domain.changes import Change, Verb
from ...domain.records import CronSchedule, CronTick, JobStatus, Kind, NewJob, Overlap, TickOutcome
from ...domain.schedules import fire, pause, resume, run_now, timing_of
from ...domain.scheduling import advance
from ...domain.transitions import complete
from ...exceptions import NameTaken
from .base import Contract


class Scheduling(Contract):
    """See Store.due_schedules, next_schedule_in, ticks and delete_ticks, and domain.schedules."""

    # -- schedules

    def test_a_schedule_comes_back_as_it_was_put(self) -> None:
        put = self.schedule(
            "nightly",
            payload={"a": [1, None]},
            options={"priority": 3, "tags": ["x"]},
            overlap=Overlap.REPLACE,
            jitter_ms=5,
            end_at=self.later(9000),
        )
        assert self.store.fetch(Kind.SCHEDULE, put.id) == put
        assert self.store.find(Kind.SCHEDULE, schedule_name="nightly") == [put]
        assert self.store.find(Kind.SCHEDULE, schedule_name="other") == []
        assert put.created_at == put.updated_at == self.now

    def test_a_name_is_taken_once(self) -> None:
        first = self.schedule("nightly")
        with pytest.raises(NameTaken, match="A schedule named 'nightly' exists already"):
            self.schedule("nightly", job_type="other")
        second = self.schedule("Nightly")
        assert self.store.find(Kind.SCHEDULE) == [first, second]

    def test_those_that_are_due_come_the_longest_due_first(self) -> None:
        late, later, _ahead, _paused = (
            self.schedule(name, next_run_at=at)
            for name, at in {"b": self.later(-5), "a": self.now, "c": self.later(1), "d": None}.items()
        )
        assert self.store.due_schedules(now=self.now) == [late, later]
        assert self.store.due_schedules(now=self.now, limit=1) == [late]
        assert self.store.due_schedules(now=self.later(-6)) == []

    def test_it_says_when_the_next_one_is_due(self) -> None:
        assert self.store.next_schedule_in(now=self.now) is None
        self.schedule("never", next_run_at=None)
        assert self.store.next_schedule_in(now=self.now) is None
        self.schedule("later", next_run_at=self.later(90))
        self.schedule("soon", next_run_at=self.later(30))
        assert self.store.next_schedule_in(now=self.now) == 30
        assert self.store.next_schedule_in(now=self.later(31)) == 0

    def test_one_that_is_removed_takes_its_ticks_and_leaves_its_jobs(self) -> None:
        gone, kept = self.schedule("gone"), self.schedule("kept")
        job_id = self.fired(gone)
        self.fired(kept)
        assert self.store.remove(Kind.SCHEDULE, [gone.id]) == 1
        assert self.store.fetch(Kind.SCHEDULE, gone.id) is None
        assert self.store.ticks(gone.id) == []
        assert len(self.store.ticks(kept.id)) == 1
        assert self.job(job_id).cron_schedule_id == gone.id

    # -- steps

    def test_a_step_adds_the_job_and_the_tick_and_moves_on(self) -> None:
        schedule = self.schedule("hourly", next_run_at=self.now)
        job_id = self.fired(schedule)
        job, after = self.job(job_id), self.fresh(schedule)
        assert (job.cron_schedule_id, job.scheduled_for, job.run_at) == (schedule.id, self.now, self.now)
        assert (job.job_type, job.payload, job.status) == ("report", {"n": 1}, JobStatus.PENDING)
        assert self.words(job_id) == ["added"]
        assert after == replace(
            schedule,
            next_run_at=after.next_run_at,
            runs=1,
            last_tick_at=self.now,
            last_enqueued_at=self.now,
            last_job_id=job_id,
            updated_at=self.now,
        )
        assert after.next_run_at is not None
        assert after.next_run_at > self.now
        [tick] = self.store.ticks(schedule.id)
        assert tick == CronTick(
            id=tick.id,
            schedule_id=schedule.id,
            tick_at=self.now,
            outcome=TickOutcome.ENQUEUED,
            job_id=job_id,
            created_at=self.now,
        )

    def test_whoever_comes_second_does_nothing(self) -> None:
        schedule = self.schedule("hourly", created_at=self.later(-1), updated_at=self.later(-1))
        item = self.step(schedule)
        first, second = self.store.commit([item, item], now=self.now)
        third = self.store.commit([item], now=self.now)[0]
        assert [one.applied for one in (first, second, third)] == [True, False, False]
        assert (second.spawned, third.spawned) == (None, None)
        assert len(self.store.ticks(schedule.id)) == 1
        assert self.store.count() == {(): 1}

    def test_a_step_of_a_schedule_that_was_paused_meanwhile_does_nothing(self) -> None:
        schedule = self.schedule("hourly", created_at=self.later(-1), updated_at=self.later(-1))
        self.commit_item(pause(schedule.id, actor="ann", reason="quiet week"))
        assert not self.store.commit([self.step(schedule)], now=self.now)[0].applied
        after = self.fresh(schedule)
        assert (after.next_run_at, after.paused_by, after.pause_reason) == (None, "ann", "quiet week")
        assert after.paused_at == self.now
        assert self.store.due_schedules(now=self.later(9000)) == []
        assert not self.commit_item(pause(schedule.id))
        assert self.commit_item(resume(after, now=self.now))
        again = self.fresh(schedule)
        assert (again.paused_at, again.paused_by, again.pause_reason) == (None, "", "")
        assert again.next_run_at is not None
        assert again.next_run_at > self.now
        assert not self.commit_item(resume(again, now=self.now))

    @pytest.mark.parametrize("ended", [False, True])
    def test_a_tick_is_skipped_until_the_last_job_has_ended(self, ended: bool) -> None:
        schedule = self.schedule("hourly")
        first = self.fired(schedule)
        if ended:
            self.commit(complete(self.start(first)))
        due = self.due_again(schedule)
        self.commit_item(self.step(due), at=self.later(1))
        after = self.fresh(schedule)
        newest, oldest = self.store.ticks(schedule.id)
        assert oldest.outcome is TickOutcome.ENQUEUED
        assert after.last_tick_at == newest.tick_at == due.next_run_at
        if ended:
            assert (newest.outcome, newest.job_id, after.runs) == (TickOutcome.ENQUEUED, after.last_job_id, 2)
        else:
            assert (newest.outcome, newest.job_id, after.runs) == (TickOutcome.SKIPPED, first, 1)
            assert after.last_enqueued_at == self.now
        assert self.store.count() == {(): 1 + ended}

    def test_a_job_is_replaced_by_the_next_one(self) -> None:
        schedule = self.schedule("hourly", overlap=Overlap.REPLACE)
        first = self.fired(schedule)
        second = self.fired(self.due_again(schedule), previous=self.job(first))
        assert self.job(first).status is JobStatus.CANCELLED
        assert self.store.events(first)[-1].metadata == {"reason": "replaced by the next job of schedule hourly"}
        run = self.start(second, at=self.later(2))
        self.fired(self.due_again(schedule, 2), previous=self.job(second))
        assert self.job(second).status is JobStatus.PROCESSING
        [request] = self.store.cancel_requests([second])
        assert (request.claim_seq, request.actor) == (run.claim_seq, "dataqueue")

    def test_a_job_that_has_moved_on_is_not_replaced_unseen(self) -> None:
        schedule = self.schedule("hourly", overlap=Overlap.REPLACE)
        first = self.fired(schedule)
        seen, due = self.job(first), self.due_again(schedule)
        self.start(first)
        assert not self.store.commit([self.step(due, previous=seen)], now=self.now)[0].applied
        assert len(self.store.ticks(schedule.id)) == 1

    def test_a_run_by_hand_is_no_tick_of_the_timetable(self) -> None:
        schedule = self.schedule("hourly", max_runs=1)
        job = NewJob(job_type="report", cron_schedule_id=schedule.id)
        item = run_now(schedule, job, actor="ann")
        [answer] = self.store.commit([item], now=self.now)
        after = self.fresh(schedule)
        assert (after.runs, after.next_run_at, after.last_job_id) == (0, schedule.next_run_at, answer.spawned)
        [tick] = self.store.ticks(schedule.id)
        assert (tick.outcome, tick.actor, tick.tick_at) == (TickOutcome.BY_HAND, "ann", self.now)
        overlapping = self.store.commit([run_now(after, job)], now=self.now)[0]
        assert (overlapping.applied, overlapping.spawned) == (True, None)
        assert len(self.store.ticks(schedule.id)) == 1

    def test_what_cannot_be_done_whole_is_not_done_at_all(self) -> None:
        schedule = self.schedule("hourly")
        self.fired(schedule)
        clash = CronTick(schedule_id=schedule.id, tick_at=self.now, outcome=TickOutcome.ENQUEUED)
        due = self.due_again(schedule)
        moved = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=schedule.id, set={"runs": 7}, put=(clash,))
        spawning = replace(moved, spawn=NewJob(job_type="report"))
        with pytest.raises(Exception, match=r"(?i)unique|tick"):
            self.store.commit([(spawning,)], now=self.now)
        assert self.fresh(schedule) == due
        assert self.store.count() == {(): 1}

    # -- ticks

    def test_ticks_are_read_and_deleted_in_pages(self) -> None:
        schedule, other = self.schedule("hourly", overlap=Overlap.ALLOW), self.schedule("other")
        for seconds in range(4):
            self.fired(self.due_again(schedule, seconds), at=self.later(seconds))
        self.fired(other, at=self.later(1))
        newest, second, third, oldest = self.store.ticks(schedule.id)
        assert newest.tick_at > second.tick_at > third.tick_at > oldest.tick_at
        assert self.store.ticks(schedule.id, limit=2) == [newest, second]
        assert self.store.ticks(schedule.id, limit=2, before=second.id) == [third, oldest]
        assert self.store.delete_ticks(before=self.later(2), limit=2) == 2
        assert self.store.delete_ticks(before=self.later(2), limit=2) == 1
        assert self.store.delete_ticks(before=self.later(2)) == 0
        assert self.store.ticks(schedule.id) == [newest, second]

    # -- helpers

    def schedule(self, name: str, **fields: Any) -> CronSchedule:
        """Put a schedule that is due now, every hour from here on."""
        known: dict[str, Any] = {"every_ms": 3_600_000, "next_run_at": self.now, "payload": {"n": 1}}
        made = CronSchedule(**{"schedule_name": name, "job_type": "report", **known, **fields})
        return self.store.put(made, now=self.now)

    def fresh(self, schedule: CronSchedule) -> CronSchedule:
        """Return a schedule as it is now."""
        found: CronSchedule = self.store.fetch(Kind.SCHEDULE, schedule.id)
        return found

    def step(self, schedule: CronSchedule, *, at: datetime | None = None, **options: Any) -> Any:
        """The step that a schedule takes as it was seen."""
        assert schedule.next_run_at is not None
        taken = advance(timing_of(schedule), schedule.next_run_at, at or self.later(1))
        tick = schedule.next_run_at
        job = NewJob(
            job_type=schedule.job_type,
            payload=schedule.payload,
            cron_schedule_id=schedule.id,
            scheduled_for=tick,
            run_at=tick,
        )
        return fire(schedule, replace(taken, tick=tick), job, **options)

    def fired(self, schedule: CronSchedule, *, at: datetime | None = None, **options: Any) -> int:
        """Take a step of a schedule and return the id of the job that it added."""
        [answer] = self.store.commit([self.step(schedule, at=at, **options)], now=at or self.now)
        assert answer.spawned is not None
        return answer.spawned

    def due_again(self, schedule: CronSchedule, seconds: float = 1) -> CronSchedule:
        """Make a schedule due a little after its last tick, and return it."""
        change = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=schedule.id, set={"next_run_at": self.later(seconds)})
        assert self.commit(change)[0].applied
        return self.fresh(schedule)

    def commit_item(self, item: Any, at: datetime | None = None) -> bool:
        """Commit alternatives and return whether one was applied."""
        return self.store.commit([item], now=at or self.now)[0].applied
