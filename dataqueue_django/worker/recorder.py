"""An execution's own way to the store, in its handler's thread: fenced, and patient while the store is away.

An effect that has happened must not be forgotten for an outage of some seconds, so what cannot be stored is tried again
while the lease lasts. After a call whose answer never came the store is asked first whether it had happened.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import TypeVar

from ..domain.changes import Change, Committed
from ..domain.filters import JobFilter
from ..domain.records import JSON
from ..domain.transitions import Execution, record
from ..exceptions import LeaseLost
from ..queue.base import QueueBase
from .reports import Report, Reports
from .signal import AbortReason, AbortSignal
from .transactions import writing_only_to

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two tries to reach the store: the first, and at most."""

PATIENCE = 60.0
"""Seconds for which the store is tried; what lasts longer while the lease is renewed, as a lost table, is no outage."""

Work = Callable[[], tuple[JSON, Change]]
"""What a transaction is to hold, and the change that goes with it."""


class Recorder:
    """Writes for one execution. Raises LeaseLost when the job is not this execution's any more."""

    def __init__(self, queue: QueueBase, run: Execution, signal: AbortSignal, reports: Reports) -> None:
        self._store = queue.store
        self._database = queue.settings.database
        self._run = run
        self._signal = signal
        self._reports = reports

    def reading(self, read: Callable[[], T]) -> T:
        """Return what `read` finds, as soon as the store can be reached."""
        return self._patiently(lambda _: read())

    def commit(self, change: Change, is_done: Callable[[], bool]) -> Committed | None:
        """Commit a change; None when an earlier try, whose answer never came, had done so (`is_done` can tell)."""

        def attempt(unsure: bool) -> Committed | None:
            if unsure and self._had_happened(is_done):
                return None
            [answer] = self._store.commit([(change,)])
            self._check(answer)
            return answer

        return self._patiently(attempt)

    def in_one_transaction(self, what: str, work: Work, is_done: Callable[[], bool]) -> tuple[JSON, Change]:
        """Do work and commit its change in one transaction; the fence is locked and judged last.

        What is reported meanwhile goes with it. If the answer to the commit never comes, `is_done` decides.
        """
        self.reading(self._check_fence)  # while nothing was done yet, a broken connection can be renewed
        done: tuple[JSON, Change] | None = None
        with self._holding_reports() as taken:
            try:
                with self._store.transaction(with_users_code=True):
                    with writing_only_to(self._database, what):
                        value, change = work()
                    taken.append(self._reports.all_held())
                    done = value, _with_report(change, taken[-1])
                    self._check(self._store.commit([(done[1],)])[0])
            except Exception as error:
                if done is None or not self._store.is_lost_connection(error) or not self._was_stored(is_done):
                    raise
        if done is None:
            raise AssertionError("a transaction that was committed has done its work")
        return done

    def lost(self) -> LeaseLost:
        """Return the error that says that the job is not ours."""
        return LeaseLost(f"Execution {self._run.claim_seq} no longer owns job {self._run.job_id}; nothing was stored.")

    def _was_stored(self, is_done: Callable[[], bool]) -> bool:
        def look(_: bool) -> bool:
            try:
                return self._had_happened(is_done)
            except LeaseLost:  # so a completion looks that was stored
                return is_done()

        return self._patiently(look)

    def _had_happened(self, is_done: Callable[[], bool]) -> bool:
        """Whether a call whose answer never came was stored; waits for the end of its transaction."""
        self._check(self._store.commit([(record(self._run),)])[0])
        return is_done()

    def _check_fence(self) -> None:
        found = self._store.values(JobFilter(ids=(self._run.job_id,)), ("claim_seq",))
        if found != [(self._run.claim_seq,)]:
            raise self.lost()

    def _check(self, answer: Committed) -> None:
        if not answer.applied:
            raise self.lost()

    @contextmanager
    def _holding_reports(self) -> Iterator[list[Report]]:
        taken: list[Report] = []
        self._reports.hold()
        try:
            yield taken
        except BaseException:
            for report in taken:
                self._reports.give_back(report)
            raise
        finally:
            self._reports.let_go()

    def _patiently(self, attempt: Callable[[bool], T]) -> T:
        """Call `attempt` until the store can be reached; from the second time on it is told so."""
        until = time.monotonic() + PATIENCE
        for n in count():
            try:
                return attempt(n > 0)
            except Exception as error:
                if not self._store.is_lost_connection(error) or self._store.in_transaction():
                    raise
                if time.monotonic() > until:
                    raise
                self._pause(n, error)
                self._store.reconnect()
        raise AssertionError("count() has no end")

    def _pause(self, n: int, error: Exception) -> None:
        """Wait before the next try; raises instead once the handler should stop."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(n, 10)) * random.uniform(0.5, 1.0)
        self._signal.wait(pause)
        if self._signal.reason is AbortReason.LEASE_LOST:
            raise self.lost() from error
        if self._signal.aborted:
            raise error


def _with_report(change: Change, report: Report) -> Change:
    """Let a change carry what was reported in its transaction."""
    return replace(change, set={**change.set, **(report.progress or {})}, put=(*change.put, *report.lines))
