"""One function per transition of a job: each returns the Change that carries it out.

An execution's own writes are guarded by `claim_seq` alone (the fence): it is odd while the job is processing and moves
whenever the job enters or leaves that status, so no other execution's write can fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from .changes import Add, After, Alternatives, Append, Change, Need, Owned, Verb
from .portable import clean_text
from .records import JSON, ClaimedJob, EventType, FailureReason, Job, JobStatus, Kind, NewJob, Step, TokenStatus
from .waits import Wait

UNSET: Final[Any] = type("Unset", (), {"__repr__": lambda self: "UNSET", "__bool__": lambda self: False})()
"""Not given, where None is a value of its own."""

KEPT_ERRORS = 50
CRASH_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of one job, named by its fence."""

    job_id: int
    claim_seq: int
    attempts: int
    max_attempts: int
    crash_count: int = 0

    @classmethod
    def of(cls, job: Job | ClaimedJob) -> Execution:
        """Return the execution that a processing job is in."""
        return cls(job.id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why an attempt failed, cleaned and cut so that every store can keep it."""

    reason: FailureReason
    type: str
    message: str
    traceback: str = ""

    def entry(self, attempt: int) -> dict[str, JSON]:
        """Return the line for `error_history`, without its time (the store's clock writes that)."""
        entry: dict[str, JSON] = {
            "attempt": attempt,
            "reason": self.reason.value,
            "type": clean_text(self.type, 200),
            "message": clean_text(self.message, 8 * 1024),
        }
        if self.traceback:
            entry["traceback"] = clean_text(self.traceback, 8 * 1024)
        return entry


def complete(run: Execution, *, output: JSON = UNSET, progress: Mapping[str, Any] | None = None) -> Change:
    """The handler returned: the job is completed, with its output if it has one."""
    fields = {**_ended(JobStatus.COMPLETED), **(progress or {}), "failure_reason": None}
    if output is not UNSET:
        fields["output"] = output
    return _finish(run, Verb.COMPLETE, fields, EventType.COMPLETED)


def fail(run: Execution, fault: Fault, *, retry_in: float | None, progress: Mapping[str, Any] | None = None) -> Change:
    """The attempt failed: tried again in `retry_in` seconds while attempts are left; None or exhausted is final."""
    again = retry_in is not None and run.attempts < run.max_attempts
    fields = {
        **(progress or {}),
        **(_left(JobStatus.FAILED, ready=After(retry_in or 0.0)) if again else _ended(JobStatus.FAILED)),
        "failure_reason": fault.reason.value,
        "last_failed_at": After(),
        "error_history": Append(fault.entry(run.attempts), KEPT_ERRORS),
    }
    metadata: dict[str, JSON] = {
        "willRetry": again,
        "failureReason": fault.reason.value,
        "error": clean_text(f"{fault.type}: {fault.message}", 500),
    }
    if again:
        metadata["retryInMs"] = round((retry_in or 0.0) * 1000)
    return _finish(run, Verb.FAIL, fields, EventType.FAILED, metadata)


def release(run: Execution, *, why: str) -> Change:
    """The job is given back unstarted or unfinished: ready at once, and the next claim counts no attempt."""
    fields = {**_left(JobStatus.PENDING, ready=After()), "resuming": True}
    return _finish(run, Verb.RELEASE, fields, EventType.RELEASED, {"reason": why})


def snooze(
    run: Execution, seconds: float, *, progress: Mapping[str, Any] | None = None, rate_limited: bool = False
) -> Change:
    """The handler said "not now": ready again in `seconds`, and the next claim counts no attempt."""
    fields = {**(progress or {}), **_left(JobStatus.PENDING, ready=After(seconds)), "resuming": True}
    why = {"rateLimited": True} if rate_limited else {}
    return _finish(run, Verb.SNOOZE, fields, EventType.SNOOZED, {"delayMs": round(seconds * 1000), **why})


def park(run: Execution, wait: Wait, *, progress: Mapping[str, Any] | None = None) -> Alternatives:
    """The handler waits: nobody has the job until the wait is over, and then the next claim counts no attempt.

    Crashes are forgotten: a job that came to a wait does not take down whoever runs it. A token that was closed
    meanwhile, or that is gone, makes the job ready at once.
    """
    put = (wait.step(run.job_id, run.claim_seq, run.attempts),)
    told = {**(progress or {}), "resuming": True, "crash_count": 0}
    if wait.token_id is None:
        ready = wait.until
        fields = {**_left(JobStatus.WAITING, ready=ready), **told, "wait_until": ready}
        return (_finish(run, Verb.PARK, fields, EventType.WAITING, wait.facts(), put=put),)
    open_still = Need(Kind.TOKEN, wait.token_id, {"status": (TokenStatus.WAITING,)})
    fields = {**_left(JobStatus.WAITING, ready=None), **told, "wait_token_id": wait.token_id}
    again = {**_left(JobStatus.PENDING, ready=After()), **told}
    facts = {"reason": "token_closed", **wait.facts()}
    return (
        _finish(run, Verb.PARK, fields, EventType.WAITING, wait.facts(), needs=(open_still,), put=put),
        _finish(run, Verb.PARK, again, EventType.RELEASED, facts, put=put),
    )


def record(run: Execution, *put: Owned, spawn: NewJob | None = None) -> Change:
    """Store what an execution has done beside its job: steps, tokens, lines of its log, a job that it spawned."""
    return Change(verb=Verb.RECORD, id=run.job_id, guard={"claim_seq": (run.claim_seq,)}, put=put, spawn=spawn)


def prolong(run: Execution, seconds: float, *, why: str) -> Change:
    """The handler has been given `seconds` from now on; `locked_at` moves, so that nobody takes it for stuck."""
    return Change(
        verb=Verb.PROLONG,
        id=run.job_id,
        guard={"claim_seq": (run.claim_seq,)},
        set={"locked_at": After(), "updated_at": After()},
        event=EventType.PROLONGED,
        metadata={"timeoutMs": round(seconds * 1000), "reason": why},
    )


def reclaim(
    run: Execution,
    *,
    crash_limit: int = CRASH_LIMIT,
    backoff: float = 0.0,
    message: str = "the worker process was lost",
    progress: Mapping[str, Any] | None = None,
) -> Change:
    """The process of a job that had begun is gone: ready again, or failed when attempts or crashes are used up.

    `backoff` is the delay in seconds from the second crash on; the first comes back at once.
    """
    crashes = run.crash_count + 1
    fault = Fault(reason=FailureReason.WORKER_LOST, type="WorkerLost", message=message)
    return _take_back(
        run,
        fault,
        final=run.attempts >= run.max_attempts or crashes >= crash_limit,
        ready=After(backoff if crashes > 1 else 0.0),
        fields={**(progress or {}), "crash_count": Add(1)},
        metadata={"crashes": crashes},
    )


def take_away(run: Execution, *, held_for: float) -> Change:
    """The job is taken from a worker that lives: ready again at once, or failed when its attempts are used up.

    It was held for `held_for` seconds. The attempt counts, but nothing crashed.
    """
    message = f"taken back by request after {held_for:.0f} s, while its worker was alive"
    fault = Fault(reason=FailureReason.WORKER_LOST, type="TakenAway", message=message)
    final = run.attempts >= run.max_attempts
    return _take_back(run, fault, final=final, ready=After(), fields={}, metadata={"forced": True})


def stopped(run: Execution, *, progress: Mapping[str, Any] | None = None) -> Alternatives:
    """The handler stopped because somebody asked for it: the job is cancelled, in the name of who asked.

    Should the request be gone, the job is cancelled all the same, since its handler has been cut off.
    """
    change = _finish(run, Verb.CANCEL, {**(progress or {}), **_cancelled()}, EventType.CANCELLED)
    return _as_asked(change), change


def or_cancelled(item: Alternatives) -> Alternatives:
    """Put before what would let a job run again that it is cancelled instead, if somebody has asked for that.

    What completes a job, or fails it for good, stays alone: the handler came to its end before the request took hold.
    The cancelled job keeps what the execution leaves behind: its progress, its error, its step.
    """
    first = item[0]
    if not any(_may_run_again(change) for change in item):
        return item
    kept = {name: value for name, value in first.set.items() if name not in ("wait_until", "wait_token_id")}
    told = {key: value for key, value in (first.metadata or {}).items() if key in ("failureReason", "error")}
    change = replace(
        first,
        verb=Verb.CANCEL,
        set={**kept, **_cancelled()},
        event=EventType.CANCELLED,
        metadata=told or None,
        needs=(),
    )
    return _as_asked(change), *item


def write_progress(run: Execution, progress: Mapping[str, Any]) -> Change:
    """Store what the handler reported so far; the job goes on."""
    return Change(verb=Verb.PROGRESS, id=run.job_id, guard={"claim_seq": (run.claim_seq,)}, set=dict(progress))


def _take_back(
    run: Execution,
    fault: Fault,
    *,
    final: bool,
    ready: After,
    fields: Mapping[str, Any],
    metadata: Mapping[str, JSON],
) -> Change:
    """The attempt is lost with nobody to report it: another one follows, unless this was the last."""
    lost: dict[str, Any] = {
        **fields,
        "failure_reason": fault.reason.value,
        "last_failed_at": After(),
        "error_history": Append(fault.entry(run.attempts), KEPT_ERRORS),
    }
    if final:
        facts = {"willRetry": False, "failureReason": fault.reason.value, **metadata}
        return _finish(run, Verb.RECLAIM, {**_ended(JobStatus.FAILED), **lost}, EventType.FAILED, facts)
    pending = {**_left(JobStatus.PENDING, ready=ready), **lost}
    return _finish(run, Verb.RECLAIM, pending, EventType.RECLAIMED, dict(metadata))


def _left(status: JobStatus, *, ready: After | datetime | None) -> dict[str, Any]:
    """The fields of a job that leaves processing and will be claimable again, from `ready` on if that is a time."""
    return {
        "status": status,
        "claim_seq": Add(1),
        "ready_at": ready,
        "updated_at": After(),
        "worker_id": None,
        "locked_by": None,
        "locked_at": None,
    }


def _ended(status: JobStatus) -> dict[str, Any]:
    """The fields of a job that leaves processing for good."""
    return {**_left(status, ready=After()), "ready_at": None, "finished_at": After(), "resuming": False}


def _cancelled() -> dict[str, Any]:
    return {**_ended(JobStatus.CANCELLED), "last_cancelled_at": After()}


def _may_run_again(change: Change) -> bool:
    """Whether a job that leaves processing by this change is one that runs again, by itself or once it is woken."""
    status = change.set.get("status")
    waits = status is JobStatus.FAILED and change.set["ready_at"] is not None
    return waits or status in (JobStatus.PENDING, JobStatus.WAITING)


def _as_asked(change: Change) -> Change:
    """Make a change of a job one that a request stands for. Any request of the job will do: each is about the job."""
    return replace(change, needs=(Need(Kind.CANCEL, change.id),), as_asked=True, withdraw=True)


def _finish(
    run: Execution,
    verb: Verb,
    fields: dict[str, Any],
    event: EventType,
    metadata: JSON = None,
    *,
    needs: tuple[Need, ...] = (),
    put: tuple[Step, ...] = (),
) -> Change:
    return Change(
        verb=verb,
        id=run.job_id,
        guard={"claim_seq": (run.claim_seq,)},
        set=fields,
        event=event,
        metadata=metadata,
        needs=needs,
        put=put,
    )
