"""Row ↔ record: the only place that knows how a column's value differs from a field's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from ...domain.rates import Bucket
from ...domain.records import (
    CancelRequest,
    ClaimedJob,
    CronSchedule,
    CronTick,
    Duty,
    EventType,
    Job,
    JobEvent,
    JobLog,
    JobStatus,
    Kind,
    Limit,
    NewJob,
    Overlap,
    Pause,
    Queue,
    QueueGauge,
    QueueStat,
    Resolution,
    ScheduleStatus,
    Step,
    StepKind,
    TickOutcome,
    Token,
    TokenStatus,
    Worker,
)

JOB_FIELDS = tuple(f.name for f in fields(Job))
SLIM_FIELDS = tuple(f.name for f in fields(ClaimedJob))
NEW_FIELDS = tuple(f.name for f in fields(NewJob))
EVENT_FIELDS = tuple(f.name for f in fields(JobEvent))
STEP_FIELDS = tuple(f.name for f in fields(Step))
LOG_FIELDS = tuple(f.name for f in fields(JobLog))
TICK_FIELDS = tuple(f.name for f in fields(CronTick))
STAT_FIELDS = tuple(f.name for f in fields(QueueStat))
GAUGE_FIELDS = tuple(f.name for f in fields(QueueGauge))

SIDE: Mapping[Kind, type[Any]] = {
    Kind.DUTY: Duty,
    Kind.WORKER: Worker,
    Kind.TOKEN: Token,
    Kind.SCHEDULE: CronSchedule,
    Kind.QUEUE: Queue,
    Kind.PAUSE: Pause,
    Kind.LIMIT: Limit,
    Kind.CANCEL: CancelRequest,
}
"""The records that are neither jobs nor part of one."""

SIDE_FIELDS = {kind: tuple(f.name for f in fields(record)) for kind, record in SIDE.items()}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
    "resolution": Resolution,
    "run_hist": _tuple,
    "wait_hist": _tuple,
}
"""Fields whose value in a record is not the column's."""

OWN_COLUMNS: Mapping[Kind, Mapping[str, Callable[[Any], Any]]] = {
    Kind.TOKEN: {"status": TokenStatus, "tags": _tuple},
    Kind.SCHEDULE: {"status": ScheduleStatus, "overlap": Overlap},
}
"""Kinds of record that mean something else by some columns."""

NULL_WHEN_EMPTY = frozenset({"tags", "error_history", "run_hist", "wait_hist"})


def to_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's columns as record fields."""
    return {name: FROM_COLUMN[name](value) if name in FROM_COLUMN else value for name, value in row.items()}


def fields_of(kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row of this kind as record fields."""
    own = OWN_COLUMNS.get(kind, FROM_COLUMN)
    return {name: own[name](value) if name in own else value for name, value in row.items()}


def tick_of(row: Mapping[str, Any]) -> CronTick:
    """Return a row as a tick."""
    return CronTick(**{**row, "outcome": TickOutcome(row["outcome"])})


def bucket_of(row: Any) -> Bucket:
    """Return how a rate stands."""
    begun = tuple((EPOCH + timedelta(microseconds=at), number) for at, number in row.begun or ())
    return Bucket(row.tokens, row.at, begun, row.closed_until)


def bucket_columns(bucket: Bucket) -> dict[str, Any]:
    """Return how a rate stands as column values."""
    begun = [[(at - EPOCH) // timedelta(microseconds=1), number] for at, number in bucket.begun]
    return {"tokens": bucket.tokens, "at": bucket.at, "begun": begun or None, "closed_until": bucket.closed_until}


def columns_of_record(record: Any, names: tuple[str, ...]) -> dict[str, Any]:
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
