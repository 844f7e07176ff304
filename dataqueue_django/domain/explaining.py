"""Why a job is where it is, above all: why is it not running?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .admission import Use
from .backlog import Obstacle, obstacle_to
from .controls import Controls
from .holding_back import is_held, pause_of_job, what_holds_back
from .lifecycle import State, state_of
from .liveness import is_silent, serves
from .records import CancelRequest, Job, Worker
from .wording import because, by, number, span, time

NO_CONTROLS = Controls()


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


def is_due(job: Job, now: datetime) -> bool:
    """Return whether a worker could take a job now, as far as the job itself is concerned."""
    state = state_of(job, now)
    due = job.ready_at is not None and job.ready_at <= now and not is_held(job, now)
    return state is State.READY or (due and state in (State.WAITING, State.RETRYING))


def explain(
    job: Job,
    workers: Sequence[Worker],
    busy: Mapping[int, int],
    *,
    now: datetime,
    known: bool = True,
    request: CancelRequest | None = None,
    controls: Controls = NO_CONTROLS,
    uses: Sequence[Use] = (),
) -> Explanation:
    """Return why `job` is where it is at `now`.

    `busy` says how many jobs each worker holds that `questions` asked for; `known` whether the code here has a handler
    for the job's type; `request` that somebody has asked it to stop; `controls` which pauses there are, and `uses` how
    the limits over the job stand.
    """
    state = state_of(job, now)
    held = pause_of_job(job) if is_held(job, now) else None
    if held is None and is_due(job, now):
        held = what_holds_back(job, controls, uses, now)
        if held is None:
            return _ready(state, job, workers, busy, now, known)
    if held is not None:
        reason, text, facts = held
        return Explanation(state=state, reason=reason, text=text, facts={**_facts(job), **facts})
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
        return word, f"{what} in {span(job.ready_at - now)}, at {time(job.ready_at)}."
    if state is State.BLOCKED:
        return "blocked", f"It waits for {number(job.open_dependencies, 'other job')} to complete."
    if state is State.WAITING:
        if job.wait_until is not None:
            return "waiting", f"Its handler waits until {time(job.wait_until)}."
        return "waiting", f"Its handler waits for the token {job.wait_token_id} to be completed."
    if state is State.FAILED:
        why = f" ({job.failure_reason})" if job.failure_reason else ""
        return (
            "failed",
            f"It failed for good in attempt {job.attempts} of {job.max_attempts}{why}; it can be retried.",
        )
    if state is State.CANCELLED:
        return "cancelled", f"It was cancelled at {time(job.last_cancelled_at)}; it can be retried."
    return "completed", f"It completed at {time(job.finished_at)}."


def _processing(job: Job, workers: Sequence[Worker], now: datetime) -> Explanation:
    holder = next((worker for worker in workers if worker.id == job.worker_id), None)
    facts = {**_facts(job), "worker": job.locked_by}
    since = span(now - job.locked_at) if job.locked_at else "an unknown time"
    if holder is None or holder.expired_at is not None:
        return Explanation(
            state=State.PROCESSING,
            reason="worker_gone",
            text=f"Its worker {job.locked_by!r} is gone; the next live worker takes the job back.",
            facts=facts,
        )
    if is_silent(holder, now):
        silence = span(now - holder.last_beat_at) if holder.last_beat_at else "a while"
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
    when, why = time(request.created_at), because(request.reason)
    text = f"{found.text} It was asked to stop{by(request.actor)} at {when}{why}."
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
