"""A worker's part in schedules: it looks when the next one is due, and now and then for new ones."""

from __future__ import annotations

import time

from ..announcing import Announce
from ..exceptions import ConfigurationError
from ..logs import worker as logger
from ..queue.base import QueueBase
from ..queue.declaring import declare
from ..queue.ticking import enqueue_due

AT_MOST = 0.5
"""Seconds that one look takes; the rest waits for the next turn of the loop."""

AGAIN = 1.0
"""Seconds between two looks that were asked for by waking: every new job wakes workers."""


class Clockwork:
    """Fires schedules in time. Any number of workers do; each tick is fired once."""

    def __init__(self, queue: QueueBase, announce: Announce) -> None:
        self._queue = queue
        self._announce = announce
        self._has_declared = False
        self._looked_at = float("-inf")
        self.due_at = float("-inf")
        """The monotonic time of the next look."""

    def look(self) -> int:
        """Fire what is due, if it is time to look, and return how many jobs were added."""
        if time.monotonic() < self.due_at:
            return 0
        if not self._has_declared:
            self._declare()
        added = enqueue_due(self._queue, self._announce, within=AT_MOST)
        ahead = self._queue.store.next_schedule_in()
        self._looked_at = time.monotonic()
        longest = self._queue.settings.worker.reap_every
        self.due_at = self._looked_at + (longest if ahead is None else min(ahead, longest))
        return added

    def woken(self) -> None:
        """Look soon: somebody may have added a schedule."""
        self.due_at = min(self.due_at, self._looked_at + AGAIN)

    def _declare(self) -> None:
        """Store what the code declares, once; what is declared wrongly does not keep a worker from its jobs."""
        try:
            declare(self._queue)
        except ConfigurationError as why:
            logger.error("no schedule that the code declares was stored: %s", why)
        self._has_declared = True
