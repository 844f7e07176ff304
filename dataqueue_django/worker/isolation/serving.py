"""A child interpreter's own side: runs the jobs its worker sends, one at a time, and passes on what handlers tell.

The main thread takes jobs and runs the sync handlers, the event loop of a worker the async ones, with the context they
have in any worker; another thread hears what the worker says meanwhile. What is durable goes straight to the store;
progress, lines and the deadline are the worker's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any

from django.db import connections

from ...domain.records import ClaimedJob
from ...handlers import Handler
from ...logs import worker as logger
from ...queue.base import QueueBase
from ..connections import ThreadConnections
from ..context import AsyncJobContext, JobContext
from ..coroutines import EventLoopThread
from ..deadline import ANSWER_WITHIN, Deadline, checked_callback, checked_length, wanted
from ..executor import run_async, run_sync
from ..keeping_lines import bridge
from ..outcomes import Outcome
from ..reports import Report, Reports
from ..running import log_failure
from ..signal import AbortReason, AbortSignal
from ..slots import Run, Slots
from .hunting import MARK, kill_all
from .limits import limit_cpu
from .wire import Line, Message, Say, from_outcome, from_report, to_job, to_report

FORWARD_EVERY = 0.1
"""Seconds between two reports to the worker, which stores them every half second."""


class Serving:
    """Serves one worker until it hangs up."""

    def __init__(self, line: Line, control: Line, queue: QueueBase, *, cpu: float | None, job_logs: bool) -> None:
        self._line = line
        self._control = control
        self._queue = queue
        self._cpu = cpu
        self._connections = ThreadConnections()
        self._slots = Slots(1)
        self._loop = EventLoopThread(self._slots, self._run_on_loop)
        self._slots.on_async = self._loop.poke
        self._replies: SimpleQueue[Any] = SimpleQueue()
        self._asking = Lock()
        self._job: _Job | None = None
        if job_logs:
            bridge.install()

    def run(self) -> None:
        """Do what the worker says. Ends the process when it is gone, with all that was started here."""
        Thread(
            target=self._listen, args=(self._control, self._hear_meanwhile), name="dataqueue-control", daemon=True
        ).start()
        self._line.send(Say.READY)
        self._listen(self._line, self._hear)
        self._slots.close()
        self._loop.stop()
        self._connections.close()

    @staticmethod
    def _listen(line: Line, hear: Callable[[Message], None]) -> None:
        try:
            while (message := line.receive())["say"] != Say.END:
                hear(message)
        except (EOFError, OSError):
            kill_all(os.environ.get(MARK, "no mark"))
            os._exit(1)

    def ask_worker(self, say: Say, **message: Any) -> Any:
        """Send the worker a question and return its answer."""
        with self._asking:
            self._line.send(say, **message)
            return self._replies.get()

    def _hear(self, message: Message) -> None:
        if message["say"] == Say.RUN:
            self._run(to_job(message["job"]), message["module"])
        else:
            handler = self._handler(message["job_type"], message["module"])
            self._line.send(Say.FOUND, where=None if handler is None else handler.where)

    def _hear_meanwhile(self, message: Message) -> None:
        job = self._job
        match message["say"]:
            case Say.REPLY:
                self._replies.put(message["answer"])
            case Say.ABORT if job is not None:
                job.run.abort(AbortReason(message["reason"]))
            case Say.ASK if job is not None:
                Thread(target=self._answer, args=(job.deadline,), name="dataqueue-on-timeout", daemon=True).start()

    def _run(self, claimed: ClaimedJob, module: str) -> None:
        """Run a handler: a sync one here and now, since handing it to another thread takes longer than all the rest."""
        limit_cpu(self._cpu)
        self._job = _Job(self, self._queue, self._line, claimed, self._handler(claimed.job_type, module))
        run = self._job.run
        if run.is_async:
            self._slots.hold([run])
            return
        self._connections.before()
        self._end(run_sync(run.job, run.handler, run.context, partial(log_failure, run.job)))
        self._connections.after()

    def _handler(self, job_type: str, module: str) -> Handler | None:
        """Return the handler; its module is imported if no app's `jobs.py` has done so."""
        handler = self._queue.handlers.get(job_type)
        if handler is None and module:
            try:
                import_module(module)
            except Exception:
                logger.exception("the module %s, which holds the handler of %s, cannot be imported", module, job_type)
            handler = self._queue.handlers.get(job_type)
        return handler

    async def _run_on_loop(self, run: Run) -> None:
        if run.handler is None:
            raise AssertionError("a run without a handler is not async")
        self._end(await run_async(run.job, run.handler, run.context, partial(log_failure, run.job)))

    def _end(self, outcome: Outcome) -> None:
        if self._job is not None:
            self._job.end(outcome)

    def _answer(self, deadline: RemoteDeadline) -> None:
        try:
            seconds = deadline.ask()
        finally:
            connections.close_all()  # this thread ends
        self._line.send(Say.ANSWER, seconds=seconds)


class _Job:
    """The job that runs here now."""

    def __init__(
        self, serving: Serving, queue: QueueBase, line: Line, claimed: ClaimedJob, handler: Handler | None
    ) -> None:
        self._line = line
        self._lock = Lock()
        self._told = Event()
        self._ended = Event()
        self._forwarder: Thread | None = None
        signal = AbortSignal()
        kind = AsyncJobContext if handler is not None and handler.is_async else JobContext
        context = kind(queue, claimed, signal, self._tell)
        self.deadline = RemoteDeadline(serving, line, claimed.timeout_ms)
        self.reports = ForwardedReports(serving, claimed, self._tell)
        context.deadline, context.reports = self.deadline, self.reports
        self.run = Run(claimed, handler, signal, context)

    def end(self, outcome: Outcome) -> None:
        """Tell how the handler has ended, with all it reported."""
        with self._lock:
            self._ended.set()
            self._told.set()
            self._line.send(Say.ENDED, outcome=from_outcome(outcome), report=from_report(self.reports.final()))

    def _tell(self) -> None:
        self._told.set()
        with self._lock:
            if self._forwarder is None and not self._ended.is_set():
                self._forwarder = Thread(target=self._forward, name="dataqueue-reports", daemon=True)
                self._forwarder.start()

    def _forward(self) -> None:
        while True:
            self._told.wait()
            if self._ended.is_set():
                return
            self._told.clear()
            with self._lock:
                if not self._ended.is_set() and (report := self.reports.unsaved()):
                    self._line.send(Say.REPORT, report=from_report(report))
            time.sleep(FORWARD_EVERY)


class ForwardedReports(Reports):
    """Reports that the worker stores; what it has not stored yet comes back for a transaction of the handler's own."""

    def __init__(self, serving: Serving, job: ClaimedJob, tell: Callable[[], None]) -> None:
        super().__init__(job, tell)
        self._serving = serving

    def hold(self) -> None:
        """See Reports.hold."""
        super().hold()
        back: Report = to_report(self._serving.ask_worker(Say.RETURN_REPORTS))
        if back:
            self.give_back(back)


class RemoteDeadline(Deadline):
    """The deadline as its handler sees it; the worker keeps it."""

    def __init__(self, serving: Serving, line: Line, timeout_ms: int | None) -> None:
        super().__init__(timeout_ms)
        self._serving = serving
        self._line = line
        self._has_one = timeout_ms is not None

    def prolong(self, seconds: Any = None, *, why: str = "prolong") -> bool:
        """See Deadline.prolong."""
        length = None if seconds is None else checked_length("prolong()", seconds)
        return self._has_one and bool(self._serving.ask_worker(Say.PROLONG, seconds=length))

    def on_timeout(self, callback: Any, *, within: float = ANSWER_WITHIN) -> None:
        """See Deadline.on_timeout."""
        self._callback = checked_callback(callback)
        self._line.send(Say.WATCH, on=callback is not None)

    def ask(self) -> float | None:
        """Return for how many seconds more the callback asks."""
        try:
            return None if self._callback is None else wanted(self._callback())
        except BaseException:
            logger.exception("a callback of on_timeout() gave no answer; the deadline stands")
            return None
