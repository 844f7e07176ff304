"""Deleting what has been kept for long enough: a bit at a time, in lots that nobody has to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from ..conf import RetentionSettings
from ..domain.controls import LONGEST_PER, holds
from ..domain.duties import Done
from ..domain.records import JSON, JobStatus, Kind, Worker
from ..domain.retention import BATCH, DAY, FIRST_LOT, OwnTimes, Reached, Sweep, next_lot, sweeps
from ..stores import Store

SECONDS = 0.2
"""For how long a worker deletes at a time: its jobs are not claimed meanwhile. The rest has to wait for the next."""

SPARE = timedelta(days=1)

Delete = Callable[[int], int]
"""(at most so many) → how many were deleted."""


def deletes(store: Store, sweep: Sweep, now: datetime, since: datetime | None = None) -> Delete:
    """Return what deletes the jobs of a sweep as of a moment; nothing is looked at that ended before `since`."""
    return lambda limit: store.delete_ended(
        sweep.status,
        before=sweep.before(now),
        since=since,
        job_types=sweep.job_types,
        exclude_job_types=sweep.exclude_job_types,
        limit=limit,
    )


class Retention:
    """What an alias keeps, and for how long. Each method does one duty, for a bounded time."""

    def __init__(
        self,
        store: Store,
        settings: RetentionSettings,
        own: Callable[[], OwnTimes],
        *,
        seconds: float | None = None,
        most: int = BATCH,
    ) -> None:
        self._store = store
        self._settings = settings
        self._own = own
        self._seconds = SECONDS if seconds is None else seconds
        self._jobs, self._events, self._logs, self._ticks, self._rates = (Lots(most) for _ in range(5))

    def jobs(self, state: JSON) -> Done:
        """Delete jobs that ended long ago; the state is what the sweeps have reached."""
        days = {status: getattr(self._settings, status) for status in KEPT}
        until, now = time.monotonic() + self._seconds, self._store.now()
        reached, total = Reached.read(state, now), 0
        done: list[Sweep] = []
        left: list[Sweep] = []
        for sweep in sweeps(days, self._own()):
            deleted, is_done = self._jobs.delete(deletes(self._store, sweep, now, reached.begin_at(sweep)), until)
            total += deleted
            (done if is_done else left).append(sweep)
        return Done(report={"cleaned_up_jobs": total}, state=reached.after(done, left, now), more=bool(left))

    def events(self, _state: JSON) -> Done:
        """Delete old events of jobs that have ended."""
        return self._by_age("cleaned_up_events", self._settings.events, self._events, self._store.delete_events)

    def logs(self, _state: JSON) -> Done:
        """Delete old lines of log of jobs that have ended."""
        return self._by_age("cleaned_up_logs", self._settings.logs, self._logs, self._store.delete_logs)

    def ticks(self, _state: JSON) -> Done:
        """Delete old ticks of schedules."""
        return self._by_age("cleaned_up_ticks", self._settings.ticks, self._ticks, self._store.delete_ticks)

    def workers(self, _state: JSON) -> Done:
        """Delete the rows of workers that have been gone for long."""
        if self._settings.workers is None:
            return Done(report={"forgotten_workers": 0})
        before = self._store.now() - timedelta(days=self._settings.workers)
        rows: list[Worker] = self._store.find(Kind.WORKER)
        old = [row.id for row in rows if row.expired_at is not None and row.expired_at < before]
        gone = self._store.remove(Kind.WORKER, old[:BATCH]) if old else 0
        return Done(report={"forgotten_workers": gone}, more=len(old) > BATCH)

    def limits(self, _state: JSON) -> Done:
        """Delete pauses that have ended, and what is known of limits that nobody used for longer than a rate can be."""
        now = self._store.now()
        ended = [pause.id for pause in self._store.find(Kind.PAUSE) if not holds(pause, now)]
        gone = self._store.remove(Kind.PAUSE, ended) if ended else 0
        until = time.monotonic() + self._seconds
        rates, is_done = self._rates.delete(
            lambda limit: self._store.delete_rates(before=now - LONGEST_PER - SPARE, limit=limit), until
        )
        return Done(report={"ended_pauses": gone, "forgotten_rates": rates}, more=not is_done)

    def _by_age(self, word: str, days: float | None, lots: Lots, delete: Callable[..., int]) -> Done:
        if days is None:
            return Done(report={word: 0})
        before = self._store.now() - timedelta(seconds=days * DAY)
        until = time.monotonic() + self._seconds
        deleted, is_done = lots.delete(lambda limit: delete(before=before, limit=limit), until)
        return Done(report={word: deleted}, more=not is_done)


KEPT = (JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED)
"""The statuses that the setting has a time for."""


class Lots:
    """Deletes lot after lot, each as large as a moment allows; what it learns of that is good for the next time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = min(FIRST_LOT, most)

    def delete(self, delete: Delete, until: float) -> tuple[int, bool]:
        """Delete one lot, and more until a monotonic time; returns how many rows, and whether nothing is left."""
        total = 0
        while True:
            began = time.monotonic()
            deleted = delete(self._size)
            if not deleted:  # not before: a lot is short, too, when somebody retries one of its jobs meanwhile
                return total, True
            total += deleted
            now = time.monotonic()
            self._size = next_lot(self._size, deleted, now - began, self._most)
            if now >= until:
                return total, False
