"""Row ↔ record: the only place that knows how a column's value differs from a field's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from ...domain.changes import Owned
from ...domain.records import (
    CancelRequest,
    ClaimedJob,
    EventType,
    Job,
    JobEvent,
    JobLog,
    JobStatus,
    NewJob,
    Step,
    StepKind,
    Token,
    TokenStatus,
    Worker,
)

JOB_FIELDS = tuple(f.name for f in fields(Job))
SLIM_FIELDS = tuple(f.name for f in fields(ClaimedJob))
NEW_FIELDS = tuple(f.name for f in fields(NewJob))
EVENT_FIELDS = tuple(f.name for f in fields(JobEvent))
WORKER_FIELDS = tuple(f.name for f in fields(Worker))
TOKEN_FIELDS = tuple(f.name for f in fields(Token))
STEP_FIELDS = tuple(f.name for f in fields(Step))
REQUEST_FIELDS = tuple(f.name for f in fields(CancelRequest))
LOG_FIELDS = tuple(f.name for f in fields(JobLog))

LATER, CLAIMABLE = "later", "claimable"


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value or ())


FROM_COLUMN: Mapping[str, Callable[[Any], Any]] = {
    "status": JobStatus,
    "event_type": EventType,
    "tags": _tuple,
    "error_history": _tuple,
    "queues": _tuple,
    "exclude_queues": _tuple,
    "job_types": _tuple,
    "kind": StepKind,
}
"""Fields whose value in a record is not the column's."""

FROM_TOKEN_COLUMN: Mapping[str, Callable[[Any], Any]] = {"status": TokenStatus, "tags": _tuple}

NULL_WHEN_EMPTY = frozenset({"tags", "error_history"})


def to_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's columns as record fields."""
    return {name: FROM_COLUMN[name](value) if name in FROM_COLUMN else value for name, value in row.items()}


def token_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a token's row as record fields."""
    return {name: FROM_TOKEN_COLUMN[name](v) if name in FROM_TOKEN_COLUMN else v for name, v in row.items()}


def columns_of_record(record: Owned, names: tuple[str, ...]) -> dict[str, Any]:
    """Return these fields of a record as column values."""
    return {name: _column(name, getattr(record, name)) for name in names}


def to_columns(values: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return record fields as column values, with the mark that follows from `ready_at`."""
    row = {name: _column(name, value) for name, value in values.items()}
    if "ready_at" in row:
        row["stage"] = stage_of(row["ready_at"], now)
    return row


def stage_of(ready_at: datetime | None, now: datetime) -> str | None:
    """Return the mark of a job that may be claimed from `ready_at` on."""
    if ready_at is None:
        return None
    return CLAIMABLE if ready_at <= now else LATER


def _column(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value) or (None if name in NULL_WHEN_EMPTY else [])
    return value.value if isinstance(value, StrEnum) else value
