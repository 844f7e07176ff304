"""What every worker does for the others: notices the dead, takes their jobs back, sees to tokens and to requests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from ..announcing import Announce, announcer
from ..conf import AliasSettings
from ..domain.changes import DUE, After, Change, Verb
from ..domain.filters import JobFilter
from ..domain.liveness import PeerWatch, expire
from ..domain.records import Duty, Kind, Worker
from ..logs import worker as logger
from ..queue.catching_up import catch_up_with
from ..queue.taking_back import take_back, without_worker
from ..queue.waking import close_due
from ..stores import Store
from .statistics import statistics_duties


class Upkeep:
    """One observer's rounds. Each statement stands for itself; another worker doing the same at once does no harm."""

    def __init__(self, store: Store, settings: AliasSettings, announce: Announce | None = None) -> None:
        self._store = store
        self._settings = settings
        self._announce = announce or announcer(store)
        self._watch = PeerWatch()
        self._duties = statistics_duties(store, settings.retention)

    def round(self, me: int, unbroken_since: float) -> int:
        """Expire silent peers, reclaim dead workers' jobs, close overdue tokens, see to stray requests, drop old rows.

        Returns how many jobs became ready.
        """
        asked_at = time.monotonic()  # first of all: `unbroken_since` was true then, and any call may take long
        holders = {worker_id for (worker_id,) in self._store.count(JobFilter(held=True), by=("worker_id",))}
        workers = self._store.find(Kind.WORKER)  # after the holders, so that a holder without a row has none for good
        expired = [w for w in workers if w.expired_at is not None]
        peers = [w for w in workers if w.expired_at is None and w.id != me]
        expired += self._expire_silent(peers, asked_at, unbroken_since)
        gone = without_worker(holders, workers, expired)
        reclaimed = sum(
            take_back(self._store, id, crash_limit=self._settings.worker.crash_limit, announce=self._announce)
            for id in sorted(gone)
        )
        _, woken = close_due(self._store, self._announce)
        catch_up_with(self._store, announce=self._announce)
        self._forget_old(expired)
        self._do_duties(me)
        return reclaimed + woken

    @property
    def ripe_at(self) -> float:
        """The monotonic time at which the next peer could be declared gone if it stays silent."""
        return self._watch.ripe_at

    def _expire_silent(self, peers: list[Worker], asked_at: float, unbroken_since: float) -> list[Worker]:
        """Declare gone the peers that have been silent for a lease, and return them."""
        beats = [(peer.id, peer.beat, peer.lease_ms / 1000) for peer in peers]
        silent = self._watch.silent(beats, now=time.monotonic(), asked_at=asked_at, unbroken_since=unbroken_since)
        gone = {id for id, seen in silent if self._store.commit([(expire(id, seen_beat=seen),)])[0].applied}
        for worker_id in gone:
            logger.warning("worker %d has been silent for its whole lease and is taken for dead", worker_id)
        return [peer for peer in peers if peer.id in gone]

    def _do_duties(self, me: int) -> None:
        """Do what is due for all, and has not been taken by another worker."""
        rows = {duty.id: duty for duty in self._store.find(Kind.DUTY)}
        now = self._store.now()
        for name, period, work in self._duties:
            duty = rows.get(name) or self._store.put(Duty(id=name, due_at=now))
            if duty.due_at <= now and self._store.commit([(_take(name, period, me),)])[0].applied:
                report, _ = work(duty.state)
                self._store.commit([(_done(name, report),)])

    def _forget_old(self, expired: Iterable[Worker]) -> None:
        days = self._settings.retention.workers
        if days is None:
            return
        before = datetime.now(UTC) - timedelta(days=days)
        old = [w.id for w in expired if w.expired_at is not None and w.expired_at < before]
        if old:
            self._store.remove(Kind.WORKER, old)


def _take(name: str, period: float, me: int) -> Change:
    """Take a duty that is due: nobody else finds it due for its period."""
    fields = {"due_at": After(period), "started_at": After(), "done_by": str(me)}
    return Change(kind=Kind.DUTY, verb=Verb.DUTY, id=name, guard={"due_at": DUE}, set=fields)


def _done(name: str, report: Mapping[str, int]) -> Change:
    """Note what a duty did; it has noted itself what it remembers."""
    return Change(kind=Kind.DUTY, verb=Verb.DUTY, id=name, set={"finished_at": After(), "report": report})
