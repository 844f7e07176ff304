"""When every slot is stuck: handlers that overran their deadline cannot be ended, and keep their slots."""

from __future__ import annotations

import time

from ..logs import worker as logger
from .slots import Slots


class WedgeWatch:
    """Notices that no slot has come free for long, since handlers past their deadline hold them all."""

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
        if len(running) < self._slots.size or not all(run.decided and run.deadline.look_at for run in running):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < self._after:
            return False
        if self._is_supervised:
            logger.error("every slot is held by a handler past its deadline; the process ends to be restarted")
            return True
        logger.error("every slot is held by a handler past its deadline; this worker does nothing until one returns")
        self._since = now
        return False
