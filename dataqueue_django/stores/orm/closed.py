"""What was just found closed: busy workers, who have other jobs to take, look at it again a little later only.

A lane under a full limit costs several statements to look at, and nothing has changed since the last look unless a job
under a limit has ended. This process knows of its own jobs; what becomes of others is noticed when the time is up.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from ...domain.controls import Controls
from ...domain.records import Claim, ClaimedJob
from .admitting import Admission
from .lanes import Lane

LOOK_AGAIN = 0.02
"""Seconds."""

MOST_KNOWN = 10_000


class Closed:
    """The lanes that had no room a moment ago, and the jobs that may make some by ending."""

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}
        self._controls = Controls()
        self._running: set[Any] = set()

    def without(self, lanes: Sequence[Lane], claim: Claim, controls: Controls) -> list[Lane]:
        """Return the lanes that are worth looking at."""
        if controls is not self._controls:
            self._until.clear()
            self._controls = controls
        if not self._until:
            return list(lanes)
        now = time.monotonic()
        return [lane for lane in lanes if self._until.get(_key(lane, claim), 0.0) <= now]

    def looked(self, admission: Admission, claim: Claim) -> None:
        """Note which lanes had no room."""
        until = time.monotonic() + admission.closed_for(LOOK_AGAIN)
        for lane in admission.closed:
            self._until[_key(lane, claim)] = until

    def began(self, jobs: Sequence[ClaimedJob]) -> None:
        """Note the jobs that run under rules."""
        if len(self._running) > MOST_KNOWN:  # some ended in other ways than this process knows of
            self._running.clear()
        self._running.update(job.id for job in jobs)

    def ended(self, ids: Collection[Any]) -> None:
        """Forget what was closed if one of these jobs ran under rules."""
        if not self._running.isdisjoint(ids):
            self._running.difference_update(ids)
            self._until.clear()


def _key(lane: Lane, claim: Claim) -> Any:
    return lane, claim.crashed, claim.group_concurrency, claim.exclude_groups
