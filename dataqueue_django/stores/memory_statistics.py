"""Statistics in one process's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from ..domain.changes import dated
from ..domain.records import EventType, Job, JobEvent, JobStatus, QueueGauge, QueueStat, Resolution
from ..domain.statistics import Found, bucket_of
from .statistics import KeepsStatistics

StatKey = tuple[Resolution, datetime, str, str, int]


class MemoryStatistics(KeepsStatistics):
    """The part of the memory store that keeps and takes counts."""

    _lock: RLock
    _jobs: dict[int, Job]
    _events: list[JobEvent]

    def __init__(self) -> None:
        self._stats: dict[StatKey, QueueStat] = {}
        self._gauges: dict[tuple[datetime, str], QueueGauge] = {}

    def write_stats(self, rows: Sequence[QueueStat], *, now: datetime | None = None) -> None:
        """See Store.write_stats."""
        with self._lock:
            for row in rows:
                self._put_statistics(dated(row, now or datetime.now(UTC)))

    def stats(
        self,
        resolution: Resolution,
        *,
        since: datetime,
        until: datetime | None = None,
        queue: str | None = None,
        job_type: str | None = None,
        writer: int | None = None,
    ) -> list[QueueStat]:
        """See Store.stats."""
        wanted = {"resolution": resolution, "queue": queue, "job_type": job_type, "writer": writer}
        with self._lock:
            return [
                row
                for _, row in sorted(self._stats.items())
                if since <= row.bucket and (until is None or row.bucket < until) and _fits(row, wanted)
            ]

    def stat_buckets(self, resolution: Resolution, *, updated_since: datetime | None = None) -> list[datetime]:
        """See Store.stat_buckets."""
        with self._lock:
            rows = [row for row in self._stats.values() if row.resolution is resolution]
            return sorted({row.bucket for row in rows if updated_since is None or row.updated_at >= updated_since})

    def stats_written_at(self, resolution: Resolution) -> datetime | None:
        """See Store.stats_written_at."""
        with self._lock:
            rows = [row.updated_at for row in self._stats.values() if row.resolution is resolution]
            return max(rows, default=None)

    def delete_stats(self, resolution: Resolution, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_stats."""
        with self._lock:
            old = [key for key in sorted(self._stats) if key[0] is resolution and key[1] < before][:limit]
            for key in old:
                del self._stats[key]
            return len(old)

    def measure(self, *, now: datetime | None = None) -> list[QueueGauge]:
        """See Store.measure."""
        with self._lock:
            at = now or datetime.now(UTC)
            found: dict[str, Counter[str]] = {}
            ages: dict[str, int] = {}
            for job in self._jobs.values():
                condition = _condition(job, at)
                if condition is not None:
                    found.setdefault(job.queue, Counter())[condition] += 1
                if condition == "ready" and job.ready_at is not None:
                    ages[job.queue] = max(ages.get(job.queue, 0), int((at - job.ready_at).total_seconds()))
            bucket = bucket_of(at, Resolution.MINUTE)
            return [
                QueueGauge(bucket=bucket, queue=queue, oldest_ready_s=ages.get(queue), **counts)
                for queue, counts in sorted(found.items())
            ]

    def gauges(self, *, since: datetime, until: datetime | None = None, queue: str | None = None) -> list[QueueGauge]:
        """See Store.gauges."""
        with self._lock:
            rows = [row for _, row in sorted(self._gauges.items()) if since <= row.bucket]
            return [row for row in rows if (until is None or row.bucket < until) and queue in (None, row.queue)]

    def delete_gauges(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_gauges."""
        with self._lock:
            old = [key for key in sorted(self._gauges) if key[0] < before][:limit]
            for key in old:
                del self._gauges[key]
            return len(old)

    def last_event_id(self) -> int:
        """See Store.last_event_id."""
        with self._lock:
            return max((event.id for event in self._events), default=0)

    def count_events(self, types: Sequence[EventType], *, after: int, upto: int) -> dict[Found, int]:
        """See Store.count_events."""
        with self._lock:
            found: Counter[Found] = Counter()
            for event in self._events:
                job = self._jobs.get(event.job_id)
                if job is not None and event.event_type in types and after < event.id <= upto:
                    reason = (event.metadata or {}).get("failureReason")
                    minute = bucket_of(event.created_at, Resolution.MINUTE)
                    found[event.event_type, reason, minute, job.queue, job.job_type] += 1
            return dict(found)

    def _put_statistics(self, row: QueueStat | QueueGauge) -> None:
        if isinstance(row, QueueGauge):
            self._gauges[row.bucket, row.queue] = row
        else:
            self._stats[row.resolution, row.bucket, row.queue, row.job_type, row.writer] = replace(row)


def _fits(row: QueueStat, wanted: dict[str, Any]) -> bool:
    return all(value is None or getattr(row, name) == value for name, value in wanted.items())


def _condition(job: Job, now: datetime) -> str | None:
    if job.status is JobStatus.PROCESSING:
        return "running"
    if job.ready_at is not None:
        return "ready" if job.ready_at <= now else "scheduled"
    return "waiting" if job.status is JobStatus.WAITING else None
