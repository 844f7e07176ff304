"""Why a job is where it is, above all: why is it not running?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from .backlog import Obstacle, obstacle_to
from .lifecycle import State, state_of
from .liveness import is_silent, serves
from .records import CancelRequest, Job, Worker


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The answer: the state, a word a program can switch on, one sentence for people, and the facts behind it."""

    state: State
    reason: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def questions(job: Job, workers: Sequence[Worker]) -> tuple[int, ...]:
    """Return the ids of the workers of which it matters how many jobs they hold."""
    return tuple(worker.id for worker in workers if worker.expired_at is None and _would_take(worker, job))


def explain(
    job: Job,
    workers: Sequence[Worker],
    busy: Mapping[int, int],
    *,
    now: datetime,
    known: bool = True,
    request: CancelRequest | None = None,
) -> Explanation:
    """Return why `job` is where it is at `now`.

    `busy` says how many jobs each worker holds that `questions` asked for; `known` whether the code here has a handler
    for the job's type; `request` that somebody has asked it to stop.
    """
    state = state_of(job, now)
    due = job.ready_at is not None and job.ready_at <= now
    if state is State.READY or (due and state in (State.WAITING, State.RETRYING)):
        return _ready(state, job, workers, busy, now, known)
    if state is State.PROCESSING:
        found = _processing(job, workers, now)
        return found if request is None else _asked(found, request)
    reason, text = _standing(state, job, now)
    return Explanation(state=state, reason=reason, text=text, facts=_facts(job))


def _standing(state: State, job: Job, now: datetime) -> tuple[str, str]:
    """The reason and the sentence for a job that nobody has and nobody could take now."""
    if state in (State.DELAYED, State.RETRYING) and job.ready_at is not None:
        what = "It runs" if state is State.DELAYED else f"Attempt {job.attempts} failed; the next one comes"
        word = "delayed" if state is State.DELAYED else "retrying"
        return word, f"{what} in {_span(job.ready_at - now)}, at {_time(job.ready_at)}."
    if state is State.BLOCKED:
        return "blocked", f"It waits for {_number(job.open_dependencies, 'other job')} to complete."
    if state is State.PAUSED:
        return "paused", f"It was paused{_by(job.paused_by)}; it runs once it is resumed."
    if state is State.WAITING:
        if job.wait_until is not None:
            return "waiting", f"Its handler waits until {_time(job.wait_until)}."
        return "waiting", f"Its handler waits for the token {job.wait_token_id} to be completed."
    if state is State.FAILED:
        why = f" ({job.failure_reason})" if job.failure_reason else ""
        return (
            "failed",
            f"It failed for good in attempt {job.attempts} of {job.max_attempts}{why}; it can be retried.",
        )
    if state is State.CANCELLED:
        return "cancelled", f"It was cancelled at {_time(job.last_cancelled_at)}; it can be retried."
    return "completed", f"It completed at {_time(job.finished_at)}."


def _processing(job: Job, workers: Sequence[Worker], now: datetime) -> Explanation:
    holder = next((worker for worker in workers if worker.id == job.worker_id), None)
    facts = {**_facts(job), "worker": job.locked_by}
    since = _span(now - job.locked_at) if job.locked_at else "an unknown time"
    if holder is None or holder.expired_at is not None:
        return Explanation(
            state=State.PROCESSING,
            reason="worker_gone",
            text=f"Its worker {job.locked_by!r} is gone; the next live worker takes the job back.",
            facts=facts,
        )
    if is_silent(holder, now):
        silence = _span(now - holder.last_beat_at) if holder.last_beat_at else "a while"
        return Explanation(
            state=State.PROCESSING,
            reason="worker_silent",
            text=f"Its worker {job.locked_by!r} has been silent for {silence}; a live worker will take the job back.",
            facts=facts,
        )
    text = f"It has been running for {since} on {job.locked_by!r}, attempt {job.attempts} of {job.max_attempts}."
    return Explanation(state=State.PROCESSING, reason="running", text=text, facts=facts)


def _asked(found: Explanation, request: CancelRequest) -> Explanation:
    """The same of a job that somebody has asked to stop; where its worker is gone, that is what matters."""
    why = f": {request.reason}" if request.reason else ""
    text = f"{found.text} It was asked to stop{_by(request.actor)} at {_time(request.created_at)}{why}."
    facts = {**found.facts, "asked_at": request.created_at, "asked_by": request.actor, "asked_why": request.reason}
    reason = "asked_to_stop" if found.reason == "running" else found.reason
    return replace(found, reason=reason, text=text, facts=facts)


def _ready(
    state: State, job: Job, workers: Sequence[Worker], busy: Mapping[int, int], now: datetime, known: bool
) -> Explanation:
    """A job that could run now: find who would take it, and what keeps them from it."""
    alive = [worker for worker in workers if worker.expired_at is None and not is_silent(worker, now)]
    taking = [worker for worker in alive if _would_take(worker, job) and worker.stopping_at is None]
    free = [worker for worker in taking if busy.get(worker.id, 0) < worker.concurrency]
    obstacle = obstacle_to(job.queue, job.job_type, alive)
    reason, text = (obstacle.value, _says(obstacle, job, known)) if obstacle else _turn(job, taking, free)
    counts = {"alive": len(alive), "suitable": len(taking), "free": len(free)}
    return Explanation(state=state, reason=reason, text=text, facts={**_facts(job), "workers": counts})


def _says(obstacle: Obstacle, job: Job, known: bool) -> str:
    """The sentence for a job that no live worker will take."""
    if obstacle is Obstacle.NO_WORKER:
        return "No worker is running; start one with `manage.py dataqueue_worker`."
    if obstacle is Obstacle.NO_WORKER_FOR_QUEUE:
        return f"No running worker takes jobs of the queue {job.queue!r}."
    hint = "" if known else "; this code has no handler for it either"
    return f"No running worker knows the job type {job.job_type!r}{hint}."


def _turn(job: Job, taking: Sequence[Worker], free: Sequence[Worker]) -> tuple[str, str]:
    """What a job waits for that a live worker would take."""
    if not taking:
        return "workers_stopping", "Every worker that could take it is stopping."
    if not free:
        who = (
            "The only worker that could take it is"
            if len(taking) == 1
            else f"All {len(taking)} workers that could take it are"
        )
        return "workers_busy", f"{who} busy; it is waiting for its turn."
    if job.crash_count:
        return (
            "runs_alone",
            "It took a worker down with it before, so it waits for one that has nothing else to do.",
        )
    return "next", "A free worker will take it in a moment, jobs of higher priority first."


def _would_take(worker: Worker, job: Job) -> bool:
    return serves(worker, job.queue) and job.job_type in worker.job_types


def _facts(job: Job) -> dict[str, Any]:
    return {
        "queue": job.queue,
        "job_type": job.job_type,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "ready_at": job.ready_at,
    }


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _by(actor: str | None) -> str:
    return f" by {actor}" if actor else ""


def _time(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else moment.isoformat(sep=" ", timespec="seconds")


def _span(duration: timedelta) -> str:
    """Return a duration in the two largest units that matter."""
    seconds = max(0, round(duration.total_seconds()))
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds} s"
