"""What one worker does about statistics for all: counts events, measures queues, folds minutes, drops what is old.

Each is a duty: a function of the store that returns what it did, to be called once in a while by whoever takes it.
Should two do it at once after all, the rows of one are refused: they are written together with what the duty remembers,
and only where it still remembers what they were made from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from ..conf import RetentionSettings
from ..domain.changes import Change, Owned, Verb
from ..domain.folding import COUNTING, FOLDING, MEASURING, Folded, counts_in, folded, next_bucket
from ..domain.liveness import is_silent, serves
from ..domain.records import JSON, Counts, Kind, QueueGauge, QueueStat, Resolution, Worker
from ..domain.statistics import FOUND_IN_EVENTS, Found, bucket_of, counts_of, total
from ..stores import Store
from ..stores.base import chunks

LOT = 20_000
"""Ids of events that one statement looks at."""

MOST_ROWS = 1000
SECONDS = 0.5
"""The longest one round of a duty takes; the rest waits for the next."""

OF_ALL = 0
"""The writer of rows that are no worker's."""

Work = Callable[[Store], Mapping[str, JSON]]
"""A duty's work: returns what it did."""


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A duty: its name, how many seconds apart it is done, and what is done."""

    name: str
    period: float
    work: Work


def statistics_duties(kept: RetentionSettings) -> tuple[Recurrent, ...]:
    """Return the duties of statistics."""
    return (
        Recurrent(COUNTING, 30.0, count_events),
        Recurrent(MEASURING, 60.0, measure_queues),
        Recurrent(FOLDING, 300.0, partial(fold, kept=kept)),
    )


# -- counting


def count_events(store: Store) -> Mapping[str, JSON]:
    """Count jobs added and cancelled, and attempts lost, from the events that were there the last time.

    An id is counted one round after it was the highest to be seen, so that lower ones have until then to be committed.
    """
    memory = _state(store, COUNTING)
    head = store.last_event_id()
    counted, upto = (memory["counted"], memory["head"]) if memory else (0, 0)
    until, events = time.monotonic() + SECONDS, 0
    while counted < upto and time.monotonic() < until:
        end = min(counted + LOT, upto)
        found = store.count_events(FOUND_IN_EVENTS, after=counted, upto=end)
        moved = {"counted": end, "head": upto}
        if not _write(store, COUNTING, memory, moved, _grown(store, found)):
            return {"events": events}
        counted, memory = end, moved
        events += sum(found.values())
    if counted == upto != head:
        _write(store, COUNTING, memory, {"counted": counted, "head": head})
    return {"events": events}


def _grown(store: Store, found: Mapping[Found, int]) -> list[QueueStat]:
    """The rows that count what was found, each with what it counts already."""
    more = counts_of(found)
    if not more:
        return []
    minutes = [minute for minute, _, _ in more]
    until = next_bucket(max(minutes), Resolution.MINUTE)
    there = store.stats(Resolution.MINUTE, since=min(minutes), until=until, writer=OF_ALL)
    before = {(row.bucket, row.queue, row.job_type): row for row in there}
    return [
        QueueStat(
            **counts_in(total((before.get((minute, queue, job_type), Counts()), counts))),
            resolution=Resolution.MINUTE,
            bucket=minute,
            queue=queue,
            job_type=job_type,
        )
        for (minute, queue, job_type), counts in more.items()
    ]


# -- measuring


def measure_queues(store: Store) -> Mapping[str, JSON]:
    """Note how many jobs are in each condition, by queue, once a minute; nothing where there are none."""
    now = store.now()
    minute = bucket_of(now, Resolution.MINUTE)
    memory = _state(store, MEASURING)
    found = store.measure(now=now)
    now_remembered = {"bucket": minute.isoformat()}
    if memory == now_remembered or not found:
        return {"queues": 0}
    alive = [worker for worker in store.find(Kind.WORKER, expired_at=None) if not is_silent(worker, now)]
    gauges = [_with_workers(gauge, alive) for gauge in found]
    written = _write(store, MEASURING, memory, now_remembered, gauges)
    return {"queues": len(gauges) if written else 0}


def _with_workers(gauge: QueueGauge, alive: Iterable[Worker]) -> QueueGauge:
    return replace(gauge, workers=sum(serves(worker, gauge.queue) for worker in alive))


# -- folding


def fold(store: Store, *, kept: RetentionSettings) -> Mapping[str, JSON]:
    """Make hours of minutes and days of hours where anything was written, and delete what is kept no longer."""
    memory = _state(store, FOLDING)
    before, now, until = Folded.of(memory), store.now(), time.monotonic() + SECONDS
    written = store.stat_buckets(Resolution.MINUTE, updated_since=before.look_from)
    hours, done = before.hours_to_fold(written), 0
    for hour in hours:
        if time.monotonic() > until or not _fold_into(store, memory, Resolution.HOUR, hour):
            break
        done += 1
    for day in before.days_to_fold(hours[:done]):
        if not _fold_into(store, memory, Resolution.DAY, day):
            return {"hours": done, "deleted": 0}
    after = before.moved(now, left=hours[done:], minutes=_days(kept.stats_minutes), hours=_days(kept.stats_hours))
    # First that minutes may be gone, then that they go: an hour must not be made of those that are left.
    if not _write(store, FOLDING, memory, after.state()):
        return {"hours": done, "deleted": 0}
    return {"hours": done, "deleted": _delete_old(store, after, kept, now)}


def _fold_into(store: Store, memory: JSON, resolution: Resolution, bucket: datetime) -> bool:
    """Write the rows of a bucket anew; returns whether this is still anybody's to do."""
    fine = Resolution.MINUTE if resolution is Resolution.HOUR else Resolution.HOUR
    rows = folded(store.stats(fine, since=bucket, until=next_bucket(bucket, resolution)), resolution, bucket)
    return all(_write(store, FOLDING, memory, memory, lot) for lot in chunks(rows, MOST_ROWS))


def _delete_old(store: Store, progress: Folded, kept: RetentionSettings, now: datetime) -> int:
    days, gauges = _days(kept.stats_days), _days(kept.gauges)
    deletions: list[tuple[Callable[..., int], datetime | None]] = [
        (partial(store.delete_stats, Resolution.MINUTE), progress.minutes_from),
        (partial(store.delete_stats, Resolution.HOUR), progress.hours_from),
        (partial(store.delete_stats, Resolution.DAY), None if days is None else now - days),
        (store.delete_gauges, None if gauges is None else now - gauges),
    ]
    until, total_deleted = time.monotonic() + SECONDS, 0
    for delete, before in deletions:
        deleted = MOST_ROWS
        while before is not None and deleted == MOST_ROWS and time.monotonic() < until:
            deleted = delete(before=before, limit=MOST_ROWS)
            total_deleted += deleted
    return total_deleted


def _days(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)


# -- what duties remember


def _state(store: Store, name: str) -> JSON:
    """What a duty remembers; nothing the first time."""
    duty = store.fetch(Kind.DUTY, name)
    return None if duty is None else duty.state


def _write(store: Store, name: str, memory: JSON, state: JSON, rows: Collection[Owned] = ()) -> bool:
    """Store rows, and what a duty remembers from now on, if it still remembers what they were made from."""
    change = Change(
        kind=Kind.DUTY,
        verb=Verb.DUTY,
        id=name,
        guard={"state": (memory,)},
        set={"state": state},
        put=tuple(rows),
    )
    return store.commit([(change,)])[0].applied
