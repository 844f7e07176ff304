"""A worker loop in a thread of its own, for a process that has other things to do."""

from __future__ import annotations

import atexit
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from threading import Thread

from ..logs import worker as logger
from .loop import WorkerLoop

LONGEST_END = 10.0
"""Seconds to wait for a loop that was told to give everything back: three tries with the store, and some."""


class BackgroundLoop:
    """Runs one loop from now on. The thread is a daemon: when the interpreter ends, the jobs are given back."""

    def __init__(self, loop: WorkerLoop) -> None:
        self.loop = loop
        self.ended: Future[None] = Future()
        """Done when the loop has ended; with the exception, should it have crashed."""
        self._thread = Thread(target=self._run, name=f"dataqueue-worker-{loop.label}", daemon=True)
        self.ended.set_running_or_notify_cancel()
        atexit.register(self.give_back)
        try:
            self._thread.start()
        except RuntimeError:  # at some limit of the system
            atexit.unregister(self.give_back)
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the loop has not ended; a process that was forked has none."""
        return not self.ended.done() and self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end, at most so many seconds; returns whether it came."""
        # Not by joining the thread: a join that Ctrl+C interrupts takes a running thread for ended.
        if self.is_alive and not wait_for([self.ended], seconds).done:
            return False
        self._thread.join()
        return True

    def give_back(self) -> bool:
        """Give everything back now and wait for the end, for a bounded time; returns whether it came."""
        self.loop.give_back()
        return self.wait(LONGEST_END)

    def _run(self) -> None:
        crash: BaseException | None = None
        try:
            self.loop.run()
        except BaseException as error:
            crash = error
            logger.exception("the worker %s ended by an error of its own", self.loop.label)
        atexit.unregister(self.give_back)
        if crash is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(crash)
