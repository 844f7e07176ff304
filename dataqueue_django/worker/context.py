"""What a handler can ask and tell while it runs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from ..domain.portable import clean_text, portable
from ..domain.records import JSON, ClaimedJob
from ..domain.transitions import UNSET
from ..exceptions import InvalidOutput, InvalidPayload, InvalidProgress, shown
from .signal import AbortSignal

MESSAGE_BYTES = 1024
INT64 = 2**63


class JobContext:
    """The running job, its attempt and its stop signal; progress and output go through here.

    Usable from any thread of the handler. Progress is stored in the background, at most every half second, and with the
    outcome; it never fails a job.
    """

    def __init__(self, job: ClaimedJob, signal: AbortSignal, on_progress: Callable[[], None] = lambda: None) -> None:
        self._job = job
        self._signal = signal
        self._on_progress = on_progress
        self._lock = Lock()
        self._progress: dict[str, Any] | None = None
        self._unsaved = False
        self._output: JSON = UNSET

    @property
    def job(self) -> ClaimedJob:
        """The job as it was claimed."""
        return self._job

    @property
    def attempt(self) -> int:
        """The number of this attempt; 1 is the first. Resuming and being given back count as the same attempt."""
        return self._job.attempts

    @property
    def signal(self) -> AbortSignal:
        """The signal to look at between pieces of work."""
        return self._signal

    def set_progress(self, percent: float, message: str | None = None) -> None:
        """Report progress from 0 to 100 (rounded), with a short message (DataQueue "Progress Tracking").

        Raises InvalidProgress for anything that is not a number in that range.
        """
        self._report(_percentage(percent), message, None)

    def progress(self, done: int, total: int, message: str | None = None) -> None:
        """Report that `done` of `total` pieces are finished; both are kept beside the percentage."""
        counts = (done, total)
        if any(type(n) is not int for n in counts) or not 0 <= done <= total < INT64:
            raise InvalidProgress(f"progress is {shown(done)} of {shown(total)}; expected 0 <= done <= total < 2**63.")
        percent = 100 if total == 0 else done * 100 // total
        self._report(percent, message, {"done": done, "total": total})

    def set_output(self, output: JSON) -> None:
        """Set the job's output; what the handler returns is then ignored.

        Raises InvalidOutput at once when it is not portable JSON.
        """
        self._output = checked_output(output)

    def _report(self, percent: int, message: str | None, data: JSON) -> None:
        text = None if message is None else clean_text(message, MESSAGE_BYTES)
        with self._lock:
            self._progress = {"progress": percent, "progress_message": text, "progress_data": data}
            first, self._unsaved = not self._unsaved, True
        if first:
            self._on_progress()

    # -- for the worker

    def unsaved_progress(self) -> dict[str, Any] | None:
        """Return the fields of the latest progress if they were not taken yet, and count them as taken."""
        with self._lock:
            if not self._unsaved:
                return None
            self._unsaved = False
            return self._progress

    def final_progress(self) -> dict[str, Any] | None:
        """Return the fields of the latest progress, to be stored with the outcome."""
        with self._lock:
            self._unsaved = False
            return self._progress

    @property
    def output(self) -> JSON:
        """What `set_output` was given, or UNSET."""
        return self._output


def _percentage(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 100:
        raise InvalidProgress(f"progress is {shown(given)}; expected a number from 0 to 100.")
    return round(given)


def checked_output(output: Any) -> JSON:
    """Return a handler's output as portable JSON; raises InvalidOutput."""
    try:
        return portable(output, "output")
    except InvalidPayload as why:
        raise InvalidOutput(str(why)) from None
