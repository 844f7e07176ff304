"""What one worker does about statistics for all: counts events, measures queues, folds minutes, drops what is old.

Each is a duty, done once in a while by whoever takes it. Should two do it at once after all, the rows of one are
refused: they are written together with what the duty remembers, and only where it still remembers what they were made
from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
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

OLDEST = 1_000_000
"""Ids of events that are counted, at most, where nobody has counted before."""

MOST_ROWS = 1000
SECONDS = 0.5
"""The longest one round of a duty takes; the rest waits for the next."""

OF_ALL = 0
"""The writer of rows that are no worker's."""

Did = tuple[Mapping[str, int], JSON]
"""What a duty did, as numbers for people, and what it remembers from now on."""

Work = Callable[[JSON], Did]
"""A duty's work, given what it remembered."""


def statistics_duties(store: Store, kept: RetentionSettings) -> list[tuple[str, float, Work]]:
    """Return the duties of statistics: the name of each, how many seconds apart it is done, and its work."""
    return [
        (COUNTING, 30.0, partial(count_events, store)),
        (MEASURING, 60.0, partial(measure_queues, store)),
        (FOLDING, 300.0, partial(fold, store, kept)),
    ]


# -- counting


def count_events(store: Store, memory: JSON) -> Did:
    """Count jobs added and cancelled, and attempts lost, from the events that were there the last time.

    An id is counted one round after it was the highest to be seen, so that lower ones have until then to be committed.
    """
    head = store.last_event_id()
    begin = max(0, head - OLDEST)
    counted, upto = (memory["counted"], memory["head"]) if memory else (begin, begin)
    until, events = time.monotonic() + SECONDS, 0
    while counted < upto and time.monotonic() < until:
        end = min(counted + LOT, upto)
        found = store.count_events(FOUND_IN_EVENTS, after=counted, upto=end)
        moved = {"counted": end, "head": upto}
        if not _write(store, COUNTING, memory, moved, _grown(store, found)):
            return {"counted_events": events}, memory
        counted, memory = end, moved
        events += sum(found.values())
    moved = {"counted": counted, "head": head if counted == upto else upto}
    if moved != memory and _write(store, COUNTING, memory, moved):
        memory = moved
    return {"counted_events": events}, memory


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


def measure_queues(store: Store, memory: JSON) -> Did:
    """Note how many jobs are in each condition, by queue, once a minute; nothing where there are none."""
    now = store.now()
    done = {"minute": bucket_of(now, Resolution.MINUTE).isoformat()}
    gauges = [] if memory == done else store.measure(now=now)
    if not gauges:
        return {}, memory
    alive = [worker for worker in store.find(Kind.WORKER, expired_at=None) if not is_silent(worker, now)]
    if not _write(store, MEASURING, memory, done, [_with_workers(gauge, alive) for gauge in gauges]):
        return {}, memory
    return {"measured_queues": len(gauges)}, done


def _with_workers(gauge: QueueGauge, alive: Iterable[Worker]) -> QueueGauge:
    return replace(gauge, workers=sum(serves(worker, gauge.queue) for worker in alive))


# -- folding


def fold(store: Store, kept: RetentionSettings, memory: JSON) -> Did:
    """Make hours of minutes and days of hours where anything was written, and delete what is kept no longer."""
    before, now, until = Folded.of(memory), store.now(), time.monotonic() + SECONDS
    # Who was at it before, and still is, is refused from now on: it may have read rows that have grown since.
    taken = {**before.state(), "taken_at": now.isoformat()}
    if not _write(store, FOLDING, memory, taken):
        return {}, memory
    memory = taken
    hours = before.hours_to_fold(store.stat_buckets(Resolution.MINUTE, updated_since=before.look_from))
    done = 0
    while done < len(hours) and time.monotonic() < until:
        if not _fold_into(store, memory, Resolution.HOUR, hours[done]):
            return {}, memory
        done += 1
    for day in before.days_to_fold(hours[:done]):
        if not _fold_into(store, memory, Resolution.DAY, day):
            return {}, memory
    after = before.moved(now, left=hours[done:], minutes=_days(kept.stats_minutes), hours=_days(kept.stats_hours))
    # First that minutes may be gone, then that they go: an hour must not be made of those that are left.
    if not _write(store, FOLDING, memory, after.state()):
        return {}, memory
    return {"folded_hours": done, "deleted_statistics": _delete_old(store, after, kept, now)}, after.state()


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
