"""How many jobs to ask for: the free slots, and some more while jobs are so short that asking takes the time."""

from __future__ import annotations

import time

SHORT = 0.020
"""Only types whose mean run time is below this many seconds are claimed ahead."""

AHEAD = 0.100
"""Never more than is expected to start within this many seconds."""

MOST = 100
RECENT = 10.0
WEIGHT = 0.2


class Pace:
    """The moving average of run times by job type, as far as it was run lately."""

    def __init__(self, most: int | None = None) -> None:
        self._most = MOST if most is None else most
        self._means: dict[str, tuple[float, float]] = {}
        self._stalled = False

    def ran(self, job_type: str, seconds: float) -> None:
        """Note how long a job took."""
        self._stalled = False
        mean, _ = self._means.get(job_type, (seconds, 0.0))
        self._means[job_type] = (mean + WEIGHT * (seconds - mean), time.monotonic())

    def stalled(self) -> None:
        """Note that jobs claimed ahead did not start in time: no more of that until something has ended again."""
        self._stalled = True

    def ahead(self, slots: int) -> int:
        """Return how many jobs may be held beyond the free slots."""
        now = time.monotonic()
        means = [mean for mean, at in self._means.values() if now - at < RECENT]
        if self._stalled or not means or max(means) >= SHORT:
            return 0
        return min(self._most, int(slots * AHEAD / max(max(means), 1e-6)))

    def limit(self, room: int, held: int, slots: int) -> int:
        """Return how many jobs to claim now."""
        wanted = room + max(0, self.ahead(slots) - held)
        return min(self._most, wanted)
