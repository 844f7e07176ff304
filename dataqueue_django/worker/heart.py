"""The heartbeat: a thread with a connection of its own that renews the worker's lease and hears wake-ups."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event, Lock, Thread

from ..conf import WorkerSettings
from ..domain.liveness import Lease, beat
from ..logs import worker as logger
from ..notify import Listener, Notifier
from ..stores import Store

RETRY = 1.0
"""The longest pause between two tries to renew while the store cannot be reached, in seconds."""


class Heart:
    """Beats for one worker row at a time; tells when the row has expired and when somebody may have added jobs."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        settings: WorkerSettings,
        *,
        on_expired: Callable[[int], None],
        on_wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._settings = settings
        self._on_expired = on_expired
        self._on_wake = on_wake
        self._lock = Lock()
        self._worker_id: int | None = None
        self._lease = Lease.taken(settings.lease, time.monotonic())
        self._stopping = Event()
        self._listener: Listener | None = None
        self._thread = Thread(target=self._run, name="dataqueue-heartbeat", daemon=True)
        self.hears = False

    def beat_for(self, worker_id: int, sent_at: float) -> None:
        """Beat for a row inserted by a statement sent at `sent_at` (monotonic seconds), from now on."""
        with self._lock:
            self._worker_id = worker_id
            self._lease = Lease.taken(self._settings.lease, sent_at)
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """Stop beating and wait for the thread to close its connection."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def must_stop(self) -> bool:
        """Return whether the lease is so old that this worker may no longer act for its jobs."""
        with self._lock:
            return self._lease.must_stop(time.monotonic())

    def lease_is_over(self) -> bool:
        """Return whether the lease has ended: what can be stopped by force is stopped then."""
        with self._lock:
            return self._lease.is_over(time.monotonic())

    def unbroken_since(self) -> float:
        """Return since when (monotonic seconds) no renewal has failed for long."""
        with self._lock:
            return self._lease.unbroken_since

    def _run(self) -> None:
        with self._store.private_session() as session:
            while not self._stopping.is_set():
                try:
                    self._listen_and_beat()
                except Exception as error:
                    if not self._store.is_lost_connection(error):
                        logger.exception("the heartbeat failed")
                    else:
                        logger.warning("the heartbeat could not reach the store: %s", error)
                    self.hears = False
                    session.reset()
                    pause = min(RETRY, self._settings.heartbeat) * random.uniform(0.5, 1.0)
                    self._stopping.wait(pause)

    def _listen_and_beat(self) -> None:
        """Beat until something goes wrong, listening between two beats."""
        listener = self._listener = self._notifier.listener()
        while not self._stopping.is_set():
            self._beat()
            next_beat = time.monotonic() + self._settings.heartbeat
            while not self._stopping.is_set() and (left := next_beat - time.monotonic()) > 0:
                if listener.wait(left):
                    self._on_wake()
                self.hears = listener.hears

    def _beat(self) -> None:
        with self._lock:
            worker_id = self._worker_id
        if worker_id is None:
            return
        sent_at = time.monotonic()
        renewed = self._store.commit([(beat(worker_id),)])[0].applied
        with self._lock:
            if worker_id != self._worker_id:
                return
            if renewed:
                self._lease.renewed(sent_at)
            else:
                self._worker_id = None
        if not renewed:
            self._on_expired(worker_id)
