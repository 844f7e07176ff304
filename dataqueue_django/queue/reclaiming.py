"""Taking back, on request, the jobs of workers that are gone."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from ..announcing import announcer
from ..domain.asking import amount, flag_from
from ..domain.changes import Alternatives
from ..domain.filters import JobFilter, Order
from ..domain.records import Job, Kind
from ..domain.transitions import Execution, or_cancelled, take_away
from .aio import with_async_twins
from .base import QueueBase
from .taking_back import LOT, expire_silent, gone_holders, holders, take_back, tell_of_taking

MOST_MINUTES = 60 * 24 * 365


@with_async_twins
class Reclaiming(QueueBase):
    """`reclaim_stuck_jobs`."""

    def reclaim_stuck_jobs(
        self, max_processing_minutes: float = 10, *, force: bool = False, observe: bool = True
    ) -> int:
        """Take back the jobs of workers that are gone and return how many (DataQueue "reclaimStuckJobs").

        Running workers do this for each other within seconds; this is for when none runs. Jobs of workers known to be
        gone come back at once. A worker not heard of for `max_processing_minutes` by the store's clock is watched for
        two leases (a minute by default) before it is declared gone, since an outage silences living workers, too; with
        `observe` False, or inside a transaction, whose reads may stand still, it is left alone; with autocommit off,
        everything is inside of one.

        A live worker's job is never taken unless `force` is given: then jobs held for longer than
        `max_processing_minutes` and than their own timeout are, and their handlers run on, unable to store anything.
        Raises InvalidFilter for minutes that are not positive.
        """
        minutes = amount("max_processing_minutes", max_processing_minutes, above=0, most=MOST_MINUTES)
        patience = timedelta(minutes=minutes)
        force, observe = flag_from("force", force), flag_from("observe", observe)
        total = self._take_back_from_the_gone()
        if observe and not self._reads_may_stand_still() and (silent := self._silent_for(patience)):
            expire_silent(self.store, silent)
            total += self._take_back_from_the_gone()
        return total + (self._take_from_the_living(patience) if force else 0)

    def _reads_may_stand_still(self) -> bool:
        database = self.settings.database
        return self.store.in_transaction() or (database is not None and not transaction.get_autocommit(using=database))

    def _take_back_from_the_gone(self) -> int:
        total = 0
        for worker_id in sorted(gone_holders(self.store)):
            while taken := take_back(self.store, worker_id, crash_limit=self.settings.worker.crash_limit):
                total += taken
        self._wake(total)
        return total

    def _silent_for(self, patience: timedelta) -> set[int]:
        """The ids of the workers that have jobs and were last heard of longer ago."""
        before, found = self.store.now() - patience, holders(self.store)
        alive = self.store.find(Kind.WORKER, expired_at=None)
        return {w.id for w in alive if w.id in found and w.last_beat_at is not None and w.last_beat_at < before}

    def _take_from_the_living(self, patience: timedelta) -> int:
        total, last = 0, 0
        while jobs := self.store.query(JobFilter(held=True), order=Order.OLDEST, limit=LOT, after=last):
            last, now = jobs[-1].id, self.store.now()
            stuck = [job for job in jobs if _held_for(job, now) > max(patience, _timeout(job))]
            items: list[Alternatives] = [
                or_cancelled((take_away(Execution.of(job), held_for=_held_for(job, now).total_seconds()),))
                for job in stuck
            ]
            for job, item, answer in zip(stuck, items, self.store.commit(items), strict=True):
                total += answer.applied
                tell_of_taking(announcer(self.store), job, item, answer)
        self._wake(total)
        return total

    def _wake(self, moved: int) -> None:
        if moved:
            self.store.on_commit(self.notifier.publish)


def _held_for(job: Job, now: datetime) -> timedelta:
    return now - job.locked_at if job.locked_at is not None else timedelta()


def _timeout(job: Job) -> timedelta:
    return timedelta(milliseconds=job.timeout_ms or 0)
