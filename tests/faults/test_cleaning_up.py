"""Old jobs go while the queue runs, in transactions that nobody has to wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.records import JobStatus, Kind, NewJob
from dataqueue_django.domain.retention import BATCH
from tests.faults.inprocess import Workshop
from tests.harness.duties import ended, left
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL
OLD, FRESH = 1500, 300


def test_lots_stay_small_while_the_queue_runs(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tally: Callable[[str], None]
) -> None:
    """A worker runs jobs and deletes old ones in between; counted are the rows of each transaction."""
    store, lots = workshop.store, defaultdict[str, list[int]](list)

    def counting(name: str) -> Callable[..., int]:
        original: Callable[..., int] = getattr(type(store), name)

        def counted(*given: Any, **named: Any) -> int:
            lots[name].append(original(*given, **named))
            return lots[name][-1]

        return counted

    for name in ("delete_ended", "delete_events"):
        monkeypatch.setattr(type(store), name, counting(name))
    workshop.handle("count", lambda: None)
    ended(store, timedelta(days=40), count=OLD)
    fresh = [one.id for one in store.insert([NewJob(job_type="count")] * FRESH)]
    done = JobFilter(job_types=("count",), statuses=(JobStatus.COMPLETED,))
    with workshop.working(reap_every=0.3, poll_interval=0.05):
        wait_until(lambda: store.count(done)[()] == FRESH)
        wait_until(lambda: left(store) == set(fresh), what=lambda: f"{store.find(Kind.DUTY)}")
    sizes = [size for size in lots["delete_ended"] if size]
    assert sum(sizes) == OLD
    assert max(max(some) for some in lots.values()) <= BATCH
    assert len(sizes) >= OLD / BATCH
    tally(f"{OLD} old jobs went in {len(sizes)} transactions, the largest of {max(sizes)}, beside {FRESH} that ran")
