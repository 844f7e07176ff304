"""Closing rates: where a handler was told that nothing more is allowed for now, nothing else need ask before that.

The outcome of such a job does not depend on it: a rate that cannot be closed is logged, and the job is snoozed all the
same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from ..domain.controls import narrowest_rates
from ..domain.records import ClaimedJob
from ..logs import worker as logger
from ..stores import Store


class ClosingRates:
    """The jobs that were rate limited, and for how long, until the rates over them are closed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: list[tuple[ClaimedJob, float]] = []

    def add(self, job: ClaimedJob, seconds: float) -> None:
        """Note that nothing may begin under the narrowest rates over a job for so many seconds from now."""
        self._asked.append((job, time.monotonic() + seconds))

    def close(self) -> None:
        """Close what was asked for; never raises. What finds no connection is tried again when this is next called."""
        asked, self._asked = self._asked, []
        if not asked:
            return
        try:
            for until, keys in self._times(asked).items():
                self._store.close_rate(keys, until=until)
        except Exception as error:
            logger.warning("the rates over jobs that were rate limited (%d) were not closed", len(asked), exc_info=True)
            if self._store.is_lost_connection(error):
                self._asked = asked

    def _times(self, asked: list[tuple[ClaimedJob, float]]) -> Mapping[datetime, list[str]]:
        """Return until when to close which rates: each once, for as long as the longest asks for."""
        ends: dict[str, float] = {}
        limits = self._store.controls().limits
        for job, end in asked:
            for key in narrowest_rates(limits, job.queue, job.job_type, job.group_id):
                ends[key] = max(end, ends.get(key, end))
        if not ends:
            return {}
        now, at = self._store.now(), time.monotonic()
        times: dict[datetime, list[str]] = {}
        for key, end in ends.items():
            if end > at:
                times.setdefault(now + timedelta(seconds=end - at), []).append(key)
        return times
