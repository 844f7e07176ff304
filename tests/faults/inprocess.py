"""Workers inside the test's own process, with handlers that are closures of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from threading import Event, Thread
from typing import Any

from dataqueue_django.conf import WorkerSettings, settings_for
from dataqueue_django.domain.records import Job, JobEvent, Kind, Worker
from dataqueue_django.handlers.registry import Registry, make_handler
from dataqueue_django.notify.base import SilentNotifier
from dataqueue_django.queue import JobQueue
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker.begun import BegunTable
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.harness.workers import PATIENCE, wait_until

SHORT = WorkerSettings(heartbeat=0.2, lease=1.5, reap_every=0.3, poll_interval=0.02, drain=10)


class Running:
    """A processor at work in a thread of its own."""

    def __init__(self, processor: WorkerLoop) -> None:
        self.processor = processor
        self.code: int | None = None
        self.error: BaseException | None = None
        self._thread = Thread(target=self._run, name="a worker under test")
        self._thread.start()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and return its exit code."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the worker did not end"
        assert self.error is None, repr(self.error)
        assert self.code is not None
        return self.code

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.code = int(self.processor.run())
        except BaseException as error:
            self.error = error


class Workshop:
    """One store, a registry of the test's own, and the workers started on them."""

    def __init__(self, store: PortableStore) -> None:
        self.store = store
        self.registry = Registry()
        self.started: list[Running] = []
        self.let_go = Event()
        """Set at the end of the test: handlers that are to be stuck wait for it."""

    @cached_property
    def queue(self) -> JobQueue:
        """The queue with the settings of `SHORT`."""
        return self.queue_with()

    def queue_with(self, **settings: Any) -> JobQueue:
        """Return a queue with these worker settings over `SHORT`."""
        worker = replace(SHORT, **settings)
        own = replace(settings_for(self.store.alias), worker=worker)
        return JobQueue(self.store, own, self.registry, SilentNotifier())

    def handle(self, job_type: str, function: Callable[..., Any], *, takes_context: bool = False, **rest: Any) -> None:
        """Register a function for a job type."""
        self.registry.register(make_handler(function, job_type=job_type, takes_context=takes_context, **rest))

    def add(self, job_type: str, payload: Any = None, **options: Any) -> int:
        """Add a job."""
        return self.queue.add_job(job_type, payload, **options)

    def job(self, job_id: int) -> Job:
        """Return a job as stored."""
        return self.store.get([job_id])[0]

    def trace(self, job_id: int) -> tuple[Job, list[JobEvent]]:
        """Return a job and its events, to compare with a later look."""
        return self.job(job_id), self.store.events(job_id, limit=10_000)

    def until(self, job_id: int, condition: Callable[[Job], bool], timeout: float = PATIENCE) -> Job:
        """Wait until a job meets a condition and return it."""
        wait_until(lambda: condition(self.job(job_id)), timeout, what=lambda: repr(self.trace(job_id)))
        return self.job(job_id)

    def until_ended(self, *ids: int, timeout: float = PATIENCE) -> list[Job]:
        """Wait until jobs have ended and return them in the order of `ids`."""

        def open_jobs() -> list[Job]:
            return [job for job in self.store.get(ids) if not job.is_terminal]

        wait_until(lambda: not open_jobs(), timeout, what=lambda: repr(open_jobs()[:3]))
        found = {job.id: job for job in self.store.get(ids)}
        return [found[id] for id in ids]

    def start(
        self, *, concurrency: int = 3, begun: BegunTable | None = None, burst: bool = False, **settings: Any
    ) -> Running:
        """Start a worker."""
        options = ProcessorOptions(concurrency=concurrency, burst=burst)
        running = Running(WorkerLoop(self.queue_with(**settings), options, begun))
        self.started.append(running)
        return running

    @contextmanager
    def working(self, **given: Any) -> Iterator[Running]:
        """Run a worker during a block and let it drain at the end."""
        running = self.start(**given)
        yield running
        running.processor.stop()
        assert running.wait() == 0

    def live_workers(self) -> list[Worker]:
        """Return the worker rows that have not expired."""
        return [worker for worker in self.store.find(Kind.WORKER) if worker.expired_at is None]

    def close(self) -> None:
        """End what still runs."""
        self.let_go.set()
        for running in self.started:
            if running.alive:
                running.processor.give_back()
                running.wait()
