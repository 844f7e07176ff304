"""What a resident worker does by itself, done on request: jobs are run, taken back, cleaned up, tokens expired."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from django.http import HttpRequest

from .. import conf
from ..domain.records import ENDED
from ..queue import JobQueue
from ..queue.cleaning import BY_AGE, MOST_DAYS
from ..queue.reclaiming import MOST_MINUTES
from ..queue.taking_back import seconds_of_watching
from .asking import Read, alias, asked, names, number, queue_of, seconds, text, whole_number, yes_or_no
from .guard import endpoint

MOST_JOBS, MOST_SLOTS = 1000, 100
SHORTEST_AGE = 0.01
"""Days: deleting all that has ended is nothing for a link that somebody's cron calls."""

STATUSES = tuple(field.name for field in fields(conf.RetentionSettings) if field.name in ENDED)

COMMON: dict[str, Read] = {"alias": alias, "seconds": seconds}
PROCESS: dict[str, Read] = {
    **COMMON,
    "batchSize": whole_number(1, MOST_JOBS),
    "concurrency": whole_number(1, MOST_SLOTS),
    "queues": names,
    "jobTypes": names,
    "jobType": names,
    "workerId": text,
    "verbose": yes_or_no,
}
RECLAIM: dict[str, Read] = {**COMMON, "maxProcessingTimeMinutes": number(0.1, MOST_MINUTES)}
CLEANUP: dict[str, Read] = {**COMMON, "daysToKeep": number(SHORTEST_AGE, MOST_DAYS)}

Facts = dict[str, Any]


@endpoint("GET", "POST")
def process(request: HttpRequest) -> Facts:
    """Run one batch of jobs (DataQueue "Process Jobs"); what does not end in time is given back."""
    given = asked(request, PROCESS)
    processor = queue_of(given).create_processor(
        worker_id=given.get("workerId"),
        queues=given.get("queues", ()),
        job_types=given.get("jobTypes", given.get("jobType", ())),
        batch_size=given.get("batchSize"),
        concurrency=given.get("concurrency"),
    )
    processed = processor.start(within=_seconds(given))
    return {"message": "Job processing completed", "processed": processed, "givenBack": processor.given_back}


@endpoint("GET", "POST")
def reclaim(request: HttpRequest) -> Facts:
    """Take back the jobs of workers that are gone (DataQueue "Reclaim Jobs")."""
    given = asked(request, RECLAIM)
    return {"message": "Stuck jobs reclaimed", **_reclaim(queue_of(given), given)}


@endpoint("GET", "POST")
def cleanup(request: HttpRequest) -> Facts:
    """Delete old jobs and events (DataQueue "Cleanup Jobs"), batch by batch, until the time is over."""
    given = asked(request, CLEANUP)
    return {"message": "Old jobs cleaned up", **_cleanup(queue_of(given), given)}


@endpoint("GET", "POST")
def expire(request: HttpRequest) -> Facts:
    """Close the tokens whose time is up."""
    given = asked(request, COMMON)
    return {"message": "Timed out tokens expired", **_expire(queue_of(given), given)}


@endpoint("GET", "POST")
def maintenance(request: HttpRequest) -> Facts:
    """Do everything but run jobs: for a call every few minutes. The steps share the time."""
    given = asked(request, {**RECLAIM, **CLEANUP})
    queue, until = queue_of(given), time.monotonic() + _seconds(given)
    facts: Facts = {}
    for step in (_enqueue, _expire, _reclaim, _cleanup):
        facts |= step(queue, {**given, "seconds": until - time.monotonic()})
    return {"message": "Maintenance completed", **facts}


def _seconds(given: Mapping[str, Any]) -> float:
    allowed = conf.project().cron_seconds
    return float(given.get("seconds", allowed))


def _reclaim(queue: JobQueue, given: Mapping[str, Any]) -> Facts:
    """Workers that fell silent are watched where there is time for it; `observed` says whether there was."""
    minutes = given.get("maxProcessingTimeMinutes", 10)
    observed = seconds_of_watching(queue.settings.worker.lease) <= _seconds(given)
    return {"reclaimed": queue.reclaim_stuck_jobs(minutes, observe=observed), "observed": observed}


def _enqueue(queue: JobQueue, _: Mapping[str, Any]) -> Facts:
    return {"enqueued": queue.enqueue_due_cron_jobs()}


def _expire(queue: JobQueue, _: Mapping[str, Any]) -> Facts:
    return {"expired": queue.expire_timed_out_tokens()}


def _cleanup(queue: JobQueue, given: Mapping[str, Any]) -> Facts:
    """Delete what `daysToKeep` says, or RETENTION; the counts are of finished batches."""
    counting = _Counting(time.monotonic() + _seconds(given))
    kept = queue.settings.retention
    days = given.get("daysToKeep")
    due = {"completed": days} if days is not None else {name: getattr(kept, name) for name in STATUSES}
    by_age = {name: getattr(kept, name) for name in BY_AGE} if days is None else {}
    try:
        for status, age in due.items():
            if age is not None:
                queue.cleanup_old_jobs(age, statuses=(status,), on_batch=counting.of("deleted"))
        for name, age in by_age.items():
            if age is not None:
                BY_AGE[name](queue, age, on_batch=counting.of(f"deleted{name.capitalize()}"))
    except _TimeIsUp:
        return {**counting.counts, "done": False}
    return {**counting.counts, "done": True}


class _TimeIsUp(Exception):
    """Ends a deletion between two batches."""


class _Counting:
    """Counts what batches delete, and ends after the one in which the time is up."""

    def __init__(self, until: float) -> None:
        self.counts = {"deleted": 0, **{f"deleted{name.capitalize()}": 0 for name in BY_AGE}}
        self._until = until

    def of(self, key: str) -> Callable[[int], None]:
        """Return what counts the batches of one kind."""

        def on_batch(number: int) -> None:
            self.counts[key] += number
            if time.monotonic() >= self._until:
                raise _TimeIsUp

        return on_batch
