"""When a worker's loop ends, and how: asked to, done with what it was started for, or cut off."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .mail import ExitCode


@dataclass(slots=True)
class Ending:
    """The end of one loop as far as it is known. Times are monotonic seconds."""

    code: int | None = None
    """The exit code once the loop is to end; None while it goes on."""

    stop_at: float | None = None
    """When what still runs is given back; None while the loop takes new jobs."""

    failure: Exception | None = None
    """What kept a loop that does not wait for its store from claiming anything."""

    def stop_within(self, seconds: float) -> bool:
        """Take no new jobs and end within `seconds`; a later call moves the end. Returns whether it is the first."""
        first = self.stop_at is None
        self.stop_at = time.monotonic() + seconds
        return first

    def now(self, code: int) -> None:
        """End at once, giving back what runs."""
        self.code = code

    def fail(self, error: Exception) -> None:
        """End at once, since nothing could be claimed."""
        self.code, self.failure = ExitCode.FAILED, error

    def look(self, *, done: bool, exhausted: bool, wedged: bool) -> None:
        """Judge one round: whether every outcome is stored, no claim will follow, and every slot is stuck."""
        drained = self.stop_at is not None and (done or time.monotonic() >= self.stop_at)
        if drained or (done and exhausted):
            self.code = ExitCode.DRAINED
        elif wedged:
            self.code = ExitCode.WEDGED
