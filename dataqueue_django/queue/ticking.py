"""Firing the schedules that are due: a step of one schedule in one transaction, whoever takes it."""

from __future__ import annotations

import logging
import random
import time
from datetime import datetime
from functools import partial

from ..announcing import Announce, announcer
from ..domain.changes import Alternatives
from ..domain.records import CronSchedule, EventType, Job, NewJob, Overlap
from ..domain.schedules import fire, give_up, job_of, job_options, run_now, timing_of
from ..domain.scheduling import Advance, advance
from ..exceptions import DataQueueError
from .base import QueueBase, tell_of
from .catching_up import see_to

LOT = 1000

logger = logging.getLogger("dataqueue_django.schedules")


def enqueue_due(queue: QueueBase, announce: Announce | None = None, *, within: float | None = None) -> int:
    """Add the jobs of all ticks that are due, and return how many were added; at most for `within` seconds.

    A schedule that somebody else fires or changes at the moment is left to them, or to the next time. One whose jobs
    cannot be made any more, since its options do not fit those of the handler, say, is paused with the reason.
    """
    announce = announce or announcer(queue.store)
    until = None if within is None else time.monotonic() + within
    total = 0
    while True:
        due = queue.store.due_schedules(limit=LOT)
        random.shuffle(due)  # workers that look at the same moment meet less
        moved = False
        for schedule in due:
            added = _step(queue, schedule, announce)
            moved = moved or added is not None
            total += added or 0
            if until is not None and time.monotonic() > until:
                return total
        if not moved:
            return total


def add_now(queue: QueueBase, schedule: CronSchedule, *, actor: str) -> tuple[bool, int | None]:
    """Add a job of a schedule at once; returns whether the schedule was as given, and the job's id, if one was added.

    Raises InvalidJob where no such job could be added.
    """
    job = job_now(queue, schedule)
    previous = _previous(queue, schedule)
    item = run_now(schedule, job, actor=actor, previous=previous)
    return _commit(queue, item, job, previous, announcer(queue.store))


def job_now(queue: QueueBase, schedule: CronSchedule) -> NewJob:
    """Return the job that a schedule would add at once; raises InvalidJob where it could not."""
    return _job(queue, schedule, None)


def _step(queue: QueueBase, schedule: CronSchedule, announce: Announce) -> int | None:
    """Take a step of a due schedule; returns how many jobs were added, None if somebody else was at it."""
    step, job = _next_step(queue, schedule)
    if step is None:
        return None
    previous = _previous(queue, schedule)
    applied, added = _commit(queue, fire(schedule, step, job, previous), job, previous, announce)
    return (added is not None) if applied else None


def _next_step(queue: QueueBase, schedule: CronSchedule) -> tuple[Advance | None, NewJob | None]:
    try:
        step = advance(timing_of(schedule), schedule.next_run_at or schedule.created_at, queue.store.now())
        return step, None if step.tick is None else _job(queue, schedule, step.tick)
    except DataQueueError as why:
        logger.error("schedule %s is paused: %s", schedule.schedule_name, why)
        queue.store.commit([give_up(schedule, str(why))], wait=False)
        return None, None


def _job(queue: QueueBase, schedule: CronSchedule, tick: datetime | None) -> NewJob:
    handler = queue.handlers.get(schedule.job_type)
    options = job_options(schedule)
    if handler is not None:
        options = options.over(handler.options)
    return job_of(schedule, options.over(queue.settings.job_defaults), tick)


def _previous(queue: QueueBase, schedule: CronSchedule) -> Job | None:
    """The last job of a schedule whose next one would replace it."""
    if schedule.overlap is not Overlap.REPLACE or schedule.last_job_id is None:
        return None
    found = queue.store.get([schedule.last_job_id])
    return found[0] if found and not found[0].is_terminal else None


def _commit(
    queue: QueueBase, item: Alternatives, job: NewJob | None, previous: Job | None, announce: Announce
) -> tuple[bool, int | None]:
    [answer] = queue.store.commit([item], wait=False)
    if job is not None and answer.spawned is not None:
        tell_of(queue, [(answer.spawned, job)], announce)
        replacing = item[answer.choice or 0].then
        if previous is not None and replacing:
            _tell_of_replaced(queue, previous, replacing[0].event, announce)
    return answer.applied, answer.spawned


def _tell_of_replaced(queue: QueueBase, previous: Job, event: EventType | None, announce: Announce) -> None:
    if event is EventType.CANCEL_REQUESTED:
        queue.store.on_commit(partial(see_to, queue.store, previous.id, previous.claim_seq))
    if event is not None:
        announce(event, job_id=previous.id, job_type=previous.job_type, queue=previous.queue)
