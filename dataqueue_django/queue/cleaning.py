"""Deleting what is old: jobs that have ended, and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from ..domain.asking import amount, ends_from, flag_from, page_limit
from ..domain.records import JobStatus
from ..exceptions import InvalidFilter, shown
from .aio import with_async_twins
from .base import QueueBase

MOST_DAYS = 36_500
BATCH = 1000

OnBatch = Callable[[int], object]
"""Called after each batch with the number of rows it deleted."""


@with_async_twins
class Cleaning(QueueBase):
    """`cleanup_old_jobs`, `cleanup_old_job_events`: batch by batch, each a short transaction of its own."""

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

        Only completed ones unless `statuses` says otherwise; "failed" means failed for good. Their idempotency keys
        become free. 0 days means all that have ended and has to be confirmed with `confirm_all`. Raises InvalidFilter.
        """
        ended, before = ends_from(statuses), self._before(days_to_keep, confirm_all)
        return sum(self._delete_ended(status, before, batch_size, on_batch) for status in sorted(ended))

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
        before = self._before(days_to_keep, confirm_all)
        return _in_batches(lambda limit: self.store.delete_events(before=before, limit=limit), batch_size, on_batch)

    def _delete_ended(self, status: JobStatus, before: datetime, batch_size: int, on_batch: OnBatch | None) -> int:
        return _in_batches(
            lambda limit: self.store.delete_ended(status, before=before, limit=limit), batch_size, on_batch
        )

    def _before(self, days: float, confirm_all: bool) -> datetime:
        days = amount("days_to_keep", days, least=0, most=MOST_DAYS)
        if not flag_from("confirm_all", confirm_all) and not days:
            raise InvalidFilter("days_to_keep is 0, which deletes all that has ended; confirm_all=True confirms it.")
        return self.store.now() - timedelta(days=days)


def _in_batches(delete: Callable[[int], int], batch_size: int, on_batch: OnBatch | None) -> int:
    size, total = page_limit(batch_size, BATCH, "batch_size"), 0
    if on_batch is not None and not callable(on_batch):
        raise InvalidFilter(f"on_batch is {shown(on_batch)}; expected a function that takes a number.")
    while deleted := delete(size):
        total += deleted
        if on_batch is not None:
            on_batch(deleted)
    return total  # not before nothing is found: a batch is short, too, when somebody retries one of its jobs meanwhile
