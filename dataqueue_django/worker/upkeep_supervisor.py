"""Doing an alias' duties without running jobs: once, or every minute in the background."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any

from asgiref.sync import sync_to_async
from django.utils.asyncio import async_unsafe

from ..domain.retention import BATCH
from ..exceptions import ConfigurationError, JobStateError, did_you_mean, shown
from ..logs import worker as logger
from ..queue.base import QueueBase
from ..queue.duties import Chore, DutyRound, OnError, do_duties
from .options import label, seconds, whole, yes_or_no

LONGEST_INTERVAL, LONGEST_DRAIN = 24 * 3600.0, 24 * 3600.0
MOST_MINUTES, MOST_DAYS = 60 * 24 * 365, 36_500


@dataclass(frozen=True, kw_only=True, slots=True)
class UpkeepOptions:
    """What a supervisor of upkeep is asked to do. Days that are None are as the alias' RETENTION says; 0 is never."""

    supervisor_id: str = field(default_factory=lambda: f"supervisor-{socket.gethostname()}-{os.getpid()}"[:200])
    interval: float = 60.0
    stuck_jobs_timeout_minutes: float = 10.0
    cleanup_jobs_days_to_keep: float | None = None
    cleanup_events_days_to_keep: float | None = None
    cleanup_batch_size: int = BATCH
    reclaim_stuck_jobs: bool = True
    expire_timed_out_tokens: bool = True
    verbose: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class UpkeepReport:
    """What came of one round of a supervisor (DataQueue "SupervisorRunResult"): how many of each, by all its duties.

    `errors` are those of the duties that failed, by name. `unfinished` are the duties that have more to do, `skipped`
    those that somebody else was doing.
    """

    reclaimed_jobs: int = 0
    expired_tokens: int = 0
    woken_jobs: int = 0
    settled_requests: int = 0
    enqueued_cron_jobs: int = 0
    cleaned_up_jobs: int = 0
    cleaned_up_events: int = 0
    cleaned_up_logs: int = 0
    cleaned_up_ticks: int = 0
    forgotten_workers: int = 0
    errors: Mapping[str, Exception] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


COUNTS = tuple(f.name for f in fields(UpkeepReport) if f.type == "int")


class UpkeepSupervisor:
    """Does the duties of one alias in this process (DataQueue "Supervisor"); made by `queue.create_supervisor()`.

    Whoever else does them, workers or other supervisors: each duty is done by one of them at a time. It runs no jobs,
    installs no signal handlers and touches no logging.
    """

    def __init__(
        self, queue: QueueBase, chores: Sequence[Chore], options: UpkeepOptions, on_error: OnError | None = None
    ) -> None:
        self.options = options
        self._queue = queue
        self._chores = tuple(chores)
        self._on_error = on_error
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None

    @async_unsafe("UpkeepSupervisor.start() waits; use `await supervisor.astart()` in async code.")
    def start(self) -> UpkeepReport:
        """Do every duty once, due or not, and return what that did; those that somebody else is doing are skipped.

        A duty that fails stops no other: its error is in the report, in its row and in the log, and `on_error` is
        called with it. Watching silent workers may take a minute, deleting half a minute for each kind of row. Raises
        JobStateError inside a transaction.
        """
        self._refuse_transaction()
        return self._round(Event(), anyway=True)

    async def astart(self) -> UpkeepReport:
        """`start` for async code."""
        await sync_to_async(self._refuse_transaction, thread_sensitive=True)()
        return await sync_to_async(self._start_apart, thread_sensitive=False)()

    def start_in_background(self) -> None:
        """Do what is due, now and every `interval`, until told to stop (DataQueue "startInBackground").

        Returns at once; it works in a thread with a database connection of its own. An unreachable store is tried again
        at the next interval. Raises JobStateError while this supervisor runs already, also while it is still stopping.
        """
        with self._lock:
            if self.is_running():
                raise JobStateError("This supervisor is running already; call stop_and_drain() before it starts again.")
            self._stopping = Event()
            self._thread = Thread(target=self._run, args=(self._stopping,), name="dataqueue-upkeep", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Begin no further duty; does not wait (DataQueue "stop")."""
        self._stopping.set()

    @async_unsafe("UpkeepSupervisor.stop_and_drain() waits; use `await supervisor.astop_and_drain()` in async code.")
    def stop_and_drain(self, timeout: float | timedelta = 30.0) -> bool:
        """Begin no further duty and wait until the one under way is done, at most `timeout` (seconds or timedelta).

        Returns whether it was; True when nothing runs (DataQueue "stopAndDrain").
        """
        limit = seconds("timeout", timeout, 0.0, LONGEST_DRAIN)
        self.stop()
        if self._thread is not None:
            self._thread.join(limit)
        return not self.is_running()

    async def astop_and_drain(self, timeout: float | timedelta = 30.0) -> bool:
        """`stop_and_drain` for async code."""
        return await sync_to_async(self.stop_and_drain, thread_sensitive=False)(timeout)

    def is_running(self) -> bool:
        """Return whether it works in the background, or still finishes after `stop()`."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self, stopping: Event) -> None:
        with self._queue.store.private_session() as session:
            while not stopping.is_set():
                if self._round(stopping).errors:
                    session.reset()
                stopping.wait(self.options.interval)

    def _start_apart(self) -> UpkeepReport:
        with self._queue.store.private_session():
            return self._round(Event(), anyway=True)

    def _round(self, stopping: Event, *, anyway: bool = False) -> UpkeepReport:
        """Do the duties one by one, so that none is taken long before its turn."""
        found: dict[str, DutyRound] = {}
        for chore in self._chores:
            if stopping.is_set():
                break
            found[chore.name] = self._attempt(chore, anyway=anyway)
        report = _report(found)
        level = logging.INFO if self.options.verbose else logging.DEBUG
        logger.log(level, "upkeep did %s", {name: count for name in COUNTS if (count := getattr(report, name))})
        return report

    def _attempt(self, chore: Chore, *, anyway: bool) -> DutyRound:
        store = self._queue.store
        try:
            result = do_duties(store, [chore], self.options.supervisor_id, anyway=anyway)
        except Exception as error:  # not the duty's own: the store refused to hand it out
            logger.warning("the duty %r could not be taken: %s", chore.name, str(error).strip())
            result = DutyRound(errors={chore.name: error})
        if result.ready:
            store.on_commit(self._queue.notifier.publish)
        for failure in result.errors.values():
            self._tell(failure)
        return result

    def _tell(self, error: Exception) -> None:
        try:
            if self._on_error is not None:
                self._on_error(error)
        except Exception:
            logger.exception("on_error failed")

    def _refuse_transaction(self) -> None:
        if self._queue.store.in_transaction():
            raise JobStateError(
                "start() would hold its locks until the end of your transaction; call it outside of atomic() and "
                "ATOMIC_REQUESTS."
            )


def _report(found: Mapping[str, DutyRound]) -> UpkeepReport:
    counts = dict.fromkeys(COUNTS, 0)
    for result in found.values():
        for done in result.done.values():
            counts |= {name: counts[name] + count for name, count in done.report.items() if name in counts}
    return UpkeepReport(
        **counts,
        errors={name: error for result in found.values() for name, error in result.errors.items()},
        unfinished=tuple(name for result in found.values() for name in result.more),
        skipped=tuple(name for name, result in found.items() if not result.done and not result.errors),
    )


def upkeep_options_from(given: Mapping[str, Any]) -> UpkeepOptions:
    """Return the options that `create_supervisor` was given, without `on_error`.

    Raises ConfigurationError for an unknown name, naming the nearest, and for a value out of range.
    """
    known: Iterable[str] = (*READ, "on_error")
    for option in given:
        if option not in known:
            hint = did_you_mean(option, known) or f" Known: {', '.join(known)}."
            raise ConfigurationError(f"create_supervisor() got the unknown option {option!r}.{hint}")
    on_error = given.get("on_error")
    if on_error is not None and not callable(on_error):
        raise ConfigurationError(f"on_error is {shown(on_error)}; expected a function of one argument.")
    rest = {option: value for option, value in given.items() if option != "on_error" and value is not None}
    return UpkeepOptions(**{option: READ[option](option, value) for option, value in rest.items()})


def _number(least: float, most: float) -> Callable[[str, Any], float]:
    """Return a reader of numbers from `least` to `most`."""

    def read(option: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ConfigurationError(f"{option} is {shown(value)}; expected a number from {least:g} to {most:g}.")
        return float(value)

    return read


READ: Mapping[str, Callable[[str, Any], Any]] = {
    "supervisor_id": label,
    "interval": lambda option, value: seconds(option, value, most=LONGEST_INTERVAL),
    "stuck_jobs_timeout_minutes": _number(0.001, MOST_MINUTES),
    "cleanup_jobs_days_to_keep": _number(0, MOST_DAYS),
    "cleanup_events_days_to_keep": _number(0, MOST_DAYS),
    "cleanup_batch_size": whole(BATCH),
    "reclaim_stuck_jobs": yes_or_no,
    "expire_timed_out_tokens": yes_or_no,
    "verbose": yes_or_no,
}
"""How each option is read."""
