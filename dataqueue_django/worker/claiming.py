"""When a worker asks for jobs, for which, and for how many."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from ..conf import WorkerSettings
from ..domain.records import Claim, ClaimedJob
from ..handlers import Registry
from ..stores import Store
from .options import ProcessorOptions
from .pace import Pace
from .slots import MOST_THREADS, Slots

POLL_LISTENING, POLL_DEAF = 5.0, 1.0
"""Seconds between two looks of an idle worker that hears wake-ups, and of one that does not."""

ECHO = 0.010
"""A job added within the notifier's window after another has no wake-up of its own: look again after this long."""

BATCH = 10
"""Jobs that a worker takes which works on a single batch."""

LOOK_EVERY, QUIET_FOR = 10.0, 30.0
"""Seconds: how often a busy worker looks for jobs that must run alone, and how long it then lets its slots run empty
the first time. If that was not enough it works on for twice as long, and is quiet for twice as long the next time."""

SHORTEST_PAUSE = 0.05
"""Seconds before a job that is due but could not be claimed, since somebody holds its row, is looked for again; doubled
while that goes on."""


class Claiming:
    """Plans the next claim. A job that took a process down before is only claimed when nothing else runs."""

    def __init__(
        self,
        store: Store,
        handlers: Registry,
        options: ProcessorOptions,
        settings: WorkerSettings,
        slots: Slots,
        hears: Callable[[], bool],
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._options = options
        self._settings = settings
        self._slots = slots
        self._hears = hears
        self.pace = Pace(options.batch_size or settings.batch_size)
        self.taken = 0
        """How many jobs were claimed and not given back unstarted."""
        self.has_answer = False
        self._found_nothing = False
        self._at = 0.0
        self._echo_at = 0.0
        self._alone_next = False
        self._look_at = time.monotonic() + LOOK_EVERY
        self._quiet_until = 0.0
        self._quiet_for = QUIET_FOR
        self._vain_looks = 0

    def due_at(self, *, idle: bool) -> float:
        """Return the monotonic time of the next claim; infinite while only an ending handler can make room for one."""
        if self._has_its_share():
            return float("inf")
        if self._alone_next:
            return self._at if idle else float("inf")
        if time.monotonic() < self._quiet_until:
            return self._at if idle else self._quiet_until
        return self._at if self.room() > 0 else float("inf")

    def types(self) -> tuple[str, ...]:
        """Return the job types this worker can run and wants."""
        known = self._handlers.types()
        return tuple(t for t in known if t in self._options.job_types) if self._options.job_types else known

    def soon(self) -> None:
        """A slot became free: ask again at once."""
        self._at = 0.0

    def woken(self) -> None:
        """Somebody added jobs: ask at once, and once more when the notifier's window is over."""
        self._at, self._echo_at = 0.0, time.monotonic() + ECHO

    @property
    def exhausted(self) -> bool:
        """Whether this worker has claimed all that it was started for."""
        return self._has_its_share() or (self._options.is_burst and self._found_nothing)

    def returned(self, jobs: int) -> None:
        """Note that so many jobs were given back unstarted: they may be claimed again."""
        self.taken -= jobs

    def room(self) -> int:
        """Return how many jobs would be claimed now."""
        if self._options.once:
            return self._options.batch_size or self._settings.batch_size or BATCH
        return int(min(self._room(), self._left()))

    def _has_its_share(self) -> bool:
        return self._left() <= 0 or (self._options.once and self.taken > 0)

    def _left(self) -> float:
        return float("inf") if self._options.max_jobs is None else self._options.max_jobs - self.taken

    def _room(self) -> int:
        limit = self.pace.limit(self._slots.room(), self._slots.held(), self._slots.size)
        spare = self._slots.spare_threads()
        return min(limit, spare) if self._slots.size > MOST_THREADS and spare > 0 else limit

    def _startable(self) -> tuple[str, ...]:
        """The wanted types that could start: with every thread busy and slots left, only those with async handlers."""
        if self._slots.size <= MOST_THREADS or self._slots.spare_threads() > 0:
            return self.types() or NO_TYPES
        known = ((name, self._handlers.get(name)) for name in self.types())
        return tuple(name for name, handler in known if handler is not None and handler.is_async)

    def next(self, worker_id: int, label: str, *, idle: bool) -> Claim | None:
        """Return what to ask for now; None while there is no room or it is too early."""
        now = time.monotonic()
        if now < self._at or self._has_its_share():
            return None
        alone = self._alone_next or self._is_quiet(worker_id, label, now, idle)
        if alone:
            return self._claim(worker_id, label, 1, crashed=True) if idle else None
        limit = self.room()
        types = self._startable()
        return self._claim(worker_id, label, limit, types=types) if limit > 0 and types else None

    def answered(self, claim: Claim, jobs: list[ClaimedJob], sent_at: float, *, idle: bool) -> None:
        """Plan from a claim's answer: go on while jobs come, then try one that must run alone, then sleep."""
        self.has_answer = True
        self.taken += len(jobs)
        self._found_nothing = not jobs and (bool(claim.crashed) or not idle)
        if claim.crashed:
            self._alone_next, self._quiet_until, self._quiet_for = False, 0.0, QUIET_FOR
        if jobs:
            self._at, self._vain_looks = 0.0, 0
        elif not claim.crashed and idle:
            self._alone_next, self._at = True, 0.0
        else:
            self._sleep(claim, sent_at)

    def _sleep(self, claim: Claim, sent_at: float) -> None:
        """Sleep until the next job comes due, but not longer than the poll interval."""
        given = self._options.poll_interval or self._settings.poll_interval
        poll = given or (POLL_LISTENING if self._hears() else POLL_DEAF)
        pause = poll * random.uniform(0.9, 1.1)
        due = self._store.next_ready_in(claim)
        if due is not None:
            self._vain_looks = self._vain_looks + 1 if due < 0.001 else 0
            pause = min(pause, max(due + 0.001, SHORTEST_PAUSE * 2**self._vain_looks if self._vain_looks else 0.0))
        self._at = sent_at + pause
        if self._echo_at > time.monotonic():
            self._at = min(self._at, self._echo_at)

    def _is_quiet(self, worker_id: int, label: str, now: float, idle: bool) -> bool:
        """Whether this worker lets its slots run empty, because a job waits that must run alone."""
        if now < self._quiet_until:
            return True
        if idle or now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY
        if not self._store.would_find(self._claim(worker_id, label, 1, crashed=True)):
            return False
        self._quiet_until, self._look_at = now + self._quiet_for, now + 3 * self._quiet_for
        self._quiet_for *= 2
        return True

    def _claim(
        self, worker_id: int, label: str, limit: int, *, crashed: bool = False, types: tuple[str, ...] = ()
    ) -> Claim:
        return Claim(
            limit=limit,
            worker_id=worker_id,
            locked_by=label,
            queues=self._options.queues,
            exclude_queues=self._options.exclude_queues,
            job_types=types or self.types() or NO_TYPES,
            crashed=crashed,
            exclude_groups=self._options.exclude_groups,
            group_concurrency=self._options.group_concurrency,
        )


NO_TYPES = ("",)
"""A worker that knows no handler claims nothing: no job type is empty."""
