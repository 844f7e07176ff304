"""Storing what handlers tell while they run, for all of them together and at most every half second."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from ..announcing import Announce, is_heard
from ..domain.changes import Alternatives
from ..domain.records import EventType
from ..domain.transitions import Execution, prolong, write_progress
from ..stores import Store
from .reports import Report
from .slots import Run

EVERY = 0.5


class Reporting:
    """The runs that have something to store."""

    def __init__(self, store: Store, announce: Announce) -> None:
        self._store = store
        self._announce = announce
        self._waiting: set[Run] = set()
        self._next_at = 0.0

    def add(self, run: Run) -> None:
        """Note that a run has told something."""
        self._waiting.add(run)

    def discard(self, run: Run) -> None:
        """Forget a run: its outcome brings the rest."""
        self._waiting.discard(run)

    @property
    def due_at(self) -> float:
        """The monotonic time of the next storing; infinite when there is nothing to store."""
        return self._next_at if self._waiting else float("inf")

    def save(self, running: Collection[Run]) -> None:
        """Store what was told, if it is time. Raises when the store cannot be used; then nothing is forgotten.

        A job whose record somebody else holds is left for the next time.
        """
        now = time.monotonic()
        if now < self.due_at:
            return
        self._next_at = now + EVERY
        runs = [run for run in self._waiting if run in running]
        self._waiting = set(runs)  # until the deadlines are stored, which may raise
        late = {run for run in runs if not self._save_deadline(run)}
        self._waiting = late
        taken = [(run, report) for run in runs if (report := run.context.reports.unsaved())]
        if taken:
            self._save_reports(taken)

    def _save_reports(self, taken: list[tuple[Run, Report]]) -> None:
        items: list[Alternatives] = [
            (replace(write_progress(Execution.of(run.job), report.progress or {}), put=report.lines),)
            for run, report in taken
        ]
        try:
            busy = [answer.is_busy for answer in self._store.commit(items, wait=False)]
        except Exception:
            busy = [True] * len(items)
            raise
        finally:
            for (run, report), is_busy in zip(taken, busy, strict=True):
                if is_busy:
                    run.context.reports.give_back(report)
                    self._waiting.add(run)

    def _save_deadline(self, run: Run) -> bool:
        """Store how a run's deadline was moved; returns False when that has to be tried again."""
        moved = run.deadline.unsaved()
        if moved is None:
            return True
        seconds, why = moved
        change = prolong(Execution.of(run.job), seconds, why=why)
        try:
            [answer] = self._store.commit([(change,)], wait=False)
        except Exception:
            run.deadline.give_back(moved)
            raise
        if answer.is_busy:
            run.deadline.give_back(moved)
        elif answer.applied and is_heard(EventType.PROLONGED):
            job = run.job
            self._announce(EventType.PROLONGED, job_id=job.id, job_type=job.job_type, queue=job.queue)
        return not answer.is_busy
