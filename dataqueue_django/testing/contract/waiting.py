"""Handlers that wait: histories, logs, tokens, and how a wait and its end meet."""

from __future__ import annotations

from dataclasses import replace as replaced
from datetime import datetime
from typing import Any

import pytest

from ...domain.changes import SPAWNED, After, Alternatives, Committed, Verdict
from ...domain.filters import JobFilter
from ...domain.records import EventType, JobLog, JobStatus, Kind, NewJob, Step, StepKind, Token, TokenStatus
from ...domain.steering import cancel, retry
from ...domain.steps import recorded
from ...domain.tokens import all_awake, complete, expire, wake
from ...domain.transitions import Execution, park, reclaim, record, release
from ...domain.transitions import complete as completed
from ...domain.waits import Wait, WaitKind
from ...stores.base import MOST_LOGS
from .base import Contract, ids_of


class Waiting(Contract):
    """See Change.needs, Change.put, Store.steps, Store.logs, Store.due_tokens and domain.tokens."""

    # -- steps

    def test_a_step_is_recorded_by_the_execution_that_owns_the_job(self) -> None:
        run = self.running()
        assert self.one(record(run, step(run, "charge", {"paid": [1, None]}))).applied
        [found] = self.store.steps(run.job_id)
        assert found == Step(
            job_id=run.job_id,
            kind=StepKind.STEP,
            name="charge",
            result={"paid": [1, None]},
            created_at=self.now,
            claim_seq=run.claim_seq,
            attempt=1,
        )
        assert self.words(run.job_id) == ["added", "processing"]

    def test_a_step_of_a_lost_execution_is_not_recorded(self) -> None:
        old = self.running()
        self.commit(release(old, why="stopping"))
        new = self.start(old.job_id)
        for run in (old, Execution(new.job_id, new.claim_seq + 2, 1, 3)):
            answer = self.one(record(run, step(run, "charge", 1), token("wp_x"), line(run, "hello")))
            assert answer.verdict is Verdict.LOST
        assert self.store.steps(old.job_id) == []
        assert self.store.logs(old.job_id) == []
        assert self.store.find(Kind.TOKEN) == []

    def test_a_step_takes_the_place_of_one_of_the_same_kind_and_name(self) -> None:
        run = self.running()
        for kind in StepKind:
            self.one(record(run, recorded(run, kind, "0", "first")))
        self.one(record(run, recorded(run, StepKind.STEP, "1", None), recorded(run, StepKind.WAIT, "0", "second")))
        assert [(s.kind, s.name, s.result) for s in self.store.steps(run.job_id)] == [
            (StepKind.STEP, "0", "first"),
            (StepKind.WAIT, "0", "second"),
            (StepKind.TOKEN, "0", "first"),
            (StepKind.SPAWN, "0", "first"),
            (StepKind.STEP, "1", None),
        ]

    def test_names_of_steps_are_compared_byte_by_byte(self) -> None:
        run = self.running()
        names = ["a", "A", "a ", "á", "ß", "ss"]
        for name in names:
            self.one(record(run, step(run, name, name)))
        assert [s.name for s in self.store.steps(run.job_id)] == names

    def test_steps_survive_what_happens_to_the_job_but_its_deletion(self) -> None:
        run = self.running()
        other = self.running()
        self.one(record(run, step(run, "charge", 1), line(run, "charged")))
        self.one(record(other, step(other, "charge", 2), line(other, "charged")))
        self.commit(release(run, why="stopping"))
        again = self.start(run.job_id)
        self.commit(completed(again))
        assert len(self.store.steps(run.job_id)) == len(self.store.logs(run.job_id)) == 1
        self.store.delete([run.job_id])
        assert self.store.steps(run.job_id) == [] == self.store.logs(run.job_id)
        assert len(self.store.steps(other.job_id)) == len(self.store.logs(other.job_id)) == 1

    def test_a_step_can_be_the_id_of_the_job_that_it_spawned(self) -> None:
        run = self.running()
        change = record(
            run, step(run, "child", {"jobId": SPAWNED, "n": 1}), spawn=NewJob(job_type="child", payload=[1])
        )
        answer = self.one(change)
        assert answer.spawned is not None
        assert [s.result for s in self.store.steps(run.job_id)] == [{"jobId": answer.spawned, "n": 1}]
        assert self.job(answer.spawned).job_type == "child"
        late = Execution(run.job_id, run.claim_seq + 2, 1, 3)
        assert (
            self.one(record(late, step(late, "x", {"jobId": SPAWNED}), spawn=NewJob(job_type="child"))).spawned is None
        )
        assert self.store.count(JobFilter(job_types=("child",)))[()] == 1

    def test_an_outcome_can_bring_steps_and_lines_along(self) -> None:
        runs = [self.running() for _ in range(3)]
        items = [(replaced(completed(run), put=(line(run, "bye"), step(run, "last", 1))),) for run in runs]
        results, _ = self.store.exchange(items, None, now=self.now)
        assert all(result.applied for result in results)
        for run in runs:
            assert [entry.message for entry in self.store.logs(run.job_id)] == ["bye"]
            assert [s.name for s in self.store.steps(run.job_id)] == ["last"]

    # -- logs

    def test_lines_are_kept_in_order_and_read_in_pages(self) -> None:
        run = self.running()
        self.one(record(run, *(line(run, f"line {n}", at=self.later(-n)) for n in range(5))))
        lines = self.store.logs(run.job_id)
        assert [entry.message for entry in lines] == [f"line {n}" for n in range(5)]
        assert [entry.created_at for entry in lines] == [self.later(-n) for n in range(5)]
        assert (lines[0].level, lines[0].logger, lines[0].claim_seq, lines[0].attempt) == ("INFO", "shop", 1, 1)
        assert self.store.logs(run.job_id, limit=2) == lines[:2]
        assert self.store.logs(run.job_id, after=lines[1].id, limit=2) == lines[2:4]

    def test_of_several_executions_the_last_lines_are_kept(self) -> None:
        first = self.running()
        self.one(record(first, *(line(first, f"a{n}") for n in range(MOST_LOGS))))
        self.commit(release(first, why="stopping"))
        second = self.start(first.job_id)
        self.one(record(second, *(line(second, f"b{n}") for n in range(3))))
        kept = [entry.message for entry in self.store.logs(first.job_id, limit=2 * MOST_LOGS)]
        assert kept == [f"a{n}" for n in range(3, MOST_LOGS)] + ["b0", "b1", "b2"]

    # -- tokens

    def test_a_token_comes_back_as_it_was_put(self) -> None:
        given = Token(id="wp_a", job_id=7, timeout_at=After(60), due_at=After(60), tags=("t", "T"), answer_schema={})
        stored = self.store.put(given, now=self.now)
        assert stored == replaced(given, timeout_at=self.later(60), due_at=self.later(60), created_at=self.now)
        assert self.store.fetch(Kind.TOKEN, "wp_a") == stored
        assert self.store.fetch(Kind.TOKEN, "WP_A") is None
        assert self.store.find(Kind.TOKEN, job_id=7) == [stored]
        assert self.store.find(Kind.TOKEN, job_id=8) == []
        assert self.store.remove(Kind.TOKEN, ["wp_a", "wp_b"]) == 1
        assert self.store.find(Kind.TOKEN) == []

    def test_the_first_completion_wins(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        assert self.close(complete("wp_a", {"yes": True}, actor="jo")).choice == 0
        assert self.close(complete("wp_a", {"yes": False})).verdict is Verdict.LOST
        assert self.close(expire("wp_a")).verdict is Verdict.LOST
        assert self.close(complete("wp_none", 1)).verdict is Verdict.LOST
        found = self.store.fetch(Kind.TOKEN, "wp_a")
        assert (found.status, found.output, found.completed_by) == (TokenStatus.COMPLETED, {"yes": True}, "jo")
        assert found.completed_at == found.due_at == self.now
        self.close(all_awake("wp_a"))
        assert self.store.fetch(Kind.TOKEN, "wp_a").due_at is None

    def test_a_token_whose_time_is_up_cannot_be_completed(self) -> None:
        for seconds, choice in ((60, 1), (60.000001, 0)):
            id = f"wp_{seconds}"
            self.store.put(Token(id=id, timeout_at=After(seconds), due_at=After(seconds)), now=self.now)
            assert self.close(complete(id, 1), at=self.later(60)).choice == choice
            status = TokenStatus.TIMED_OUT if choice else TokenStatus.COMPLETED
            assert self.store.fetch(Kind.TOKEN, id).status is status

    def test_tokens_come_due_in_order(self) -> None:
        for id, seconds in (("wp_c", 1), ("wp_b", 2), ("wp_a", 2), ("wp_never", None), ("wp_later", 3)):
            due = None if seconds is None else After(seconds)
            self.store.put(Token(id=id, timeout_at=due, due_at=due), now=self.now)
        assert self.store.due_tokens(now=self.later(0.9)) == []
        due_now = self.store.due_tokens(now=self.later(2))
        assert [t.id for t in due_now] == ["wp_c", "wp_a", "wp_b"]
        assert self.store.due_tokens(now=self.later(2), limit=2) == due_now[:2]
        self.close(expire("wp_c"), at=self.later(2))
        assert [t.status for t in self.store.due_tokens(now=self.later(2))][-1] is TokenStatus.TIMED_OUT
        self.close(all_awake("wp_c"), at=self.later(2))
        assert [t.id for t in self.store.due_tokens(now=self.later(2))] == ["wp_a", "wp_b"]

    def test_the_tokens_of_a_deleted_job_time_out(self) -> None:
        job_id = self.add()
        for n, id in enumerate(("wp_open", "wp_closed", "wp_awake")):
            self.store.put(replaced(token(id), job_id=job_id), now=self.now)
            if n:
                self.close(complete(id, 1))
        self.close(all_awake("wp_awake"))
        self.store.put(token("wp_of_nobody"), now=self.now)
        self.store.delete([job_id])
        left = {t.id: t.status for t in self.store.find(Kind.TOKEN)}
        assert left == {
            "wp_open": TokenStatus.TIMED_OUT,
            "wp_closed": TokenStatus.COMPLETED,
            "wp_of_nobody": TokenStatus.WAITING,
        }
        assert self.store.fetch(Kind.TOKEN, "wp_open").due_at is not None

    # -- waiting

    def test_a_wait_for_a_time(self) -> None:
        run = self.running(max_attempts=1)
        assert self.one_of(park(run, for_time(60), progress={"progress": 5})).applied
        job = self.job(run.job_id)
        assert (job.status, job.ready_at, job.wait_until) == (JobStatus.WAITING, self.later(60), self.later(60))
        assert (job.worker_id, job.attempts, job.resuming, job.progress) == (None, 1, True, 5)
        [wait] = self.store.steps(run.job_id)
        assert (wait.kind, wait.name, wait.result, wait.until) == (
            StepKind.WAIT,
            "0",
            {"wait": "wait_for"},
            self.later(60),
        )
        event = self.store.events(run.job_id)[-1]
        assert (event.event_type, event.metadata) == (EventType.WAITING, {"waitForMs": 60_000})
        assert self.claim(at=self.later(59.999999)) == []
        [again] = self.claim(at=self.later(60))
        assert (again.attempts, again.claim_seq, again.locked_at) == (1, run.claim_seq + 2, self.later(60))
        assert self.job(run.job_id).wait_until is None

    def test_a_wait_until_a_time_that_has_come(self) -> None:
        run = self.running()
        assert self.one_of(park(run, Wait(kind=WaitKind.UNTIL, place=3, until=self.later(-1)))).applied
        assert self.store.steps(run.job_id)[0].until == self.later(-1)
        assert ids_of(self.claim()) == [run.job_id]

    def test_a_wait_for_an_open_token(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        run = self.running(max_attempts=1)
        assert self.one_of(park(run, for_token("wp_a"))).choice == 0
        job = self.job(run.job_id)
        assert (job.status, job.ready_at, job.wait_token_id) == (JobStatus.WAITING, None, "wp_a")
        assert self.claim(at=self.later(10**6)) == []
        assert ids_of(self.store.query(JobFilter(wait_token_ids=("wp_a",)))) == [run.job_id]
        assert self.store.query(JobFilter(wait_token_ids=("wp_b",))) == []
        self.close(complete("wp_a", 1))
        assert self.one_of(wake(run.job_id, "wp_a")).applied
        assert self.one_of(wake(run.job_id, "wp_a")).verdict is Verdict.LOST
        [again] = self.claim()
        assert again.attempts == 1
        assert self.words(run.job_id)[-3:] == ["waiting", "resumed", "processing"]

    @pytest.mark.parametrize("before", ["completed", "timed out", "gone"])
    def test_a_token_closed_while_the_handler_unwound_makes_the_job_ready_at_once(self, before: str) -> None:
        if before != "gone":
            self.store.put(token("wp_a"), now=self.now)
            self.close(complete("wp_a", 1) if before == "completed" else expire("wp_a"))
        run = self.running(max_attempts=1)
        assert self.one_of(park(run, for_token("wp_a"))).choice == 1
        job = self.job(run.job_id)
        assert (job.status, job.ready_at, job.wait_token_id) == (JobStatus.PENDING, self.now, None)
        assert self.claim()[0].attempts == 1
        assert len(self.store.steps(run.job_id)) == 1

    def test_a_lost_execution_cannot_wait(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        run = self.running()
        self.commit(completed(run))
        for wait in (for_time(60), for_token("wp_a"), for_token("wp_none")):
            assert self.one_of(park(run, wait)).verdict is Verdict.LOST
        assert self.store.steps(run.job_id) == []

    def test_a_job_that_was_paused_while_it_waited_wakes_paused(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        run = self.running()
        self.one_of(park(run, for_token("wp_a")))
        self.set_fields(run.job_id, paused_at=self.now)
        assert self.one_of(wake(run.job_id, "wp_a")).applied
        job = self.job(run.job_id)
        assert (job.status, job.ready_at) == (JobStatus.PENDING, None)

    def test_a_job_that_comes_to_a_wait_has_no_crashes_any_more(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        for wait in (for_time(60), for_token("wp_a"), for_token("wp_none")):
            run = self.running()
            self.commit(reclaim(run))
            assert self.job(run.job_id).crash_count == 1
            assert self.one_of(park(self.start(run.job_id), wait)).applied
            assert self.job(run.job_id).crash_count == 0

    def test_a_waiting_job_that_is_cancelled_and_retried_keeps_its_history(self) -> None:
        self.store.put(token("wp_a"), now=self.now)
        run = self.running(max_attempts=1)
        self.one_of(park(run, for_token("wp_a")))
        assert self.one_of(cancel(run.job_id)).applied
        assert self.one_of(wake(run.job_id, "wp_a")).verdict is Verdict.LOST
        assert self.one_of(retry(run.job_id)).applied
        assert self.claim()[0].attempts == 2
        assert [s.name for s in self.store.steps(run.job_id)] == ["0"]

    # -- words

    def one(self, change: Any) -> Committed:
        """Commit one change."""
        return self.commit(change)[0]

    def one_of(self, item: Alternatives) -> Committed:
        """Commit one item."""
        return self.store.commit([item], now=self.now)[0]

    def close(self, item: Alternatives, at: datetime | None = None) -> Committed:
        """Commit what becomes of a token."""
        return self.store.commit([item], now=at or self.now)[0]


def step(run: Execution, name: str, result: Any) -> Step:
    """Return the record of a step."""
    return recorded(run, StepKind.STEP, name, result)


def line(run: Execution, message: str, at: datetime | None = None) -> JobLog:
    """Return a line of a job's log."""
    return JobLog(
        job_id=run.job_id,
        created_at=at or Contract.now,
        level="INFO",
        logger="shop",
        message=message,
        claim_seq=run.claim_seq,
        attempt=run.attempts,
    )


def token(id: str) -> Token:
    """Return a token without a timeout."""
    return Token(id=id)


def for_time(seconds: float) -> Wait:
    """Return a first wait for a time."""
    return Wait(kind=WaitKind.FOR, place=0, until=After(seconds))


def for_token(id: str) -> Wait:
    """Return a first wait for a token."""
    return Wait(kind=WaitKind.TOKEN, place=0, token_id=id)
