"""Several worker processes under one parent, and the one that is restarted when code changes.

Children are new interpreters, never forks: a fork of a process with threads and connections is undefined. A child
knows that its parent is gone when its lifeline, a pipe, reads as closed. The parent knows from shared memory what a
dead child had begun, and takes its jobs back at once.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from ..domain.liveness import expire
from ..logs import worker as logger
from ..queue.base import QueueBase
from ..queue.taking_back import take_back
from .announcer import LAST_RECEIVERS, Announcer
from .begun import BegunTable
from .mail import ExitCode

ENVIRONMENT = "DATAQUEUE_SUPERVISED"
"""Set in a child to "<lifeline fd>,<table fd>"."""

STEADY = 5.0
"""A child that lived this long, in seconds, is replaced at once; one that did not, after a growing pause."""

LONGEST_PAUSE = 5.0

PATIENCE = 30.0
"""Seconds after the first signal in which the database is still waited for; none after the second."""


@dataclass(eq=False, slots=True)
class Child:
    """One worker process."""

    number: int
    process: subprocess.Popen[bytes]
    lifeline: int
    begun: BegunTable
    born_at: float


@dataclass(frozen=True, slots=True)
class Died:
    """A child has ended."""

    child: Child


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal arrived."""

    signum: int


class Supervisor:
    """Keeps `processes` children running. `run` blocks until all have ended for good and returns the exit code.

    With `finite` a child that ends with code 0 has done its part and is not replaced.
    """

    def __init__(
        self,
        queue: QueueBase,
        command: Callable[[int], Sequence[str]],
        processes: int,
        *,
        finite: bool = False,
        changed_files: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._queue = queue
        self._command = command
        self._finite = finite
        self._announcer = Announcer(queue.store.alias)
        self._changed_files = changed_files
        self._news: SimpleQueue[Died | Asked] = SimpleQueue()
        self._children: dict[int, Child] = {}
        self._restarts: dict[int, float] = dict.fromkeys(range(processes), 0.0)
        self._short_lives: dict[int, int] = {}
        self._unburied: list[Child] = []
        self._codes: list[int] = []
        self._signals: list[int] = []
        self._session = queue.store.private_session()
        self._patient_until = float("inf")

    def signal(self, signum: int) -> None:
        """Pass a signal on to the children; from a signal handler."""
        self._news.put(Asked(signum))

    def run(self) -> int:
        """Start the children and look after them."""
        try:
            with self._session:
                while self._children or self._restarts or self._has_to_bury():
                    self._start_due()
                    self._handle(self._next_news())
                    self._bury()
                    self._reload_if_changed()
        finally:
            self._announcer.close(within=LAST_RECEIVERS)
        return self._exit_code()

    def _has_to_bury(self) -> bool:
        """Whether dead children's jobs are still to be taken back; once asked to end, only for a while."""
        if self._unburied and time.monotonic() > self._patient_until:
            logger.error("the jobs of a dead worker process could not be taken back; other workers will reclaim them")
            return False
        return bool(self._unburied)

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, at in list(self._restarts.items()):
            if at <= now:
                del self._restarts[number]
                self._children[number] = self._start(number)

    def _start(self, number: int) -> Child:
        begun = BegunTable.create()
        reading, lifeline = os.pipe()
        os.set_inheritable(reading, True)
        environment = {**os.environ, ENVIRONMENT: f"{reading},{begun.fd}"}
        process = subprocess.Popen(  # noqa: S603 - our own command line
            list(self._command(number)), env=environment, pass_fds=(reading, begun.fd), start_new_session=True
        )
        os.close(reading)
        child = Child(number, process, lifeline, begun, time.monotonic())
        Thread(target=self._await, args=(child,), name=f"dataqueue-child-{number}", daemon=True).start()
        return child

    def _await(self, child: Child) -> None:
        child.process.wait()
        self._news.put(Died(child))

    def _next_news(self) -> Died | Asked | None:
        soon = min([1.0, *(max(0.0, at - time.monotonic()) for at in self._restarts.values())])
        try:
            return self._news.get(timeout=max(0.01, soon))
        except Empty:
            return None

    def _handle(self, news: Died | Asked | None) -> None:
        match news:
            case Asked(signum):
                self._signals.append(signum)
                self._restarts.clear()
                self._patient_until = time.monotonic() + (PATIENCE if len(self._signals) == 1 else 0.0)
                for child in self._children.values():
                    child.process.send_signal(signum)
            case Died(child):
                self._unburied.append(child)
                self._children.pop(child.number, None)
                self._plan_restart(child)

    def _plan_restart(self, child: Child) -> None:
        code = child.process.returncode
        if self._signals or code == ExitCode.USAGE or (code == ExitCode.DRAINED and self._finite):
            # One that was still starting dies of the signal itself, which is as good as a drained one: it held nothing.
            unborn = -code in self._signals and not child.begun.worker_id
            self._codes.append(int(ExitCode.DRAINED) if unborn else code)
            return
        if code != RELOADED:
            logger.error("worker process %d ended with code %d and is replaced", child.process.pid, code)
        steady = code == RELOADED or time.monotonic() - child.born_at > STEADY
        lives = self._short_lives[child.number] = 0 if steady else self._short_lives.get(child.number, 0) + 1
        pause = 0.0 if lives <= 1 else min(LONGEST_PAUSE, 0.1 * 2**lives)
        self._restarts[child.number] = time.monotonic() + pause

    def _bury(self) -> None:
        """Take back what dead children held; what cannot be done now, for want of a database, is tried again."""
        for child in list(self._unburied):
            try:
                self._take_back(child)
            except Exception as error:
                if not self._queue.store.is_lost_connection(error):
                    logger.exception("the jobs of a dead worker process could not be taken back")
                    if not isinstance(error, OSError):
                        self._forget(child)
                self._session.reset()
                continue
            self._forget(child)

    def _take_back(self, child: Child) -> None:
        worker_id = child.begun.worker_id
        if not worker_id:
            return
        store, crash_limit = self._queue.store, self._queue.settings.worker.crash_limit
        take = partial(
            take_back,
            store,
            worker_id,
            begun=child.begun.had_begun,
            crash_limit=crash_limit,
            announce=self._announcer.announce,
        )
        # Before the row expires, for then other workers take back as well and know nothing of what had begun; and after
        # it, for a claim that was still on its way.
        while take():
            pass
        store.commit([(expire(worker_id),)])
        while take():
            pass

    def _forget(self, child: Child) -> None:
        self._unburied.remove(child)
        os.close(child.lifeline)
        child.begun.close()

    def _reload_if_changed(self) -> None:
        """On a changed file, cut the lifelines: the children give their jobs back uncharged and are started anew."""
        changed = self._changed_files() if self._changed_files is not None and not self._signals else ()
        if not changed:
            return
        logger.info("%s changed, reloading", changed[0])
        for child in self._children.values():
            os.set_blocking(child.lifeline, False)
            with suppress(OSError):  # it has just died, or was asked before
                os.write(child.lifeline, RELOAD)
        for number in self._restarts:
            self._restarts[number] = 0.0
        self._short_lives.clear()

    def _exit_code(self) -> int:
        if len(self._signals) > 1:
            return 128 + self._signals[-1]
        return next((code if code > 0 else 128 - code for code in self._codes if code), 0)


RELOADED = 3
"""The exit code of a child that gave its jobs back because code changed."""

RELOAD = b"r"
"""What the parent writes into a lifeline to ask for that."""


class Lifeline:
    """A child's end of the pipe: tells when the parent is gone or wants the child replaced."""

    def __init__(self, fd: int, on_cut: Callable[[int], None]) -> None:
        self._fd = fd
        self._on_cut = on_cut

    def watch(self) -> None:
        """Start a thread that waits for either."""
        Thread(target=self._wait, name="dataqueue-lifeline", daemon=True).start()

    def _wait(self) -> None:
        asked = os.read(self._fd, 1)
        self._on_cut(RELOADED if asked == RELOAD else int(ExitCode.FAILED))


def inherited() -> tuple[int, BegunTable] | None:
    """Return the lifeline and the table that a supervisor handed to this process, or None without one."""
    given = os.environ.pop(ENVIRONMENT, "")
    if not given:
        return None
    lifeline, table = map(int, given.split(","))
    for fd in (lifeline, table):
        os.set_inheritable(fd, False)
    return lifeline, BegunTable(table)
