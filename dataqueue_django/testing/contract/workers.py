"""Workers: rows that are never reused, beats that an expired one cannot renew, rows that stay while jobs need them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ...domain.changes import Committed, Verdict
from ...domain.liveness import beat, expire, stop
from ...domain.records import Kind, Worker
from ...domain.transitions import complete
from .base import Contract
from .finishing import LOST

TAKEN = Committed(verdict=Verdict.APPLIED, choice=0)


class Workers(Contract):
    """See Store.put, Store.fetch, Store.find, Store.remove and domain.liveness."""

    def test_every_field_of_a_worker_comes_back(self) -> None:
        given = Worker(
            label="wörker 1",
            hostname="host.example",
            pid=2**31,
            queues=("default", "mail"),
            job_types=("send",),
            concurrency=8,
            lease_ms=45_000,
        )
        stored = self.store.put(given, now=self.now)
        assert stored.id > 0
        assert stored == replace(given, id=stored.id, started_at=self.now, last_beat_at=self.now)
        assert self.store.fetch(Kind.WORKER, stored.id) == stored

    def test_a_worker_without_a_time_goes_by_the_clock_of_the_store(self) -> None:
        started = self.store.put(Worker(label="w")).started_at
        assert started is not None
        assert abs(started - datetime.now(UTC)) < timedelta(minutes=5)

    def test_one_label_many_rows(self) -> None:
        first, second = self.worker("same"), self.worker("same")
        assert first.id < second.id
        assert self.store.find(Kind.WORKER, label="same") == [first, second]

    def test_ids_are_never_used_again(self) -> None:
        seen = set()
        for _ in range(3):
            worker = self.worker()
            assert worker.id not in seen
            seen.add(worker.id)
            assert self.store.remove(Kind.WORKER, [worker.id]) == 1

    def test_nobody(self) -> None:
        assert self.store.fetch(Kind.WORKER, 10**9) is None
        assert self.store.find(Kind.WORKER) == []
        assert self.store.remove(Kind.WORKER, [10**9]) == 0
        assert self.commit(beat(10**9)) == [LOST]

    def test_finding_by_fields(self) -> None:
        workers = [self.store.put(Worker(label=f"w{n}", pid=n % 2), now=self.now) for n in range(4)]
        self.commit(expire(workers[1].id))
        assert [w.id for w in self.store.find(Kind.WORKER)] == [w.id for w in workers]
        assert [w.label for w in self.store.find(Kind.WORKER, pid=1)] == ["w1", "w3"]
        assert [w.label for w in self.store.find(Kind.WORKER, expired_at=None)] == ["w0", "w2", "w3"]
        assert [w.label for w in self.store.find(Kind.WORKER, pid=1, expired_at=None)] == ["w3"]

    # -- beats

    def test_a_beat_renews(self) -> None:
        worker = self.worker()
        assert self.commit(beat(worker.id), at=self.later(5)) == [TAKEN]
        assert self.commit(beat(worker.id), at=self.later(10)) == [TAKEN]
        assert self.row(worker) == replace(worker, beat=2, last_beat_at=self.later(10))

    def test_what_has_expired_cannot_be_renewed(self) -> None:
        worker = self.worker()
        assert self.commit(expire(worker.id), at=self.later(40)) == [TAKEN]
        gone = self.row(worker)
        assert gone.expired_at == self.later(40)
        for late in (beat(worker.id), stop(worker.id), expire(worker.id)):
            assert self.commit(late, at=self.later(50)) == [LOST]
        assert self.row(worker) == gone

    def test_a_worker_that_has_beaten_since_is_not_expired(self) -> None:
        worker = self.worker()
        self.commit(beat(worker.id))
        before = self.row(worker)
        assert self.commit(expire(worker.id, seen_beat=0)) == [LOST]
        assert self.row(worker) == before
        assert self.commit(expire(worker.id, seen_beat=1)) == [TAKEN]

    def test_stopping(self) -> None:
        worker = self.worker()
        assert self.commit(stop(worker.id), at=self.later(3)) == [TAKEN]
        assert self.row(worker) == replace(worker, stopping_at=self.later(3))
        assert self.commit(beat(worker.id)) == [TAKEN]

    def test_one_worker_does_not_touch_another(self) -> None:
        first, second = self.worker(), self.worker()
        self.commit(beat(first.id), expire(first.id))
        assert self.row(second) == second

    # -- removing

    def test_a_worker_that_has_jobs_stays(self) -> None:
        busy, idle = self.worker(), self.worker()
        run = self.start(self.add(), worker=busy)
        assert self.store.remove(Kind.WORKER, [busy.id, idle.id]) == 1
        assert self.store.find(Kind.WORKER, id=idle.id) == []
        assert self.row(busy) == busy
        self.commit(complete(run))
        assert self.store.remove(Kind.WORKER, [busy.id, busy.id]) == 1

    def row(self, worker: Worker) -> Worker:
        """Return a worker that must exist as it stands in the store."""
        stored: Worker | None = self.store.fetch(Kind.WORKER, worker.id)
        assert stored is not None
        return stored
