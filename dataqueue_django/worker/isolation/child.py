"""A child interpreter, seen from its worker: it runs one handler at a time, and can be killed at any moment."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from ...handlers import Handler
from .hunting import kill_all
from .starting import start
from .wire import MEANWHILE, Line, Message, Say

CODE = "from dataqueue_django.isolated import main; main(*told['arguments'])"

READY_WITHIN = 60.0
"""Seconds in which a child has to have imported the project."""

END_WITHIN = 2.0


class ChildLost(Exception):
    """The child is gone, or talks nonsense; its text says how it died."""


class CannotStart(Exception):
    """No child can be started; its text says why."""


class ChildProcess:
    """One child. Used by one thread at a time, but for `ring` and `send`."""

    def __init__(self, mark: str, set_up: dict[str, Any]) -> None:
        ours, theirs = Pipe()
        control, tell = Pipe(duplex=False)
        self._line, self._control = Line(ours), Line(tell)
        self._mark = mark
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)
        self._ears = selectors.DefaultSelector()
        self._ears.register(ours, selectors.EVENT_READ)
        self._ears.register(self._bell, selectors.EVENT_READ)
        self.jobs = 0
        try:
            fds = [theirs.fileno(), control.fileno()]
            self._process = start(CODE, [*fds, os.getpid()], mark, fds=fds, stdin=subprocess.DEVNULL)
        except OSError as why:
            self._hang_up()
            raise CannotStart(f"a process could not be started: {why}") from None
        finally:
            theirs.close()
            control.close()
        self._line.send(Say.SET_UP, **set_up)
        self._is_ready = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def get_ready(self) -> None:
        """Wait until it has imported the project; raises CannotStart, and then it is dead."""
        if self._is_ready:
            return
        try:
            if not self._line.connection.poll(READY_WITHIN):
                raise CannotStart(f"the interpreter was not ready after {READY_WITHIN:g} s")
            message = self._line.receive()
            if message["say"] != Say.READY:
                raise CannotStart(f"the interpreter could not be set up: {message.get('why')}")
        except (EOFError, OSError):
            self.kill()
            raise CannotStart(f"the interpreter {self.how_it_died()} while it was set up") from None
        except CannotStart:
            self.kill()
            raise
        self._is_ready = True

    @property
    def is_given_up(self) -> bool:
        """Whether it was killed, or ended, by this worker."""
        return self._line.connection.closed

    def is_alive(self) -> bool:
        """Whether it could take a job: asks the system."""
        return not self.is_given_up and self._process.poll() is None

    def send(self, say: Say, **message: Any) -> None:
        """Send it a message; raises ChildLost."""
        try:
            (self._control if say in MEANWHILE else self._line).send(say, **message)
        except (OSError, ValueError):  # a closed connection is a ValueError or an OSError
            raise ChildLost(self.how_it_died()) from None

    def next(self, seconds: float) -> Message | None:
        """Return its next message; None when it was silent for so long, or somebody rang. Raises ChildLost."""
        try:
            ready = [key.fileobj for key, _ in self._ears.select(max(0.0, seconds))]
            if self._bell in ready:
                self._bell.recv(4096)
            return self._line.receive() if self._line.connection in ready else None
        except (EOFError, OSError, ValueError):
            raise ChildLost(self.how_it_died()) from None

    def knows(self, handler: Handler) -> str | None:
        """Return the dotted name of the function that it would run for a handler's job type; None for none."""
        self.send(Say.KNOWS, job_type=handler.job_type, module=handler.function.__module__)
        message = self.next(READY_WITHIN)
        return None if message is None else message["where"]

    def ring(self) -> None:
        """Let `next` return at once; from any thread."""
        with suppress(OSError):  # it is full of rings, or closed
            self._rope.send(b"!")

    def end(self) -> None:
        """Let it end by itself, having closed its database connections; killed if it does not."""
        if self.is_given_up:
            return
        with suppress(OSError, ValueError, subprocess.TimeoutExpired):
            self._line.send(Say.END)
            self._process.wait(END_WITHIN)
        self.kill()

    def kill(self) -> None:
        """Kill it and all it started; dead when this returns."""
        alive = self._process.poll() is None
        kill_all(self._mark, [self.pid] if alive else [])
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN)
        self._hang_up()

    def how_it_died(self) -> str:
        """Return how the process ended, for people."""
        until = time.monotonic() + END_WITHIN
        while (code := self._process.poll()) is None and time.monotonic() < until:
            time.sleep(0.005)
        if code is None:
            return "closed its connection"
        return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"

    def _hang_up(self) -> None:
        for end in (self._ears, self._line, self._control, self._bell, self._rope):
            end.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
