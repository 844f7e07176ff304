"""Deleting what is old: jobs that have ended, their events and lines of log, and the ticks of schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from ..domain.asking import amount, ends_from, flag_from, page_limit
from ..domain.records import JobStatus
from ..domain.retention import BATCH, sweeps
from ..exceptions import InvalidFilter, shown
from .aio import with_async_twins
from .base import QueueBase
from .retention import Delete, deletes

MOST_DAYS = 36_500

OnBatch = Callable[[int], object]
"""Called after each batch with the number of rows it deleted."""


@with_async_twins
class Cleaning(QueueBase):
    """`cleanup_old_jobs`, `cleanup_old_job_events` and their like: batch by batch, each a short transaction."""

    def cleanup_old_jobs(
        self,
        days_to_keep: float = 30,
        *,
        statuses: Iterable[str] = (JobStatus.COMPLETED,),
        batch_size: int = BATCH,
        confirm_all: bool = False,
        on_batch: OnBatch | None = None,
    ) -> int:
        """Delete jobs that ended longer ago and return how many (DataQueue "cleanupOldJobs").

        Only completed ones unless `statuses` says otherwise; "failed" means failed for good. Job types whose `@job` has
        a `keep_for` (for failed ones a `keep_failed_for`) go by that instead. Their idempotency keys become free. 0
        days means all that have ended and has to be confirmed with `confirm_all`. Raises InvalidFilter.
        """
        ended, now = ends_from(statuses), self.store.now()
        days, own = self._days(days_to_keep, confirm_all), self.handlers.own_times()
        wanted = sweeps(dict.fromkeys(ended, days), {status: own.get(status, {}) for status in ended})
        return sum(_in_batches(deletes(self.store, sweep, now), batch_size, on_batch) for sweep in wanted)

    def cleanup_old_job_events(
        self,
        days_to_keep: float = 30,
        *,
        batch_size: int = BATCH,
        confirm_all: bool = False,
        on_batch: OnBatch | None = None,
    ) -> int:
        """Delete older events of jobs that have ended or are gone; return how many (DataQueue "cleanupOldJobEvents").

        Events of jobs that still go on are kept: replaying them gives the job's status and attempts.
        """
        return self._by_age(self.store.delete_events, days_to_keep, batch_size, confirm_all, on_batch)

    def cleanup_old_job_logs(
        self,
        days_to_keep: float = 30,
        *,
        batch_size: int = BATCH,
        confirm_all: bool = False,
        on_batch: OnBatch | None = None,
    ) -> int:
        """Delete older lines of log of jobs that have ended or are gone, and return how many."""
        return self._by_age(self.store.delete_logs, days_to_keep, batch_size, confirm_all, on_batch)

    def cleanup_old_cron_ticks(
        self,
        days_to_keep: float = 90,
        *,
        batch_size: int = BATCH,
        confirm_all: bool = False,
        on_batch: OnBatch | None = None,
    ) -> int:
        """Delete older ticks of schedules and return how many; what they added stays."""
        return self._by_age(self.store.delete_ticks, days_to_keep, batch_size, confirm_all, on_batch)

    def _by_age(
        self, delete: Callable[..., int], days: float, batch_size: int, confirm_all: bool, on_batch: OnBatch | None
    ) -> int:
        before = self.store.now() - timedelta(days=self._days(days, confirm_all))
        return _in_batches(lambda limit: delete(before=before, limit=limit), batch_size, on_batch)

    @staticmethod
    def _days(days: float, confirm_all: bool) -> float:
        days = amount("days_to_keep", days, least=0, most=MOST_DAYS)
        if not flag_from("confirm_all", confirm_all) and not days:
            raise InvalidFilter("days_to_keep is 0, which deletes all that has ended; confirm_all=True confirms it.")
        return days


BY_AGE: Mapping[str, Callable[..., int]] = {
    "events": Cleaning.cleanup_old_job_events,
    "logs": Cleaning.cleanup_old_job_logs,
    "ticks": Cleaning.cleanup_old_cron_ticks,
}
"""What is deleted by its own age alone, by its name in RETENTION, and by which method."""


def _in_batches(delete: Delete, batch_size: int, on_batch: OnBatch | None) -> int:
    size, total = page_limit(batch_size, BATCH, "batch_size"), 0
    if on_batch is not None and not callable(on_batch):
        raise InvalidFilter(f"on_batch is {shown(on_batch)}; expected a function that takes a number.")
    while deleted := delete(size):
        total += deleted
        if on_batch is not None:
            on_batch(deleted)
    return total  # not before nothing is found: a batch is short, too, when somebody retries one of its jobs meanwhile
