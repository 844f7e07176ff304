"""Storing what handlers tell while they run, for all of them together and at most every half second."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from ..announcing import Announce, is_heard
from ..domain.changes import Alternatives, Change, Committed, Verdict
from ..domain.records import EventType
from ..domain.transitions import Execution, prolong, write_progress
from ..stores import Store
from .reports import Report
from .slots import Run

EVERY = 0.5

Told = tuple[Run, tuple[float, str] | None, Report]
"""A run, how its deadline was last moved, and what it reported."""


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

        A job whose record somebody else holds is left for the next time. So is one whose handler is in a transaction of
        its own, which at REPEATABLE READ would find the record changed and fail.
        """
        now = time.monotonic()
        if now < self.due_at:
            return
        self._next_at = now + EVERY
        waiting = {run for run in self._waiting if run in running}
        self._waiting = {run for run in waiting if run.context.reports.is_held}
        runs = waiting - self._waiting
        told = [(run, run.deadline.unsaved(), run.context.reports.unsaved()) for run in runs]
        taken = [one for one in told if one[1] is not None or one[2]]
        if taken:
            self._save(taken)

    def _save(self, taken: list[Told]) -> None:
        items: list[Alternatives] = [(_change(*one),) for one in taken]
        answers = [Committed(verdict=Verdict.BUSY)] * len(items)
        try:
            answers = self._store.commit(items, wait=False)
        finally:
            for (run, moved, report), answer in zip(taken, answers, strict=True):
                if answer.is_busy:
                    self._give_back(run, moved, report)
                elif answer.applied and moved is not None and is_heard(EventType.PROLONGED):
                    job = run.job
                    self._announce(EventType.PROLONGED, job_id=job.id, job_type=job.job_type, queue=job.queue)

    def _give_back(self, run: Run, moved: tuple[float, str] | None, report: Report) -> None:
        run.context.reports.give_back(report)
        if moved is not None:
            run.deadline.give_back(moved)
        self._waiting.add(run)


def _change(run: Run, moved: tuple[float, str] | None, report: Report) -> Change:
    """What stores it: how the deadline was moved, if it was, with the progress and the lines."""
    execution, progress = Execution.of(run.job), report.progress or {}
    if moved is None:
        return replace(write_progress(execution, progress), put=report.lines)
    change = prolong(execution, moved[0], why=moved[1])
    return replace(change, set={**progress, **change.set}, put=report.lines)
