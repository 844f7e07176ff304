"""What a worker and a child interpreter say to each other: JSON over pipes that only the two of them hold."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from enum import StrEnum
from multiprocessing.connection import Connection
from operator import attrgetter
from threading import Lock
from typing import Any

from ...domain.changes import After
from ...domain.records import ClaimedJob, FailureReason, JobLog
from ...domain.transitions import UNSET, Execution, Fault, complete
from ...domain.waits import Wait, WaitKind
from ..outcomes import Cancelled, Completed, Failed, Finished, Outcome, Parked, Released, Snoozed
from ..reports import Report

Message = dict[str, Any]


class Say(StrEnum):
    """The messages. From the worker: SET_UP, RUN, ABORT, ASK, REPLY, KNOWS, END. From the child: the others."""

    SET_UP = "set_up"
    RUN = "run"
    ABORT = "abort"
    ASK = "ask"
    REPLY = "reply"
    KNOWS = "knows"
    END = "end"
    READY = "ready"
    BROKEN = "broken"
    FOUND = "found"
    ENDED = "ended"
    REPORT = "report"
    PROLONG = "prolong"
    WATCH = "watch"
    ANSWER = "answer"
    RETURN_REPORTS = "return_reports"


MEANWHILE = frozenset({Say.ABORT, Say.ASK, Say.REPLY})
"""What a worker says while a job runs: over a pipe of its own, since the thread that runs handlers reads the other."""


class Line:
    """One end of a pipe. Sending is safe from any thread; receiving is up to one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = Lock()

    def send(self, say: Say, **message: Any) -> None:
        """Send a message; raises OSError when nobody is there to read it."""
        data = ENCODER.encode({"say": say, **message}).encode()
        with self._lock:
            self.connection.send_bytes(data)

    def receive(self) -> Message:
        """Return the next message; raises EOFError or OSError when the other end is gone."""
        message: Message = json.loads(self.connection.recv_bytes())
        return message

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self.connection.close()


def from_job(job: ClaimedJob) -> Message:
    """Return a claimed job for `Line.send`."""
    return dict(zip(NAMES, VALUES(job), strict=True))


def to_job(told: Message) -> ClaimedJob:
    """Return the job that was told."""
    dates = {name: datetime.fromisoformat(told[name]) for name in MOMENTS if told[name] is not None}
    return ClaimedJob(**{**told, **dates, "tags": tuple(told["tags"])})


NAMES = tuple(f.name for f in fields(ClaimedJob))
VALUES = attrgetter(*NAMES)
MOMENTS = tuple(f.name for f in fields(ClaimedJob) if str(f.type).startswith("datetime"))


def from_report(report: Report) -> Message | None:
    """Return progress and lines for `Line.send`; None when there are none."""
    if not report:
        return None
    lines = [{f.name: getattr(line, f.name) for f in fields(line)} for line in report.lines]
    return {"progress": report.progress, "lines": lines}


def to_report(told: Message | None) -> Report:
    """Return the report that was told."""
    if told is None:
        return Report(None, ())
    lines = [JobLog(**{**line, "created_at": datetime.fromisoformat(line["created_at"])}) for line in told["lines"]]
    return Report(told["progress"], tuple(lines))


def from_outcome(outcome: Outcome) -> Message:
    """Return how a handler has ended for `Line.send`."""
    match outcome:
        case Completed(output):
            return {"how": "completed"} if output is UNSET else {"how": "completed", "output": output}
        case Failed(fault=fault, retry_in=retry_in):
            return {"how": "failed", "fault": asdict(fault), "retry_in": retry_in}
        case Snoozed(seconds, rate_limited):
            return {"how": "snoozed", "seconds": seconds, "rate_limited": rate_limited}
        case Released(why):
            return {"how": "released", "why": why}
        case Cancelled():
            return {"how": "cancelled"}
        case Parked(wait):
            until = wait.until.seconds if isinstance(wait.until, After) else wait.until
            return {"how": "parked", "kind": wait.kind, "place": wait.place, "until": until, "token": wait.token_id}
        case Finished():
            return {"how": "finished"}
    raise AssertionError(f"{outcome!r} is no outcome of a handler")


def to_outcome(told: Message, job: ClaimedJob) -> Outcome:
    """Return how the handler of a job has ended."""
    match told["how"]:
        case "completed":
            return Completed(told.get("output", UNSET))
        case "failed":
            fault = told["fault"]
            return Failed(Fault(**{**fault, "reason": FailureReason(fault["reason"])}), told["retry_in"])
        case "snoozed":
            return Snoozed(told["seconds"], told["rate_limited"])
        case "released":
            return Released(told["why"])
        case "cancelled":
            return Cancelled()
        case "parked":
            until = told["until"]
            moment = datetime.fromisoformat(until) if isinstance(until, str) else None
            return Parked(
                Wait(
                    kind=WaitKind(told["kind"]),
                    place=told["place"],
                    until=After(until) if isinstance(until, int | float) else moment,
                    token_id=told["token"],
                )
            )
        case "finished":
            return Finished(complete(Execution.of(job)))
    raise ValueError(f"a handler cannot have ended so: {told['how']!r}")


ENCODER = json.JSONEncoder(default=datetime.isoformat)
"""Made once; besides JSON it takes tuples, which arrive as lists, and datetimes, which arrive as ISO 8601."""
