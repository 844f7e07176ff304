"""The worker's own row: registered at start, renewed by the heartbeat, replaced when it was taken for dead."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection

from ..conf import WorkerSettings
from ..domain.changes import Alternatives, Verdict
from ..domain.filters import JobFilter, Order
from ..domain.liveness import expire, stop
from ..domain.records import Kind, Worker
from ..domain.transitions import Execution, or_cancelled, release
from ..stores import Store
from .begun import BegunTable
from .heart import Heart


class Membership:
    """This process among the workers of its alias."""

    def __init__(
        self, store: Store, settings: WorkerSettings, label: str, heart: Heart, begun: BegunTable | None
    ) -> None:
        self._store = store
        self._settings = settings
        self._label = label
        self._heart = heart
        self._begun = begun
        self.row: Worker | None = None

    @property
    def id(self) -> int:
        """The id of the current row; 0, which no row has, before there is one."""
        return self.row.id if self.row is not None else 0

    def register(
        self, *, queues: tuple[str, ...], exclude_queues: tuple[str, ...], job_types: tuple[str, ...], concurrency: int
    ) -> None:
        """Insert a new row and let the heart beat for it; the old row, if any, is left to the others."""
        sent_at = time.monotonic()
        record = Worker(
            label=self._label,
            hostname=socket.gethostname()[:255],
            pid=os.getpid(),
            queues=queues,
            exclude_queues=exclude_queues,
            job_types=job_types,
            concurrency=concurrency,
            lease_ms=round(self._settings.lease * 1000),
        )
        self.row = self._store.put(record)
        if self._begun is not None:
            self._begun.belongs_to(self.row.id)
        self._heart.beat_for(self.row.id, sent_at)

    def lost(self, worker_id: int) -> bool:
        """Note that a row has expired; returns whether it was the current one."""
        if worker_id != self.id:
            return False
        self.row = None
        return True

    def announce_stop(self) -> None:
        """Let others see that this worker takes no new jobs."""
        self._store.commit([(stop(self.id),)])

    def holds_more_than(self, known: int) -> bool:
        """Return whether the store has more jobs under this worker than `known`."""
        return self._store.count(JobFilter(worker_ids=(self.id,)))[()] > known

    def release_unknown(self, known: Collection[tuple[int, int]]) -> bool:
        """Give back the jobs of this worker that nobody here knows of, claimed by a call whose answer never came.

        `known` are (job id, claim_seq): the call may have stored a job's outcome and claimed the same job again.
        Returns False when somebody else holds one of them, so that it has to be tried again.
        """
        mine = self._store.query(JobFilter(worker_ids=(self.id,)), order=Order.OLDEST, limit=1000)
        items: list[Alternatives] = [
            or_cancelled((release(Execution.of(job), why="unknown_commit"),))
            for job in mine
            if (job.id, job.claim_seq) not in known
        ]
        return all(result.verdict is not Verdict.BUSY for result in self._store.commit(items, wait=False))

    def leave(self, *, keep_row: bool) -> None:
        """Expire the own row: nothing of this worker is left to be observed.

        Unless it is to be kept for people to see, it goes; but not while a job refers to it, which others take back.
        """
        self._store.commit([(expire(self.id),)])
        if not keep_row:
            self._store.remove(Kind.WORKER, [self.id])
        self.row = None
