"""Requests to cancel what runs here: looking for them, and telling the handlers.

Nothing is read while nothing runs, nor for jobs that end between two looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ..conf import WorkerSettings
from ..logs import worker as logger
from ..stores import Store
from .signal import AbortReason
from .slots import Run

LOOK_LISTENING, LOOK_DEAF = 5.0, 1.5
"""Seconds between two looks, where the worker hears of requests and where it does not."""

AFTER_A_WAKE = 0.5
"""The least seconds between two looks: wakes tell of new jobs, too, and may come by the hundred."""


class Cancelling:
    """The requests that concern one worker; `runs` are all that have not ended, those that wait for a slot included."""

    def __init__(
        self, store: Store, runs: Collection[Run], settings: WorkerSettings, hears: Callable[[], bool]
    ) -> None:
        self._store = store
        self._runs = runs
        self._grace = settings.cancel_grace
        self._hears = hears
        self._looked_at = 0.0
        self._at: float | None = None

    def due_at(self) -> float:
        """Return the monotonic time of the next look; infinite while nothing runs that could be stopped."""
        if not self._unasked():
            self._at = None
            return float("inf")
        if self._at is None:
            self._at = time.monotonic() + self._pause()
        return self._at

    def woken(self) -> None:
        """Somebody may have asked: look soon."""
        if self._at is not None:
            self._at = min(self._at, max(time.monotonic(), self._looked_at + AFTER_A_WAKE))

    def look(self) -> None:
        """If it is time, ask for the requests for all that runs, in one statement, and tell the handlers concerned."""
        now = time.monotonic()
        if self.due_at() > now:
            return
        running = {run.job.id: run for run in self._unasked()}
        self._looked_at, self._at = now, now + self._pause()
        for request in self._store.cancel_requests(list(running)):
            run = running[request.id]
            logger.info("job %d is asked to stop", request.id)
            run.abort(AbortReason.CANCELLED)

    def deaf(self) -> list[Run]:
        """Return the runs in this process that were asked to stop, have used up their grace, and go on."""
        return [run for run in self._asked() if run.signal.ignored_for(self._grace)]

    def deaf_at(self) -> float:
        """Return when, in monotonic seconds, the next run has used up its grace; infinite when none was asked."""
        return min(
            (run.signal.asked_at + self._grace for run in self._asked() if run.signal.asked_at), default=float("inf")
        )

    def _pause(self) -> float:
        return LOOK_LISTENING if self._hears() else LOOK_DEAF

    def _unasked(self) -> list[Run]:
        return [run for run in self._runs if not run.decided and run.signal.asked is None]

    def _asked(self) -> list[Run]:
        asked = [run for run in self._runs if run.signal.asked is AbortReason.CANCELLED]
        return [run for run in asked if not (run.decided or run.isolated)]
