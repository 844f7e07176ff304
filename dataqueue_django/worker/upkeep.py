"""What every worker does for the others: notices the dead, and does the duties that are due.

Noticing the dead stays with each worker: nobody may declare a peer gone by what another one has seen. Everything else
is a duty, which one of them does for all.
"""

from __future__ import annotations

import time

from ..announcing import Announce, announcer
from ..conf import AliasSettings
from ..domain.duties import PAUSE
from ..domain.liveness import PeerWatch, expire
from ..domain.records import Kind, Worker
from ..handlers import Registry, registry
from ..logs import worker as logger
from ..queue.duties import OnError, do_duties
from ..queue.taking_back import take_back
from ..stores import Store
from .chores import chores_of


class Upkeep:
    """One observer's rounds. Another worker doing the same at once does no harm."""

    def __init__(
        self,
        store: Store,
        settings: AliasSettings,
        announce: Announce | None = None,
        *,
        label: str = "",
        handlers: Registry = registry,
        on_error: OnError = lambda _: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._announce = announce or announcer(store)
        self._label = label
        self._on_error = on_error
        self._watch = PeerWatch()
        self._chores = chores_of(store, settings, handlers, announce=self._announce)
        self._again_at = float("inf")

    def round(self, me: int, unbroken_since: float) -> int:
        """Expire silent peers, take the jobs of those back, then do what is due; returns how many jobs became ready."""
        asked_at = time.monotonic()  # first of all: `unbroken_since` was true then, and any call may take long
        peers = [worker for worker in self._store.find(Kind.WORKER, expired_at=None) if worker.id != me]
        gone = self._expire_silent(peers, asked_at, unbroken_since)
        reclaimed = sum(self._take_back(worker_id) for worker_id in gone)
        done = do_duties(self._store, self._chores, self._label)
        self._again_at = time.monotonic() + PAUSE if done.more else float("inf")
        for error in done.errors.values():
            self._on_error(error)
        return reclaimed + done.ready

    @property
    def ripe_at(self) -> float:
        """The monotonic time at which a silent peer could be declared gone, or a duty goes on, whichever is first."""
        return min(self._watch.ripe_at, self._again_at)

    def _expire_silent(self, peers: list[Worker], asked_at: float, unbroken_since: float) -> list[int]:
        """Declare gone the peers that have been silent for a lease; returns those that nobody else did."""
        beats = [(peer.id, peer.beat, peer.lease_ms / 1000) for peer in peers]
        silent = self._watch.silent(beats, now=time.monotonic(), asked_at=asked_at, unbroken_since=unbroken_since)
        gone = [id for id, seen in silent if self._store.commit([(expire(id, seen_beat=seen),)])[0].applied]
        for worker_id in gone:
            logger.warning("worker %d has been silent for its whole lease and is taken for dead", worker_id)
        return gone

    def _take_back(self, worker_id: int) -> int:
        limit = self._settings.worker.crash_limit
        return take_back(self._store, worker_id, crash_limit=limit, announce=self._announce)
