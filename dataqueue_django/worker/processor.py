"""Running jobs inside a process that does other things as well: a web server, a script, a serverless function."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from threading import Lock

from asgiref.sync import sync_to_async
from django.utils.asyncio import async_unsafe

from ..exceptions import JobStateError
from ..queue.base import QueueBase
from .announcer import OnError
from .background import BackgroundLoop
from .loop import WorkerLoop
from .options import ProcessorOptions, check_job_types, seconds

LONGEST_DRAIN = 24 * 3600.0


class Processor:
    """Works on the jobs of one queue in this process (DataQueue "Processor"); made by `queue.create_processor()`.

    The worker runs in threads of its own with database connections of its own, which are closed when it ends. It
    installs no signal handlers and touches no logging: stopping it is up to the process. When the interpreter ends
    while it runs, its jobs are given back without using up an attempt.
    """

    def __init__(
        self, queue: QueueBase, options: ProcessorOptions | None = None, on_error: OnError | None = None
    ) -> None:
        self.options = options or ProcessorOptions()
        self._queue = queue
        self._on_error = on_error
        self._lock = Lock()
        self._run: BackgroundLoop | None = None

    @async_unsafe("Processor.start() waits for its jobs; use `await processor.astart()` in async code.")
    def start(self, within: float | timedelta | None = None) -> int:
        """Work on one batch to its end and return how many jobs were claimed; 0 when none was ready.

        At most `batch_size` jobs (default 10) are claimed, once, and run in `concurrency` slots. Those that have not
        ended after `within` (seconds or timedelta) are given back without using up an attempt: `given_back` says how
        many, and they are not part of the number returned. Raises JobStateError inside a transaction and while this
        processor runs already, the store's own error when nothing could be claimed, and TimeoutError when the store
        does not answer for ten seconds after `within`. An interruption (Ctrl+C) gives the jobs back, too.
        """
        limit = _limit(within)
        self._refuse_transaction()
        run = self._begin_batch()
        try:
            _ = run.wait(limit) or run.give_back()
        except BaseException:
            run.give_back()
            raise
        return _claimed(run)

    async def astart(self, within: float | timedelta | None = None) -> int:
        """`start` for async code; cancelling it gives the jobs back."""
        limit = _limit(within)
        await sync_to_async(self._refuse_transaction, thread_sensitive=True)()
        run = self._begin_batch()
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(run.ended)), limit)
        except TimeoutError:
            await sync_to_async(run.give_back, thread_sensitive=False)()
        except asyncio.CancelledError:
            run.loop.give_back()
            raise
        return _claimed(run)

    @property
    def given_back(self) -> int:
        """How many jobs were cut off in their handlers and given back when this processor last ended."""
        return 0 if self._run is None else self._run.loop.cut_off

    def start_in_background(self) -> None:
        """Start working until told to stop (DataQueue "startInBackground"). Returns at once.

        An unreachable store is waited for. Raises JobStateError while this processor runs already, also while it is
        still stopping; once it has ended it can be started again.
        """
        self._begin(self.options)

    def stop(self) -> None:
        """Take no new jobs; does not wait (DataQueue "stop").

        Jobs that had not started are given back now, those that run go on in the background and are given back when the
        alias' drain limit is over. Nothing happens when the processor does not run.
        """
        run = self._run
        if run is not None and run.is_alive:
            run.loop.stop()

    @async_unsafe("Processor.stop_and_drain() waits; use `await processor.astop_and_drain()` in async code.")
    def stop_and_drain(self, timeout: float | timedelta = 30.0) -> bool:
        """Take no new jobs and wait until those that run have ended (DataQueue "stopAndDrain").

        After `timeout` (seconds or timedelta) the jobs that still run are given back without using up an attempt, and
        what their handlers return later is dropped. Returns whether all ended in time; True when nothing runs. It
        returns at most ten seconds after the timeout, even if the store cannot be reached: then other workers take the
        jobs back.
        """
        limit = seconds("timeout", timeout, 0.0, LONGEST_DRAIN)
        run = self._run
        if run is None:
            return True
        run.loop.stop(within=limit)
        return (run.wait(limit) or run.give_back()) and run.loop.has_drained

    async def astop_and_drain(self, timeout: float | timedelta = 30.0) -> bool:
        """`stop_and_drain` for async code."""
        return await sync_to_async(self.stop_and_drain, thread_sensitive=False)(timeout)

    def is_running(self) -> bool:
        """Return whether this processor works, or still finishes after `stop()`."""
        return self._run is not None and self._run.is_alive

    def _begin_batch(self) -> BackgroundLoop:
        return self._begin(replace(self.options, once=True, patient=False))

    def _begin(self, options: ProcessorOptions) -> BackgroundLoop:
        check_job_types(options.job_types, self._queue.handlers)
        with self._lock:
            if self.is_running():
                raise JobStateError("This processor is running already; call stop_and_drain() before it starts again.")
            self._run = BackgroundLoop(WorkerLoop(self._queue, options, on_error=self._on_error))
            return self._run

    def _refuse_transaction(self) -> None:
        if self._queue.store.in_transaction():
            raise JobStateError(
                "start() cannot run jobs inside a transaction; call it outside of atomic() and ATOMIC_REQUESTS, "
                "and use dataqueue_django.testing.run_job in a TestCase."
            )


def _limit(within: float | timedelta | None) -> float | None:
    return None if within is None else seconds("within", within, most=LONGEST_DRAIN)


def _claimed(run: BackgroundLoop) -> int:
    if run.is_alive:
        raise TimeoutError("The store did not answer in time; the batch ends by itself when it does.")
    run.ended.result()
    if run.loop.failure is not None:
        raise run.loop.failure
    return run.loop.claimed - run.loop.cut_off
