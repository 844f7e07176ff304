"""What every store can do about statistics: keep counts by writer and bucket, and count what is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from ..domain.records import EventType, QueueGauge, QueueStat, Resolution
from ..domain.statistics import Found


class KeepsStatistics(ABC):
    """The primitives of statistics. A Change can `put` both kinds of row beside a record, too."""

    @abstractmethod
    def write_stats(self, rows: Sequence[QueueStat], *, now: datetime | None = None) -> None:
        """Store rows, each in the place of one of the same resolution, bucket, queue, job type and writer.

        Doing it again changes nothing. Rows without `updated_at` get the store's time. At most `features.max_batch`.
        """

    @abstractmethod
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
        """Return the rows of a resolution whose buckets begin from `since` on and before `until`, by bucket."""

    @abstractmethod
    def stat_buckets(self, resolution: Resolution, *, updated_since: datetime | None = None) -> list[datetime]:
        """Return the buckets of a resolution of which a row was written since a moment, ascending."""

    @abstractmethod
    def stats_written_at(self, resolution: Resolution) -> datetime | None:
        """Return when the latest row of a resolution was written, None when there is none."""

    @abstractmethod
    def delete_stats(self, resolution: Resolution, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` rows whose buckets begin before a moment, the oldest first, and return how many."""

    @abstractmethod
    def measure(self, *, now: datetime | None = None) -> list[QueueGauge]:
        """Return, by queue, how many jobs are in each condition in which a job has not ended; workers are not counted.

        Reads the entries of all such jobs in their indexes, but none of those that have ended.
        """

    @abstractmethod
    def gauges(self, *, since: datetime, until: datetime | None = None, queue: str | None = None) -> list[QueueGauge]:
        """Return what was put of `measure` from `since` on and before `until`, by bucket and queue."""

    @abstractmethod
    def delete_gauges(self, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` gauges of buckets before a moment, the oldest first, and return how many."""

    @abstractmethod
    def last_event_id(self) -> int:
        """Return the highest id of an event that can be seen, 0 when there is none."""

    @abstractmethod
    def count_events(self, types: Sequence[EventType], *, after: int, upto: int) -> dict[Found, int]:
        """Return how many events of these types have ids above `after` and up to `upto`, by what they are counted by.

        Those of jobs that are gone are not counted.
        """
