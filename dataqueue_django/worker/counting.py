"""What a worker counts of its own jobs: in memory, written now and then into rows that nobody else writes.

Rows hold the whole count of a minute, so storing them again after an answer was lost changes nothing. What is not
written when the process dies is lost: at most the counts of `EVERY` seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from threading import Lock

from ..domain.changes import Change
from ..domain.folding import counts_in
from ..domain.records import ClaimedJob, QueueStat, Resolution
from ..domain.statistics import Tally, bucket_of, counted_as, total, waited_for
from ..stores import Store
from ..stores.base import chunks

EVERY = 15.0
"""Seconds from the first count that is not written to the writing; a worker that counts nothing writes nothing."""

NEVER = datetime.min.replace(tzinfo=UTC)


class Counting:
    """The counts that are not written yet, and the rows of the minute that is under way.

    `writer` is the id under which they are written: that of the worker's current row.
    """

    def __init__(self, store: Store) -> None:
        self.writer = 0
        self._store = store
        self._lock = Lock()
        self._lanes: dict[tuple[str, str], Tally] = {}
        self._due_at = float("inf")
        self._minute = NEVER
        self._rows: dict[tuple[str, str, int], QueueStat] = {}
        self._unwritten: dict[tuple[datetime, str, str, int], QueueStat] = {}
        """Rows that the store may not have, though it was asked to."""

    # -- by any thread

    def began(self, job: ClaimedJob, held: float) -> None:
        """Count an execution that begins; its job was held for so many seconds since it was claimed."""
        waited = waited_for(job)
        with self._lock:
            self._lane(job).began(None if waited is None else waited + held)

    def ended(self, job: ClaimedJob, change: Change, seconds: float) -> None:
        """Count an outcome that was stored, of an execution that took so many seconds."""
        counter = counted_as(change)
        if counter is not None:
            with self._lock:
                self._lane(job).ended(counter, seconds)

    def _lane(self, job: ClaimedJob) -> Tally:
        key = (job.queue, job.job_type)
        tally = self._lanes.get(key)
        if tally is None:
            if not self._lanes:
                self._due_at = min(self._due_at, time.monotonic() + EVERY)
            tally = self._lanes[key] = Tally()
        return tally

    # -- by the loop alone

    @property
    def due_at(self) -> float:
        """The monotonic time of the next writing; infinite when there is nothing to write."""
        return self._due_at

    def write_when_due(self) -> None:
        """Write, if it is time. Raises when the store cannot be used; then nothing is forgotten."""
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + EVERY  # should it fail
            self.write()

    def write(self) -> None:
        """Add what was counted to the rows of this minute, by the store's clock, and store these."""
        if self._lanes:
            # A clock that went back must not lead to rows that are written already, and forgotten here.
            self._minute = max(self._minute, bucket_of(self._store.now(), Resolution.MINUTE))
            self._grow()
        for lot in chunks(list(self._unwritten.values()), self._store.features.max_batch):
            self._store.write_stats(lot)
        self._unwritten = {}
        with self._lock:
            if not self._lanes:
                self._due_at = float("inf")

    def _grow(self) -> None:
        """Take what was counted, and note the rows that it makes grow, each with its whole count."""
        with self._lock:
            lanes, self._lanes = self._lanes, {}
        self._rows = {key: row for key, row in self._rows.items() if row.bucket == self._minute}
        for (queue, job_type), tally in lanes.items():
            before = self._rows.get((queue, job_type, self.writer))
            counts = tally.counts() if before is None else total((before, tally.counts()))
            row = QueueStat(
                **counts_in(counts),
                resolution=Resolution.MINUTE,
                bucket=self._minute,
                queue=queue,
                job_type=job_type,
                writer=self.writer,
            )
            self._rows[queue, job_type, self.writer] = row
            self._unwritten[self._minute, queue, job_type, self.writer] = row
