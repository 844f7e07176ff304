"""Async handlers: all on one event loop, in a thread of its own.

Each handler's synchronous Django calls run in one thread that it alone uses while it runs, out of a bounded number:
Django's async ORM would otherwise share a single thread, and so a single connection and its transactions, among all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Lock, Thread, local
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.db import connections

from ..logs import worker as logger
from .connections import ThreadConnections
from .slots import MOST_THREADS, Run, Slots

Call = tuple["Future[Any]", Callable[[], Any]]


class EventLoopThread:
    """Takes async jobs from the slots and runs them; started when the first one comes."""

    def __init__(self, slots: Slots, run_one: Callable[[Run], Awaitable[None]]) -> None:
        self._slots = slots
        self._run_one = run_one
        self._orm_threads = OrmThreads(min(slots.size, MOST_THREADS))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def poke(self) -> None:
        """Let the loop look for jobs it can start; from any thread."""
        with self._lock:
            if self._stopping:
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                Thread(target=self._serve, args=(self._loop,), name="dataqueue-async", daemon=True).start()
            self._loop.call_soon_threadsafe(self._pump)

    def stop(self) -> None:
        """End the loop; what still runs on it is abandoned."""
        with self._lock:
            self._stopping = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._orm_threads.close()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until it is stopped: SystemExit and KeyboardInterrupt of any task would end it otherwise."""
        while not self._stopping:
            try:
                loop.run_forever()
            except BaseException:
                logger.exception("a task that an async handler started tried to end the process; the loop goes on")
        if not self._tasks:
            loop.close()

    def _pump(self) -> None:
        while (run := self._slots.take(is_async=True, wait=False)) is not None:
            task = asyncio.get_running_loop().create_task(self._run(run))
            run.cancel = self._canceller(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, run: Run) -> None:
        context = ThreadSensitiveContext()
        lent = LentThread(self._orm_threads)
        SyncToAsync.context_to_thread_executor[context] = lent
        SyncToAsync.thread_sensitive_context.set(context)
        try:
            await self._run_one(run)
        finally:
            # A call that goes on although its handler was cut off keeps the slot, as a thread does that is stuck.
            lent.give_back(lambda: self._slots.free(run))

    def _canceller(self, task: asyncio.Task[None]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        return cancel


class OrmThreads:
    """A bounded number of threads, each lent to one handler at a time and keeping its connections between them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._idle: list[ThreadPoolExecutor] = []
        self._made = 0
        self._waiting: deque[LentThread] = deque()
        self._closed = False

    def borrow(self, borrower: LentThread) -> None:
        """Lend a thread to `borrower`, now or as soon as one comes back."""
        with self._lock:
            if self._idle:
                thread = self._idle.pop()
            elif self._made < self._most:
                self._made += 1
                thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dataqueue-orm")
            else:
                self._waiting.append(borrower)
                return
        borrower.received(thread)

    def returned(self, thread: ThreadPoolExecutor, on_free: Callable[[], None]) -> None:
        """Take a thread back once it is done with what it was given, then tell; only then is it lent again."""
        if not _hand_to(thread, self._take_back, thread, on_free):
            on_free()

    def close(self) -> None:
        """End the threads: the idle ones now, the others when they come back."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for thread in idle:
            _end(thread)

    def _take_back(self, thread: ThreadPoolExecutor, on_free: Callable[[], None]) -> None:
        """Runs in the thread itself."""
        try:
            _tidy()
        finally:
            self._lend_on(thread)
            on_free()

    def _lend_on(self, thread: ThreadPoolExecutor) -> None:
        with self._lock:
            while self._waiting:
                borrower = self._waiting.popleft()
                if not borrower.finished:
                    break
            else:
                if not self._closed:
                    self._idle.append(thread)
                    return
                borrower = None
        if borrower is None:
            _end(thread)
        else:
            borrower.received(thread)


class LentThread(Executor):
    """One handler's executor: borrows a thread at the first call and runs all calls of the handler in it."""

    def __init__(self, threads: OrmThreads) -> None:
        self._threads = threads
        self._lock = Lock()
        self._asked = False
        self._thread: ThreadPoolExecutor | None = None
        self._early: list[Call] = []
        self.finished = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call in the lent thread.

        While the interpreter ends nothing comes back: the handler waits until its job is given back, which does not use
        up an attempt as an error would.
        """
        future: Future[Any] = Future()
        call: Call = (future, lambda: fn(*args, **kwargs))
        with self._lock:
            ask, self._asked = not self._asked, True
            thread = self._thread
            if thread is None:
                self._early.append(call)
        if thread is not None:
            _hand_to(thread, _settle, call)
        if ask:
            self._threads.borrow(self)
        return future

    def received(self, thread: ThreadPoolExecutor) -> None:
        """Start using a thread."""
        with self._lock:
            if self.finished:
                back, calls = thread, []
            else:
                self._thread, back, calls, self._early = thread, None, self._early, []
            if back is None:
                _hand_to(thread, _refresh)
            for call in calls:
                _hand_to(thread, _settle, call)
        if back is not None:
            self._threads.returned(back, lambda: None)

    def give_back(self, on_free: Callable[[], None]) -> None:
        """Return the thread when the handler has ended; `on_free` is called once it is idle, at once without one."""
        with self._lock:
            self.finished = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._threads.returned(thread, on_free)
        else:
            on_free()


def _hand_to(thread: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> bool:
    """Have a thread call a function; returns False when it cannot, since the interpreter ends and has ended it."""
    try:
        thread.submit(function, *arguments)
    except RuntimeError:
        return False
    return True


def _settle(call: Call) -> None:
    future, function = call
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


_here = local()


def _my_connections() -> ThreadConnections:
    if not hasattr(_here, "connections"):
        _here.connections = ThreadConnections()
    mine: ThreadConnections = _here.connections
    return mine


def _refresh() -> None:
    """Runs in a lent thread before its handler's first call."""
    _my_connections().before()


def _end(thread: ThreadPoolExecutor) -> None:
    """Close a thread's connections and let it end, without waiting for either."""
    _hand_to(thread, connections.close_all)
    thread.shutdown(wait=False)


def _tidy() -> None:
    _my_connections().after()
