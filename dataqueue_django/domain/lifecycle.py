"""THE table: what each operation does to a job in each state.

Read by the code that decides, by the tests (one is generated per cell) and by the documentation. A state is derived
from a stored status and a few fields; see `state_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from .records import EventType, Job, JobStatus


class State(StrEnum):
    """The condition of a job as an operator sees it, finer than its stored status."""

    READY = "ready"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    PAUSED = "paused"
    PROCESSING = "processing"
    WAITING = "waiting"
    RETRYING = "failed+"
    FAILED = "failed-"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    MISSING = "missing"


class Cell(StrEnum):
    """What an operation does to a job in one state.

    A cell that names a target state moves the job there. SAME changes fields but not the state. NOTHING leaves no
    trace. REFUSED is a quiet False, or a JobStateError in strict mode. LOST is an execution that no longer owns the job.
    """

    TO_READY = "→ready"
    TO_PROCESSING = "→processing"
    TO_WAITING = "→waiting"
    TO_RETRYING = "→failed+"
    TO_FAILED = "→failed-"
    TO_RETRYING_OR_FAILED = "→failed+ / failed-"
    TO_READY_OR_FAILED = "→ready / failed-"
    TO_COMPLETED = "→completed"
    TO_CANCELLED = "→cancelled"
    TO_PAUSED = "→paused"
    UNPAUSED = "→ready / delayed / blocked"
    BY_POLICY = "→cancelled / failed- / ready"
    GONE = "→gone"
    GONE_IF_CONFIGURED = "→gone if configured"
    PROCESSING_IF_DUE = "→processing if due"
    SAME = "stays"
    DERIVED = "claimable (no write)"
    NOTHING = "·"
    REFUSED = "409"
    NOT_FOUND = "404"
    LOST = "lost"


class Operation(StrEnum):
    """The rows of the table."""

    CLAIM = "claim"
    FINISH_SUCCESS = "finish: success"
    FINISH_ERROR = "finish: error, attempts left"
    FINISH_FINAL = "finish: error, final"
    TIMEOUT = "timeout"
    PARK = "park"
    GIVE_BACK = "give-back"
    ABORT_ACKNOWLEDGED = "abort acknowledged"
    PROLONG = "heartbeat / prolong"
    WRITE = "progress / output / step"
    RECLAIM = "reclaim"
    COME_DUE = "run_at or backoff reached"
    WAIT_REACHED = "wait date reached"
    TOKEN_CLOSED = "token completed or expired"
    DEPENDENCY_DONE = "last dependency completed"
    DEPENDENCY_FAILED = "dependency failed or cancelled"
    CANCEL = "cancel_job"
    CANCEL_RUNNING = "cancel_job(abort_running=True)"
    CANCEL_ALL = "cancel_all_upcoming_jobs"
    RETRY = "retry_job"
    EDIT = "edit_job"
    EDIT_ALL = "edit_all_pending_jobs"
    PAUSE = "pause_job"
    RESUME = "resume_job"
    PAUSE_QUEUE = "pause_queue / resume_queue"
    DELETE = "delete_job"
    DELETE_FORCED = "delete_job(force=True)"
    EMPTY_QUEUE = "empty_queue"
    CLEANUP = "cleanup_old_jobs"


_ORDER = tuple(State)
_C = Cell


def _row(*cells: Cell) -> Mapping[State, Cell]:
    return MappingProxyType(dict(zip(_ORDER, cells, strict=True)))


def _by_execution(cell: Cell) -> Mapping[State, Cell]:
    """A row for what an execution does: only the owner of a processing job may."""
    return MappingProxyType({state: cell if state is State.PROCESSING else _C.LOST for state in State})


def _only(state: State, cell: Cell) -> Mapping[State, Cell]:
    return MappingProxyType({s: cell if s is state else _C.NOTHING for s in State})


_PENDING = (State.READY, State.DELAYED, State.BLOCKED, State.PAUSED)


def _pending(cell: Cell) -> Mapping[State, Cell]:
    """A row for a bulk operation on jobs that have not started."""
    return MappingProxyType({s: cell if s in _PENDING else _C.NOTHING for s in State})


# fmt: off
TABLE: Mapping[Operation, Mapping[State, Cell]] = MappingProxyType({
    #                               ready             delayed           blocked           paused            processing       waiting             failed+             failed-       completed     cancelled     missing
    Operation.CLAIM: _row(          _C.TO_PROCESSING, _C.NOTHING,       _C.NOTHING,       _C.NOTHING,       _C.NOTHING,      _C.PROCESSING_IF_DUE, _C.PROCESSING_IF_DUE, _C.NOTHING, _C.NOTHING, _C.NOTHING, _C.NOTHING),
    Operation.FINISH_SUCCESS:       _by_execution(_C.TO_COMPLETED),
    Operation.FINISH_ERROR:         _by_execution(_C.TO_RETRYING),
    Operation.FINISH_FINAL:         _by_execution(_C.TO_FAILED),
    Operation.TIMEOUT:              _by_execution(_C.TO_RETRYING_OR_FAILED),
    Operation.PARK:                 _by_execution(_C.TO_WAITING),
    Operation.GIVE_BACK:            _by_execution(_C.TO_READY),
    Operation.ABORT_ACKNOWLEDGED:   _by_execution(_C.TO_CANCELLED),
    Operation.PROLONG:              _by_execution(_C.SAME),
    Operation.WRITE:                _by_execution(_C.SAME),
    Operation.RECLAIM:              _only(State.PROCESSING, _C.TO_READY_OR_FAILED),
    Operation.COME_DUE: _row(       _C.NOTHING,       _C.DERIVED,       _C.NOTHING,       _C.NOTHING,       _C.NOTHING,      _C.NOTHING,         _C.DERIVED,         _C.NOTHING,   _C.NOTHING,   _C.NOTHING,   _C.NOTHING),
    Operation.WAIT_REACHED:         _only(State.WAITING, _C.DERIVED),
    Operation.TOKEN_CLOSED:         _only(State.WAITING, _C.TO_READY),
    Operation.DEPENDENCY_DONE:      _only(State.BLOCKED, _C.TO_READY),
    Operation.DEPENDENCY_FAILED:    _only(State.BLOCKED, _C.BY_POLICY),
    Operation.CANCEL: _row(         _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.REFUSED,      _C.TO_CANCELLED,    _C.TO_CANCELLED,    _C.REFUSED,   _C.REFUSED,   _C.REFUSED,   _C.NOT_FOUND),
    Operation.CANCEL_RUNNING: _row( _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.TO_CANCELLED,  _C.SAME,         _C.TO_CANCELLED,    _C.TO_CANCELLED,    _C.REFUSED,   _C.REFUSED,   _C.REFUSED,   _C.NOT_FOUND),
    Operation.CANCEL_ALL:           _pending(_C.TO_CANCELLED),
    Operation.RETRY: _row(          _C.REFUSED,       _C.REFUSED,       _C.REFUSED,       _C.REFUSED,       _C.REFUSED,      _C.REFUSED,         _C.TO_READY,        _C.TO_READY,  _C.REFUSED,   _C.TO_READY,  _C.NOT_FOUND),
    Operation.EDIT: _row(           _C.SAME,          _C.SAME,          _C.SAME,          _C.SAME,          _C.REFUSED,      _C.REFUSED,         _C.REFUSED,         _C.REFUSED,   _C.REFUSED,   _C.REFUSED,   _C.NOT_FOUND),
    Operation.EDIT_ALL:             _pending(_C.SAME),
    Operation.PAUSE: _row(          _C.TO_PAUSED,     _C.TO_PAUSED,     _C.TO_PAUSED,     _C.NOTHING,       _C.REFUSED,      _C.SAME,            _C.SAME,            _C.REFUSED,   _C.REFUSED,   _C.REFUSED,   _C.NOT_FOUND),
    Operation.RESUME: _row(         _C.NOTHING,       _C.NOTHING,       _C.NOTHING,       _C.UNPAUSED,      _C.NOTHING,      _C.SAME,            _C.SAME,            _C.NOTHING,   _C.NOTHING,   _C.NOTHING,   _C.NOT_FOUND),
    Operation.PAUSE_QUEUE: _row(    _C.SAME,          _C.SAME,          _C.SAME,          _C.SAME,          _C.SAME,         _C.SAME,            _C.SAME,            _C.NOTHING,   _C.NOTHING,   _C.NOTHING,   _C.NOTHING),
    Operation.DELETE: _row(         _C.GONE,          _C.GONE,          _C.GONE,          _C.GONE,          _C.REFUSED,      _C.GONE,            _C.GONE,            _C.GONE,      _C.GONE,      _C.GONE,      _C.NOT_FOUND),
    Operation.DELETE_FORCED: _row(  _C.GONE,          _C.GONE,          _C.GONE,          _C.GONE,          _C.GONE,         _C.GONE,            _C.GONE,            _C.GONE,      _C.GONE,      _C.GONE,      _C.NOT_FOUND),
    Operation.EMPTY_QUEUE:          _pending(_C.GONE),
    Operation.CLEANUP: _row(        _C.NOTHING,       _C.NOTHING,       _C.NOTHING,       _C.NOTHING,       _C.NOTHING,      _C.NOTHING,         _C.NOTHING,         _C.GONE_IF_CONFIGURED, _C.GONE, _C.GONE_IF_CONFIGURED, _C.NOTHING),
})
# fmt: on

LEGAL_MOVES: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.PENDING: frozenset({JobStatus.PROCESSING, JobStatus.CANCELLED, JobStatus.FAILED}),
        JobStatus.PROCESSING: frozenset(
            {
                JobStatus.COMPLETED,
                JobStatus.FAILED,
                JobStatus.WAITING,
                JobStatus.PENDING,
                JobStatus.CANCELLED,
            }
        ),
        JobStatus.WAITING: frozenset({JobStatus.PROCESSING, JobStatus.PENDING, JobStatus.CANCELLED}),
        JobStatus.FAILED: frozenset({JobStatus.PROCESSING, JobStatus.PENDING, JobStatus.CANCELLED}),
        JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
        JobStatus.COMPLETED: frozenset(),
    }
)
"""Stored status → the statuses it may change to. Any other edge is a bug."""


def state_of(job: Job | None, now: datetime) -> State:
    """Return the state of `job` at `now`; None is MISSING."""
    if job is None:
        return State.MISSING
    if job.status is JobStatus.FAILED:
        return State.RETRYING if job.will_retry else State.FAILED
    if job.status is not JobStatus.PENDING:
        return State(job.status.value)
    if is_paused(job, now):
        return State.PAUSED
    if job.open_dependencies > 0:
        return State.BLOCKED
    if job.ready_at is not None and job.ready_at > now:
        return State.DELAYED
    return State.READY


def is_paused(job: Job, now: datetime) -> bool:
    """Return whether somebody has paused a job and that has not ended."""
    return job.paused_at is not None and (job.paused_until is None or job.paused_until > now)


REFUSALS = frozenset({Cell.NOTHING, Cell.REFUSED, Cell.NOT_FOUND, Cell.LOST})
"""The cells in which an operation does nothing."""


def allowed(operation: Operation, state: State) -> bool:
    """Return whether `operation` does anything to a job in `state`."""
    return TABLE[operation][state] not in REFUSALS


def refusal(operation: Operation, job_id: int, state: State) -> str:
    """Return one sentence on why `operation` did nothing to a job that is in `state`."""
    if allowed(operation, state):
        return f"{operation.value} did nothing: job {job_id} was being changed by somebody else; try again."
    fitting = ", ".join(s.value for s in State if allowed(operation, s))
    return f"{operation.value} did nothing: job {job_id} is {state.value}; expected one that is {fitting}."


ENDINGS = frozenset(
    {
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.CANCELLED,
        EventType.RELEASED,
        EventType.RECLAIMED,
        EventType.SNOOZED,
        EventType.WAITING,
    }
)
"""The events that close the execution whose `claim_seq` they carry."""
