"""Statistics in tables of their own, and the counts of jobs and events that they are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Count, F, Max, Min, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.fields.json import KT
from django.db.models.functions import TruncMinute

from ...domain.changes import dated
from ...domain.records import EventType, JobStatus, QueueGauge, QueueStat, Resolution
from ...domain.statistics import Found, bucket_of
from ...models import Job as JobRow
from ...models import JobEvent as EventRow
from ...models import QueueGauge as GaugeRow
from ...models import QueueStat as StatRow
from ..statistics import KeepsStatistics
from . import rows

STAT_KEY = ("resolution", "bucket", "queue", "job_type", "writer")
GAUGE_KEY = ("bucket", "queue")


class StatisticsTables(KeepsStatistics):
    """The part of the ORM store that keeps and takes counts."""

    if TYPE_CHECKING:

        def _table(self, model: type[models.Model]) -> Any: ...
        def _write(self) -> AbstractContextManager[None]: ...
        def _at(self, now: datetime | None) -> datetime: ...
        def _delete_first(self, doomed: Any, limit: int) -> int: ...

    def write_stats(self, rows: Sequence[QueueStat], *, now: datetime | None = None) -> None:
        """See Store.write_stats."""
        if rows:
            at = self._at(now)
            with self._write():
                self._write_statistics([dated(row, at) for row in rows])

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
        wanted = {"bucket__lt": until, "queue": queue, "job_type": job_type, "writer": writer}
        found = self._table(StatRow).filter(
            resolution=resolution.value,
            bucket__gte=since,
            **{name: value for name, value in wanted.items() if value is not None},
        )
        ordered = found.order_by("bucket", "queue", "job_type", "writer")
        return [QueueStat(**rows.to_fields(row)) for row in ordered.values(*rows.STAT_FIELDS)]

    def stat_buckets(self, resolution: Resolution, *, updated_since: datetime | None = None) -> list[datetime]:
        """See Store.stat_buckets."""
        found = self._table(StatRow).filter(resolution=resolution.value)
        if updated_since is not None:
            found = found.filter(updated_at__gte=updated_since)
        # Made few and sorted here: for the sake of either SQLite would read all rows of the resolution.
        return sorted(set(found.order_by().values_list("bucket", flat=True)))

    def stats_written_at(self, resolution: Resolution) -> datetime | None:
        """See Store.stats_written_at."""
        found = self._table(StatRow).filter(resolution=resolution.value)
        at: datetime | None = found.aggregate(at=Max("updated_at"))["at"]
        return at

    def delete_stats(self, resolution: Resolution, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_stats."""
        old = self._table(StatRow).filter(resolution=resolution.value, bucket__lt=before)
        return self._delete_first(old.order_by(*STAT_KEY), limit)

    def measure(self, *, now: datetime | None = None) -> list[QueueGauge]:
        """See Store.measure. One statement, so that a job that moves meanwhile is neither missed nor counted twice."""
        at = self._at(now)
        found: dict[str, QueueGauge] = {}
        for condition, queue, count, first in _conditions(self._table(JobRow), at):
            gauge = found.get(queue) or QueueGauge(bucket=bucket_of(at, Resolution.MINUTE), queue=queue)
            more: dict[str, Any] = {condition: getattr(gauge, condition) + count}
            if condition == "ready":
                more["oldest_ready_s"] = max(gauge.oldest_ready_s or 0, int((at - first).total_seconds()))
            found[queue] = replace(gauge, **more)
        return [gauge for _, gauge in sorted(found.items())]

    def gauges(self, *, since: datetime, until: datetime | None = None, queue: str | None = None) -> list[QueueGauge]:
        """See Store.gauges."""
        wanted = {"bucket__lt": until, "queue": queue}
        found = self._table(GaugeRow).filter(
            bucket__gte=since, **{name: value for name, value in wanted.items() if value is not None}
        )
        return [QueueGauge(**row) for row in found.order_by("bucket", "queue").values(*rows.GAUGE_FIELDS)]

    def delete_gauges(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_gauges."""
        return self._delete_first(self._table(GaugeRow).filter(bucket__lt=before).order_by(*GAUGE_KEY), limit)

    def last_event_id(self) -> int:
        """See Store.last_event_id."""
        return int(self._table(EventRow).order_by("-id").values_list("id", flat=True).first() or 0)

    def count_events(self, types: Sequence[EventType], *, after: int, upto: int) -> dict[Found, int]:
        """See Store.count_events."""
        job = JobRow.objects.filter(id=OuterRef("job_id"))
        words = [event.value for event in types]
        found = (
            self._table(EventRow)
            .filter(id__gt=after, id__lte=upto, event_type__in=words)
            .annotate(
                reason=KT("metadata__failureReason"),
                minute=TruncMinute("created_at", tzinfo=UTC),
                queue=Subquery(job.values("queue")),
                job_type=Subquery(job.values("job_type")),
            )
            .order_by()
            .values_list("event_type", "reason", "minute", "queue", "job_type")
            .annotate(n=Count("*"))
        )
        return {(EventType(word), *facts): n for word, *facts, n in found if facts[2] is not None}

    def _write_statistics(self, records: Sequence[QueueStat | QueueGauge]) -> None:
        """Write rows in the place of those with their keys."""
        for model, kind, key, names in (
            (StatRow, QueueStat, STAT_KEY, rows.STAT_FIELDS),
            (GaugeRow, QueueGauge, GAUGE_KEY, rows.GAUGE_FIELDS),
        ):
            written = [model(**rows.columns_of_record(one, names)) for one in records if isinstance(one, kind)]
            if written:
                self._table(model).bulk_create(
                    written,
                    update_conflicts=True,
                    unique_fields=list(key),
                    update_fields=[name for name in names if name not in key],
                )


def _conditions(jobs: QuerySet[Any], now: datetime) -> Iterator[tuple[str, str, int, datetime]]:
    """Yield (condition, queue, how many, the first ready_at), each condition read from an index of its own."""
    each = {
        "ready": [Q(stage=rows.CLAIMABLE), Q(stage=rows.LATER, ready_at__lte=now)],
        "scheduled": [Q(stage=rows.LATER, ready_at__gt=now)],
        "running": [Q(worker_id__isnull=False)],
        "waiting": [Q(wait_token_id__isnull=False, status=JobStatus.WAITING.value, ready_at=None)],
    }
    parts = [
        jobs.filter(where)
        .order_by()
        .annotate(condition=Value(condition), lane=F("queue"))
        .values_list("condition", "lane")
        .annotate(n=Count("*"), first=Min("ready_at"))
        for condition, all_of in each.items()
        for where in all_of
    ]
    yield from parts[0].union(*parts[1:], all=True)
