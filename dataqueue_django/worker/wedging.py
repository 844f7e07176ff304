"""When every slot is stuck: handlers that outlived their job cannot be ended, and keep their slots.

They overran their deadline, or somebody asked them to stop and they did not hear.
"""

from __future__ import annotations

import time

from ..logs import worker as logger
from .signal import AbortReason
from .slots import Run, Slots


class WedgeWatch:
    """Notices that no slot has come free for long, since handlers that outlived their job hold them all."""

    def __init__(self, slots: Slots, after: float, *, is_supervised: bool) -> None:
        self._slots = slots
        self._after = after
        self._is_supervised = is_supervised
        self._since: float | None = None

    def calls_for_the_end(self) -> bool:
        """Return whether the process should end, so that its supervisor replaces it.

        Without a supervisor it never should: that nothing works is logged, again and again.
        """
        now = time.monotonic()
        running = self._slots.running()
        if len(running) < self._slots.size or not all(_outlives_its_job(run) for run in running):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < self._after:
            return False
        if self._is_supervised:
            logger.error("every slot is held by a handler that does not end in time; the process ends to be restarted")
            return True
        logger.error(
            "every slot is held by a handler that does not end in time; this worker does nothing until one returns"
        )
        self._since = now
        return False


def _outlives_its_job(run: Run) -> bool:
    """Whether a handler still runs whose job was decided at its deadline or at somebody's request."""
    return run.decided and (run.deadline.look_at is not None or run.signal.asked is AbortReason.CANCELLED)
