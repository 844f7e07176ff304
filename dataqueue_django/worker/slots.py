"""The slots of a worker: jobs that are held until one is free, and jobs that run in one.

Threads and the event loop take jobs from here by themselves, so a job that ends and the next that starts do not wait
for the processor, which may be in a database call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition

from ..domain.records import ClaimedJob
from ..handlers import Handler
from .context import BaseContext
from .deadline import Deadline
from .signal import AbortReason, AbortSignal


@dataclass(eq=False, slots=True)
class Run:
    """One claimed job on its way through this process. Times are monotonic seconds.

    `decided` is set by whoever first decides how the run ends: its own thread, or the processor at its deadline.
    """

    job: ClaimedJob
    handler: Handler | None
    signal: AbortSignal
    context: BaseContext
    held_since: float = field(default_factory=time.monotonic)
    began_at: float | None = None
    ended_at: float | None = None
    decided: bool = False
    isolated: bool = False
    cancel: Callable[[], None] | None = None

    @property
    def deadline(self) -> Deadline:
        """When the handler has to be done."""
        return self.context.deadline

    @property
    def is_async(self) -> bool:
        """Whether the handler runs on the event loop of this process."""
        return not self.isolated and self.handler is not None and self.handler.is_async

    @property
    def seconds(self) -> float:
        """How long the handler has run."""
        if self.began_at is None:
            return 0.0
        return (self.ended_at or time.monotonic()) - self.began_at

    @property
    def held(self) -> float:
        """How long the job was held, in seconds, before its handler began."""
        return (self.began_at or time.monotonic()) - self.held_since

    def abort(self, reason: AbortReason) -> None:
        """Ask the handler to stop; an async one is cancelled."""
        self.signal.abort(reason)
        if self.cancel is not None:
            self.cancel()


MOST_THREADS = 64
"""More threads than this only take turns; slots beyond it are for async handlers."""


class Slots:
    """At most `size` running jobs of both kinds; the rest wait in claim order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._changed = Condition()
        self._held: dict[bool, deque[Run]] = {False: deque(), True: deque()}
        self._running: set[Run] = set()
        self._closed = False
        self._was_full = False
        self.on_async: Callable[[], None] = lambda: None
        self.on_room: Callable[[Run], None] = lambda run: None
        """Called with the run that left when there is room again after `room` found none, and when nothing runs."""

    def hold(self, runs: list[Run]) -> None:
        """Add claimed jobs, in claim order."""
        with self._changed:
            for run in runs:
                self._held[run.is_async].append(run)
            self._changed.notify(len(runs))
        if any(run.is_async for run in runs):
            self.on_async()

    def take(self, *, is_async: bool, wait: bool) -> Run | None:
        """Move the next held job of a kind into a slot; None when there is none (or, waiting, once closed)."""
        with self._changed:
            while not (self._held[is_async] and len(self._running) < self.size):
                if self._closed or not wait:
                    return None
                self._changed.wait()
            run = self._held[is_async].popleft()
            self._running.add(run)
            return run

    def free(self, run: Run) -> None:
        """Give up a run's slot."""
        with self._changed:
            self._running.discard(run)
            self._changed.notify()
            wake_loop = bool(self._held[True])
            tell = (self._was_full or not self._running) and not any(self._held.values())
            self._was_full = self._was_full and not tell
        if wake_loop:
            self.on_async()
        if tell:
            self.on_room(run)

    def decide(self, run: Run, tell: Callable[[], None] = lambda: None) -> bool:
        """Return True to the first caller for a run, False to any later one.

        The first caller's `tell` is called before anybody else can see that the run is decided, so that no outcome is
        on its way when the processor ends.
        """
        with self._changed:
            first, run.decided = not run.decided, True
            if first:
                tell()
            return first

    def withdraw(self, held_before: float | None = None) -> list[Run]:
        """Take back held jobs that have not started: all, or those held since before a moment."""
        with self._changed:
            back = [r for q in self._held.values() for r in q if held_before is None or r.held_since < held_before]
            for queue in self._held.values():
                for run in [run for run in queue if run in back]:
                    queue.remove(run)
            return back

    def close(self) -> None:
        """Let waiting threads end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def running(self) -> list[Run]:
        """Return the runs that have a slot."""
        with self._changed:
            return list(self._running)

    def held(self) -> int:
        """Return how many jobs wait for a slot."""
        with self._changed:
            return sum(map(len, self._held.values()))

    def spare_threads(self) -> int:
        """Return how many more synchronous handlers could run at once."""
        with self._changed:
            busy = sum(not run.is_async for run in self._running) + len(self._held[False])
            return max(0, min(self.size, MOST_THREADS) - busy)

    def room(self) -> int:
        """Return how many more jobs could start at once."""
        with self._changed:
            found = max(0, self.size - len(self._running) - sum(map(len, self._held.values())))
            self._was_full = found == 0
            return found
