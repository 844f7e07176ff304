"""The last a worker does with its store: what ended is stored, what is left is given back, its row expires."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..logs import worker as logger
from .finishing import Finisher
from .membership import Membership

LAST_TRIES, LAST_SECONDS = 3, 2.0
"""How often a worker that ends tries to give its jobs back, and how long it waits for records that somebody else holds;
then they are left to the others."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Takes a worker out of its store. Without `keep_row` its row goes too, unless a job still refers to it."""

    finisher: Finisher
    membership: Membership
    is_unsure: Callable[[], bool]
    """Whether a claim may have taken jobs that its answer never brought."""
    keep_row: bool

    def leave(self, carefully: Callable[[Callable[[], None]], float]) -> None:
        """Try a few times; `carefully` does something with the store and returns for how long to pause then."""
        for _ in range(LAST_TRIES):
            pause = carefully(self._try)
            if self.membership.row is None and self.finisher.empty:
                return
            time.sleep(pause)
        logger.error("the last jobs could not be given back; other workers will reclaim them")

    def _try(self) -> None:
        """Store what is left, also after the row was lost: it may still be ours."""
        until = time.monotonic() + LAST_SECONDS
        while not self.finisher.empty and time.monotonic() < until:
            time.sleep(max(0.0, min(self.finisher.due_at, until) - time.monotonic()))
            self.finisher.exchange(None)
        if self.membership.row is None:
            return
        if self.is_unsure():
            self.membership.release_unknown(self.finisher.executions())
        self.membership.leave(keep_row=self.keep_row)
