"""The lifecycle table says something about every case, and nothing that contradicts itself."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dataqueue_django.domain import steering, tokens, transitions
from dataqueue_django.domain.lifecycle import LEGAL_MOVES, TABLE, Cell, Operation, State, state_of
from dataqueue_django.domain.records import Job, JobStatus
from dataqueue_django.testing.contract.lifecycle import RUNNERS, TARGETS

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)

ENDED = (State.COMPLETED, State.CANCELLED, State.FAILED)
AUTOMATIC = frozenset(Operation) - {
    Operation.CANCEL,
    Operation.CANCEL_RUNNING,
    Operation.CANCEL_ALL,
    Operation.RETRY,
    Operation.EDIT,
    Operation.EDIT_ALL,
    Operation.PAUSE,
    Operation.RESUME,
    Operation.PAUSE_QUEUE,
    Operation.DELETE,
    Operation.DELETE_FORCED,
    Operation.EMPTY_QUEUE,
    Operation.CLEANUP,
}
"""What happens without a person or a retention rule asking for it."""

CARRIED_OUT_BY = {
    "complete": {Operation.FINISH_SUCCESS},
    "fail": {Operation.FINISH_ERROR, Operation.FINISH_FINAL, Operation.TIMEOUT},
    "release": {Operation.GIVE_BACK},
    "snooze": set(),  # a handler's own wish: a give-back with a delay
    "reclaim": {Operation.RECLAIM},
    "take_away": {Operation.RECLAIM},
    "park": {Operation.PARK},
    "prolong": {Operation.PROLONG},
    "record": {Operation.WRITE},
    "wake": {Operation.TOKEN_CLOSED},
    "write_progress": {Operation.WRITE},
    "cancel": {Operation.CANCEL},
    "ask_to_stop": {Operation.CANCEL_RUNNING},
    "stopped": {Operation.ABORT_ACKNOWLEDGED},
    "or_cancelled": {Operation.ABORT_ACKNOWLEDGED},
    "catch_up": {Operation.CANCEL},
    "cancel_upcoming": {Operation.CANCEL_ALL},
    "retry": {Operation.RETRY},
    "edit": {Operation.EDIT, Operation.EDIT_ALL},
    "still_in": set(),  # looks, and changes nothing
    "edited_fields": set(),  # reads what an edit is to be
}
"""Function of domain.transitions, domain.steering and domain.tokens (`wake`) → the operations it carries out."""

BY_THE_STORE_ALONE = {
    Operation.CLAIM,
    Operation.COME_DUE,
    Operation.WAIT_REACHED,
    Operation.DELETE,
    Operation.DELETE_FORCED,
    Operation.CLEANUP,
}


def test_the_table_is_full() -> None:
    assert len(Operation) == 29
    assert len(State) == 11
    assert set(TABLE) == set(Operation)
    assert all(set(row) == set(State) for row in TABLE.values())
    assert sum(len(row) for row in TABLE.values()) == 29 * 11


@pytest.mark.parametrize("operation", sorted(AUTOMATIC))
def test_nothing_that_has_ended_moves_by_itself(operation: Operation) -> None:
    assert {TABLE[operation][state] for state in ENDED} <= {Cell.NOTHING, Cell.LOST}


@pytest.mark.parametrize("operation", Operation)
def test_what_is_not_there_stays_away(operation: Operation) -> None:
    assert TABLE[operation][State.MISSING] in (Cell.NOTHING, Cell.LOST, Cell.NOT_FOUND)


@pytest.mark.parametrize("operation", Operation)
def test_only_its_owner_or_a_reclaim_moves_a_running_job(operation: Operation) -> None:
    by_execution = TABLE[operation][State.READY] is Cell.LOST
    moves = TABLE[operation][State.PROCESSING] not in (Cell.NOTHING, Cell.LOST, Cell.REFUSED, Cell.SAME)
    assert not moves or by_execution or operation in (Operation.RECLAIM, Operation.DELETE_FORCED)


def test_every_transition_has_its_cells_tried_out() -> None:
    """A new transition must be entered here, and its operations in the contract's RUNNERS."""
    functions = {
        name
        for module in (transitions, steering)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions | {tokens.wake.__name__} == set(CARRIED_OUT_BY)
    assert set(RUNNERS) == BY_THE_STORE_ALONE.union(*CARRIED_OUT_BY.values())


@pytest.mark.parametrize("operation", RUNNERS)
def test_where_the_table_moves_a_job_the_move_is_legal(operation: Operation) -> None:
    for state, cell in TABLE[operation].items():
        for target in TARGETS.get(cell, ()):
            before, after = status_in(state), status_in(target)
            assert after is before or after in LEGAL_MOVES[before]


def test_moves_of_statuses() -> None:
    assert set(LEGAL_MOVES) == set(JobStatus)
    assert LEGAL_MOVES[JobStatus.COMPLETED] == frozenset()
    assert [s for s in JobStatus if JobStatus.PROCESSING in LEGAL_MOVES[s]] == [
        JobStatus.PENDING,
        JobStatus.WAITING,
        JobStatus.FAILED,
    ]
    assert all(status not in targets for status, targets in LEGAL_MOVES.items())


JOB = Job(id=1, job_type="t", payload=None, created_at=NOW, updated_at=NOW, run_at=NOW, ready_at=NOW)


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (None, State.MISSING),
        (JOB, State.READY),
        (replace(JOB, ready_at=LATER), State.DELAYED),
        (replace(JOB, ready_at=None, open_dependencies=1), State.BLOCKED),
        (replace(JOB, ready_at=None, open_dependencies=1, paused_at=NOW), State.PAUSED),
        (replace(JOB, ready_at=LATER, paused_at=NOW), State.PAUSED),
        (replace(JOB, status=JobStatus.PROCESSING, ready_at=None), State.PROCESSING),
        (replace(JOB, status=JobStatus.PROCESSING, ready_at=None, paused_at=NOW), State.PROCESSING),
        (replace(JOB, status=JobStatus.WAITING), State.WAITING),
        (replace(JOB, status=JobStatus.FAILED), State.RETRYING),
        (replace(JOB, status=JobStatus.FAILED, ready_at=None), State.FAILED),
        (replace(JOB, status=JobStatus.COMPLETED, ready_at=None), State.COMPLETED),
        (replace(JOB, status=JobStatus.CANCELLED, ready_at=None), State.CANCELLED),
    ],
)
def test_the_state_of_a_job(job: Job | None, state: State) -> None:
    assert state_of(job, NOW) is state


def status_in(state: State) -> JobStatus:
    """Return the stored status of a job in a state."""
    if state in (State.RETRYING, State.FAILED):
        return JobStatus.FAILED
    pending = (State.READY, State.DELAYED, State.BLOCKED, State.PAUSED)
    return JobStatus.PENDING if state in pending else JobStatus(state.value)
