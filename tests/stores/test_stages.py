"""The mark behind the claim index: only what can be claimed now bears it, however the job came to be so."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataqueue_django import models
from dataqueue_django.domain.changes import After, Change, Verb
from dataqueue_django.domain.records import Claim, NewJob, Worker
from dataqueue_django.domain.transitions import complete, fail, reclaim, release, snooze
from dataqueue_django.testing.contract.base import execution_of
from dataqueue_django.testing.contract.finishing import BROKEN
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import SQLITE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ENDS = (
    complete,
    lambda run: fail(run, BROKEN, retry_in=60),
    lambda run: fail(run, BROKEN, retry_in=0),
    lambda run: release(run, why="stopping"),
    lambda run: snooze(run, 60),
    reclaim,
)


@pytest.mark.parametrize(
    "alias",
    [
        pytest.param(SQLITE, marks=real_transactions(SQLITE)),
        pytest.param("postgres", marks=real_transactions("postgres")),
    ],
)
class TestStages:
    def test_a_claim_leaves_nothing_due_without_the_mark(self, alias: str) -> None:
        store = emptied_store(alias)
        store.insert([NewJob(job_type="t", run_at=after(n)) for n in range(-2, 10)], now=NOW)
        assert marks(alias) == {("claimable", True): 3, ("later", False): 9}
        for seconds in (0, 4, 4, 20):
            store.claim(nothing(store), now=after(seconds))
            assert set(marks(alias, seconds)) <= {("claimable", True), ("later", False)}
        assert marks(alias, 20) == {("claimable", True): 12}

    def test_every_way_out_of_processing_sets_the_mark(self, alias: str) -> None:
        store = emptied_store(alias)
        store.insert([NewJob(job_type="t") for _ in ENDS], now=NOW)
        jobs = store.claim(anything(store), now=NOW)
        assert marks(alias) == {(None, None): len(ENDS)}
        changes = [end(execution_of(job)) for end, job in zip(ENDS, jobs, strict=True)]
        store.exchange([(change,) for change in changes], None, now=NOW)
        assert marks(alias) == {(None, None): 1, ("later", False): 2, ("claimable", True): 3}

    def test_a_change_of_ready_at_moves_the_mark(self, alias: str) -> None:
        store = emptied_store(alias)
        [job] = store.insert([NewJob(job_type="t")], now=NOW)
        for value, expected in ((After(5), ("later", False)), (None, (None, None)), (NOW, ("claimable", True))):
            change = Change(verb=Verb.OTHER, id=job.id, set={"ready_at": value})
            store.commit([(change,)], now=NOW)
            assert marks(alias) == {expected: 1}


def after(seconds: float) -> datetime:
    """Return the time `seconds` after now."""
    return NOW + timedelta(seconds=seconds)


def marks(alias: str, seconds: float = 0) -> Counter[Any]:
    """Return how many jobs bear which mark, and whether they are due `seconds` after now."""
    rows = models.Job._default_manager.using(alias).values_list("stage", "ready_at")
    return Counter((stage, None if ready is None else ready <= after(seconds)) for stage, ready in rows)


def anything(store: Any, **filters: Any) -> Claim:
    """Return a claim by a new worker."""
    return Claim(limit=100, worker_id=store.put(Worker(label="w"), now=NOW).id, locked_by="w", **filters)


def nothing(store: Any) -> Claim:
    """Return a claim that no job fits."""
    return anything(store, queues=("nobody",))
