"""The lifecycle table, cell by cell: each operation on a job in each state, on the store itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from ...domain.changes import After, Alternatives, Change, Committed, Verdict
from ...domain.lifecycle import LEGAL_MOVES, TABLE, Cell, Operation, State, state_of
from ...domain.pausing import pause
from ...domain.records import EventType, FailureReason, JobStatus, Kind, StepKind, Token, TokenStatus
from ...domain.steering import ask_to_stop, cancel, cancel_upcoming, edit, edited_fields, retry
from ...domain.steps import recorded
from ...domain.tokens import complete as complete_token
from ...domain.tokens import expire as expire_token
from ...domain.tokens import wake
from ...domain.transitions import (
    Execution,
    Fault,
    complete,
    fail,
    or_cancelled,
    park,
    prolong,
    reclaim,
    record,
    release,
    snooze,
    stopped,
    take_away,
    write_progress,
)
from ...domain.waits import Wait, WaitKind
from .base import NOW, Contract, Trace, ids_of
from .finishing import BROKEN, REPORT

SOON = 60
"""In how many seconds the jobs of a test that wait for a time come due."""

TIMED_OUT = Fault(reason=FailureReason.TIMEOUT, type="JobTimeout", message="longer than 5 s")


@dataclass(frozen=True, slots=True)
class Situation:
    """A job in some state, and the execution that has it, or had it before."""

    job_id: int
    run: Execution
    before: Trace


# -- how a job gets into each state


def _given_back(test: Contract, **options: int) -> Execution:
    """A job that has run once, so that there is an old execution of it."""
    run = test.running(**options)
    test.commit(release(run, why="stopping"))
    return run


def _processing(test: Contract, **options: int) -> Execution:
    return test.start(_given_back(test, **options).job_id)


def _set(test: Contract, run: Execution, event: EventType, **fields: object) -> Execution:
    test.set_fields(run.job_id, event, **fields)
    return run


def _committed(test: Contract, run: Execution, *alternatives: Change) -> Execution:
    [done] = test.store.commit([alternatives], now=test.now)
    assert done.applied
    return run


def _blocked(test: Contract) -> Execution:
    return _set(test, _given_back(test), EventType.EDITED, open_dependencies=1, ready_at=None)


def _paused(test: Contract) -> Execution:
    run = _given_back(test)
    return _committed(test, run, *pause(run.job_id))


def _waiting(test: Contract) -> Execution:
    run = _processing(test)
    return _committed(test, run, *waiting_for_time(run, SOON))


def _cancelled(test: Contract) -> Execution:
    fields = {"status": JobStatus.CANCELLED, "ready_at": None, "finished_at": test.now}
    return _set(test, _given_back(test), EventType.CANCELLED, **fields)


def _missing(test: Contract) -> Execution:
    run = _processing(test)
    assert test.store.delete([run.job_id], force=True) == 1
    return run


def _ended(transition: Callable[[Execution], Change]) -> Callable[[Contract], Execution]:
    def arrive(test: Contract) -> Execution:
        run = _processing(test)
        return _committed(test, run, transition(run))

    return arrive


ARRIVE: Mapping[State, Callable[[Contract], Execution]] = {
    State.READY: _given_back,
    State.DELAYED: _ended(lambda run: snooze(run, SOON)),
    State.BLOCKED: _blocked,
    State.PAUSED: _paused,
    State.PROCESSING: _processing,
    State.WAITING: _waiting,
    State.RETRYING: _ended(lambda run: fail(run, BROKEN, retry_in=SOON)),
    State.FAILED: _ended(lambda run: fail(run, BROKEN, retry_in=None)),
    State.COMPLETED: _ended(complete),
    State.CANCELLED: _cancelled,
    State.MISSING: _missing,
}
"""State → put a job into it and return the execution that has the job, or the last one that had it."""


def waiting_for_time(run: Execution, seconds: float) -> Alternatives:
    """The handler waits until a time."""
    return park(run, Wait(kind=WaitKind.FOR, place=0, until=After(seconds)))


def waiting_for_token(test: Contract, run: Execution) -> Alternatives:
    """The handler waits for a token that it has just made; the token is named after the job."""
    id = token_of(run.job_id)
    if test.store.fetch(Kind.TOKEN, id) is None:
        test.store.put(Token(id=id), now=test.now)
    return park(run, Wait(kind=WaitKind.TOKEN, place=0, token_id=id))


def token_of(job_id: int) -> str:
    """Return the id of the token that a job waits for."""
    return f"wp_{job_id}"


# -- what each operation must do


Runner = Callable[["Lifecycle", State], None]
Transition = Callable[[Execution], "Change | Alternatives"]


def by_execution(*transitions: Transition, last_attempt: bool = False) -> Runner:
    """Return a runner for what only the owner of a processing job may do; each transition in turn.

    With `last_attempt` the last of them meets a job that has no attempt left.
    """

    def run_it(test: Lifecycle, state: State) -> None:
        for left, transition in zip(range(len(transitions) - 1, -1, -1), transitions, strict=True):
            at = test.arrive(state)
            if last_attempt and not left and state is State.PROCESSING:
                at = test.situation(_processing(test, max_attempts=1))
            test.judge(at, test.carried_out(transition, at.run), test.cell)
            if state is State.PROCESSING:
                test.another_execution_is_refused(transition)

    return run_it


def reclaim_it(test: Lifecycle, state: State) -> None:
    """Reclaim as an observer does that read the job a moment ago."""
    by_execution(reclaim, reclaim, last_attempt=True)(test, state)
    by_execution(lambda run: take_away(run, held_for=60), lambda run: take_away(run, held_for=60), last_attempt=True)(
        test, state
    )


def claim_it(test: Lifecycle, state: State) -> None:
    """Claim now, and when everything that waits for a time has come due."""
    at, cell = test.arrive(state), test.cell
    if cell is Cell.PROCESSING_IF_DUE:
        assert test.claim() == []
        test.untouched(at)
        assert ids_of(test.claim(at=test.later(SOON))) == [at.job_id]
        test.arrived(at, State.PROCESSING)
    elif cell is Cell.TO_PROCESSING:
        assert ids_of(test.claim()) == [at.job_id]
        test.arrived(at, State.PROCESSING)
    else:
        assert cell is Cell.NOTHING
        assert test.claim(crashed=None) == []
        test.untouched(at)


def come_due(test: Lifecycle, state: State) -> None:
    """Let time pass: nothing is written, and where the table says so the job can be claimed."""
    at = test.arrive(state)
    derived = test.cell is Cell.DERIVED
    if derived:
        assert test.claim(ids=(at.job_id,), at=test.later(SOON - 1)) == []
    test.claim(queues=("nobody",), at=test.later(SOON))
    test.untouched(at)
    assert derived or test.cell is Cell.NOTHING
    if derived:
        assert ids_of(test.claim(ids=(at.job_id,), at=test.later(SOON))) == [at.job_id]


def park_it(test: Lifecycle, state: State) -> None:
    """Wait for a time, then for a token: one that is open, and one that was closed before the handler had unwound."""
    by_execution(
        lambda run: waiting_for_time(run, SOON),
        lambda run: waiting_for_time(run, 0),
        lambda run: waiting_for_token(test, run),
    )(test, state)
    at = test.arrive(state)
    test.store.put(Token(id=token_of(at.job_id), status=TokenStatus.COMPLETED), now=test.now)
    answer = test.carried_out(lambda run: waiting_for_token(test, run), at.run)
    test.judge(at, answer, Cell.TO_READY if test.cell is Cell.TO_WAITING else test.cell)


def wait_reached(test: Lifecycle, state: State) -> None:
    """Let the time of a wait come: nothing is written, and the job can be claimed without an attempt being counted."""
    if state is not State.WAITING:
        assert test.cell is Cell.NOTHING
        return  # what time does to the others is in the row of run_at and backoff
    at = test.arrive(state)
    assert test.claim(ids=(at.job_id,), at=test.later(SOON - 1)) == []
    test.untouched(at)
    [job] = test.claim(ids=(at.job_id,), at=test.later(SOON))
    assert (job.id, job.attempts) == (at.job_id, at.run.attempts)


def close_token(test: Lifecycle, state: State) -> None:
    """Close a token, completed or timed out: jobs that wait for it wake, and no other job notices."""
    for close in (complete_token, lambda id, _: expire_token(id)):
        at = test.situation(_waiting_for_token(test) if state is State.WAITING else ARRIVE[state](test))
        id = token_of(at.job_id)
        if test.store.fetch(Kind.TOKEN, id) is None:
            test.store.put(Token(id=id), now=test.now)
        [closed] = test.store.commit([close(id, 1)], now=test.now)
        assert closed.applied
        test.untouched(at)
        [answer] = test.store.commit([wake(at.job_id, id)], now=test.now)
        test.judge(at, answer, test.cell)
    waits_for_another = test.situation(_waiting_for_token(test))
    [answer] = test.store.commit([wake(waits_for_another.job_id, "wp_another")], now=test.now)
    test.judge(waits_for_another, answer, Cell.NOTHING)


def _waiting_for_token(test: Contract) -> Execution:
    run = _processing(test)
    return _committed(test, run, *waiting_for_token(test, run))


def asked_for(*askings: Callable[[int], Alternatives]) -> Runner:
    """Return a runner for what people ask of a job by its id; each asking on a job of its own."""

    def run_it(test: Lifecycle, state: State) -> None:
        for ask in askings:
            at = test.arrive(state)
            [answer] = test.store.commit([ask(at.job_id)], now=test.now)
            test.judge_asking(at, answer, test.cell)

    return run_it


def edited(job_id: int, **updates: object) -> Alternatives:
    """An edit of one job."""
    return edit(job_id, edited_fields(updates, now=NOW), actor="somebody")


def stop_it(test: Lifecycle, state: State) -> None:
    """Cancel a job, and ask one that runs to stop, which leaves it as it is."""
    at = test.arrive(state)
    item = cancel(at.job_id)
    if state is State.PROCESSING:
        item = ask_to_stop(at.job_id, at.run.claim_seq, actor="somebody", reason="wrong file")
    [answer] = test.store.commit([item], now=test.now)
    test.judge_asking(at, answer, test.cell)


_RELEASED: Transition = lambda run: or_cancelled((release(run, why="stopping"),))  # noqa: E731
_RETRIED: Transition = lambda run: or_cancelled((fail(run, BROKEN, retry_in=SOON),))  # noqa: E731


def stopped_it(test: Lifecycle, state: State) -> None:
    """Stop because somebody asked, and end in a way that would have the job run again although somebody asked."""
    by_execution(stopped)(test, state)
    for goes_on in _RELEASED, _RETRIED:
        run = ARRIVE[state](test)
        test.store.commit([ask_to_stop(run.job_id, run.claim_seq)], now=test.now)
        at = test.situation(run)
        test.judge(at, test.carried_out(goes_on, run), test.cell)


def clean_up(test: Lifecycle, state: State) -> None:
    """Delete what ended: completed jobs alone, then every kind, and never what ended too late."""
    at, cell, later = test.arrive(state), test.cell, test.later(1)
    everything = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
    assert not any(test.store.delete_ended(status, before=test.now) for status in everything)
    gone = test.store.delete_ended(JobStatus.COMPLETED, before=later)
    assert gone == (cell is Cell.GONE)
    if not gone:
        test.untouched(at)
        gone = sum(test.store.delete_ended(status, before=later) for status in everything)
        assert gone == (cell is Cell.GONE_IF_CONFIGURED)
    if cell in (Cell.GONE, Cell.GONE_IF_CONFIGURED):
        assert test.trace(at.job_id) == (None, [])
    else:
        assert cell is Cell.NOTHING
        test.untouched(at)


def delete_it(force: bool) -> Runner:
    """Return a runner that deletes the job."""

    def run_it(test: Lifecycle, state: State) -> None:
        at, cell = test.arrive(state), test.cell
        gone = test.store.delete([at.job_id], force=force)
        if cell is Cell.GONE:
            assert gone == 1
            test.arrived(at, State.MISSING)
            assert test.trace(at.job_id) == (None, [])
        else:
            assert cell in (Cell.REFUSED, Cell.NOT_FOUND)
            assert gone == 0
            test.untouched(at)

    return run_it


RUNNERS: Mapping[Operation, Runner] = {
    Operation.CLAIM: claim_it,
    Operation.FINISH_SUCCESS: by_execution(complete),
    Operation.FINISH_ERROR: by_execution(lambda run: fail(run, BROKEN, retry_in=SOON)),
    Operation.FINISH_FINAL: by_execution(
        lambda run: fail(run, BROKEN, retry_in=None), lambda run: fail(run, BROKEN, retry_in=1), last_attempt=True
    ),
    Operation.TIMEOUT: by_execution(
        lambda run: fail(run, TIMED_OUT, retry_in=SOON), lambda run: fail(run, TIMED_OUT, retry_in=None)
    ),
    Operation.PARK: park_it,
    Operation.PROLONG: by_execution(lambda run: prolong(run, 30, why="prolong")),
    Operation.GIVE_BACK: by_execution(lambda run: release(run, why="stopping")),
    Operation.WRITE: by_execution(
        lambda run: write_progress(run, REPORT),
        lambda run: record(run, recorded(run, StepKind.STEP, "charge", {"paid": True})),
    ),
    Operation.RECLAIM: reclaim_it,
    Operation.COME_DUE: come_due,
    Operation.WAIT_REACHED: wait_reached,
    Operation.TOKEN_CLOSED: close_token,
    Operation.CANCEL: asked_for(cancel),
    Operation.CANCEL_RUNNING: stop_it,
    Operation.ABORT_ACKNOWLEDGED: stopped_it,
    Operation.CANCEL_ALL: asked_for(cancel_upcoming),
    Operation.RETRY: asked_for(retry),
    Operation.EDIT: asked_for(lambda id: edited(id, priority=5, tags=["new"]), lambda id: edited(id, run_at=None)),
    Operation.EDIT_ALL: asked_for(lambda id: edited(id, priority=5)),
    Operation.CLEANUP: clean_up,
    Operation.DELETE: delete_it(force=False),
    Operation.DELETE_FORCED: delete_it(force=True),
}
"""The operations that a store and the transitions can carry out so far; the other rows belong to later features."""

TARGETS: Mapping[Cell, frozenset[State]] = {
    Cell.TO_READY: frozenset({State.READY}),
    Cell.TO_RETRYING: frozenset({State.RETRYING}),
    Cell.TO_FAILED: frozenset({State.FAILED}),
    Cell.TO_RETRYING_OR_FAILED: frozenset({State.RETRYING, State.FAILED}),
    Cell.TO_READY_OR_FAILED: frozenset({State.READY, State.FAILED}),
    Cell.TO_COMPLETED: frozenset({State.COMPLETED}),
    Cell.TO_CANCELLED: frozenset({State.CANCELLED}),
    Cell.TO_WAITING: frozenset({State.WAITING}),
}
"""The states to which a cell moves a job; each of them must be seen."""

UNCLAIMABLE = frozenset({State.BLOCKED, State.PAUSED, State.PROCESSING, State.CANCELLED})
"""States that a job asked for something can be in, and in which it has no `ready_at`."""


def expected_states(cell: Cell, state: State) -> frozenset[State]:
    """Return the states that a job in `state` may be in after an operation; each of them must be seen."""
    return frozenset({state}) if cell is Cell.SAME else TARGETS.get(cell, frozenset())


CELLS = [(operation, state) for operation in RUNNERS for state in State]


class Lifecycle(Contract):
    """See domain.lifecycle."""

    cell: Cell
    seen: set[State]

    @pytest.mark.parametrize(("operation", "state"), CELLS, ids=[f"{o.name}-{s.name}" for o, s in CELLS])
    def test_cell(self, operation: Operation, state: State) -> None:
        self.cell, self.seen = TABLE[operation][state], set()
        RUNNERS[operation](self, state)
        assert self.seen >= expected_states(self.cell, state)

    @pytest.mark.parametrize("state", State)
    def test_a_job_can_be_put_into_each_state(self, state: State) -> None:
        job, events = self.arrive(state).before
        assert state_of(job, self.now) is state
        assert bool(events) == (state is not State.MISSING)

    # -- steps of the runners

    def arrive(self, state: State) -> Situation:
        """Put a new job into a state."""
        at = self.situation(ARRIVE[state](self))
        assert state_of(at.before[0], self.now) is state
        return at

    def situation(self, run: Execution) -> Situation:
        """Return how the job of an execution stands."""
        return Situation(run.job_id, run, self.trace(run.job_id))

    def judge(self, at: Situation, answer: Committed, cell: Cell) -> None:
        """Assert that a write by an execution did what its cell says."""
        if cell in (Cell.LOST, Cell.NOTHING):
            assert answer.verdict is Verdict.LOST
            self.untouched(at)
        else:
            assert answer.applied
            self.arrived(at, *expected_states(cell, State.PROCESSING))

    def judge_asking(self, at: Situation, answer: Committed, cell: Cell) -> None:
        """Assert that what a person asked for did what its cell says; an edit may move a pending job's time."""
        if cell in (Cell.NOTHING, Cell.REFUSED, Cell.NOT_FOUND):
            assert answer.verdict is Verdict.LOST
            self.untouched(at)
            return
        assert answer.applied
        job, events = self.trace(at.job_id)
        assert len(events) == len(at.before[1]) + 1
        states = expected_states(cell, state_of(at.before[0], self.now))
        moved_up = cell is Cell.SAME and job is not None and job.run_at == self.now
        self.arrived(at, *states, *((State.READY,) if moved_up and State.DELAYED in states else ()))
        assert job is not None
        assert (job.ready_at is None) == (self.state_now(at) in UNCLAIMABLE)

    def carried_out(self, transition: Transition, run: Execution) -> Committed:
        """Commit what an execution does, and return the answer."""
        does = transition(run)
        [answer] = self.store.commit([(does,) if isinstance(does, Change) else does], now=self.now)
        return answer

    def another_execution_is_refused(self, transition: Transition) -> None:
        """Assert that an execution that had the job before can do nothing while another has it."""
        old = _given_back(self)
        at = self.situation(self.start(old.job_id))
        self.judge(at, self.carried_out(transition, old), Cell.LOST)

    def state_now(self, at: Situation) -> State:
        """Return the state that the job is in now."""
        return state_of(self.trace(at.job_id)[0], self.now)

    def arrived(self, at: Situation, *states: State) -> None:
        """Assert that the job is in one of the states now, by a legal move."""
        before, (job, _) = at.before[0], self.trace(at.job_id)
        state = state_of(job, self.now)
        assert state in states
        self.seen.add(state)
        if before is not None and job is not None and job.status is not before.status:
            assert job.status in LEGAL_MOVES[before.status]

    def untouched(self, at: Situation) -> None:
        """Assert that neither the job nor its events changed."""
        assert self.trace(at.job_id) == at.before
