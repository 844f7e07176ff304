"""What a handler tells while it runs, until it is stored: its progress and the lines of its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from ..domain.portable import clean_text
from ..domain.records import JSON, ClaimedJob, JobLog
from ..stores.base import MOST_LOGS

MESSAGE_BYTES = 1024
LINE_BYTES = 4 * 1024
CUT = f"no more lines of this execution are kept; the limit is {MOST_LOGS}"


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be stored now: the fields of the latest progress, if there are new ones, and lines."""

    progress: dict[str, Any] | None
    lines: tuple[JobLog, ...]

    def __bool__(self) -> bool:
        return self.progress is not None or bool(self.lines)


class Reports:
    """Collects from any thread of a handler; `tell` is called when there is something to store after nothing was."""

    def __init__(self, job: ClaimedJob, tell: Callable[[], None] = lambda: None) -> None:
        self._job = job
        self._tell = tell
        self._lock = RLock()
        self._progress: dict[str, Any] | None = None
        self._unsaved = False
        self._lines: list[JobLog] = []
        self._written = 0
        self._held = False

    def progress(self, percent: int, message: str | None, data: JSON) -> None:
        """Note progress; what was noted before and is not stored yet is forgotten."""
        text = None if message is None else clean_text(message, MESSAGE_BYTES)
        with self._lock:
            first, self._unsaved = self._is_empty(), True
            self._progress = {"progress": percent, "progress_message": text, "progress_data": data}
        self._wake(first)

    def line(self, level: str, message: object, logger: str = "") -> None:
        """Note a line of the job's log; those beyond the limit of one execution are dropped, and the log says so."""
        with self._lock:
            if self._written >= MOST_LOGS:
                return
            self._written += 1
            if self._written == MOST_LOGS:
                level, message, logger = "WARNING", CUT, ""
            first = self._is_empty()
            self._lines.append(
                JobLog(
                    job_id=self._job.id,
                    created_at=datetime.now(UTC),
                    level=level[:16],
                    message=clean_text(message, LINE_BYTES),
                    logger=clean_text(logger, 255),
                    claim_seq=self._job.claim_seq,
                    attempt=self._job.attempts,
                )
            )
        self._wake(first)

    @property
    def is_held(self) -> bool:
        """Whether a transaction of the handler's own is under way."""
        return self._held

    def hold(self) -> None:
        """Keep what comes for a transaction of the handler's own, which will store it."""
        with self._lock:
            self._held = True

    def let_go(self) -> None:
        """End `hold`; what has come meanwhile is to be stored as usual."""
        with self._lock:
            self._held, waits = False, not self._is_empty()
        self._wake(waits)

    def unsaved(self) -> Report:
        """Return what was not taken yet, and count it as taken."""
        with self._lock:
            if self._held:
                return Report(None, ())
            return self._take(self._unsaved)

    def all_held(self) -> Report:
        """Return what a handler's own transaction stores with its end: like `unsaved`, during `hold`."""
        with self._lock:
            return self._take(self._unsaved)

    def final(self) -> Report:
        """Return the latest progress, taken or not, and the lines that are left, to be stored with the outcome."""
        with self._lock:
            return self._take(True)

    def receive(self, report: Report) -> None:
        """Add what was reported elsewhere, after all that is here."""
        with self._lock:
            first = self._is_empty()
            self._lines += report.lines
            self._written += len(report.lines)
            if report.progress is not None:
                self._progress, self._unsaved = report.progress, True
            wanted = first and not self._is_empty()
        self._wake(wanted)

    def give_back(self, report: Report) -> None:
        """Undo a taking: it could not be stored."""
        with self._lock:
            self._lines[:0] = report.lines
            self._unsaved = self._unsaved or report.progress is not None

    def _take(self, with_progress: bool) -> Report:
        report = Report(self._progress if with_progress else None, tuple(self._lines))
        self._unsaved, self._lines = False, []
        return report

    def _is_empty(self) -> bool:
        return not self._unsaved and not self._lines

    def _wake(self, wanted: bool) -> None:
        if wanted and not self._held:
            self._tell()
