"""A store that freezes in the middle of a call: the time it took is held against nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dataqueue_django.conf import WorkerSettings, settings_for
from dataqueue_django.domain.liveness import beat
from dataqueue_django.domain.records import Kind, Worker
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker import upkeep
from tests.harness.fixtures import REAL

pytestmark = REAL
LEASE = 10.0


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("frozen_at", range(1, 8))
def test_a_peer_is_not_taken_for_dead_for_the_time_that_reading_took(
    store: PortableStore, monkeypatch: pytest.MonkeyPatch, frozen_at: int
) -> None:
    """The store freezes in its n-th call, whichever that is."""
    clock, calls = Clock(), 0
    monkeypatch.setattr(upkeep, "time", clock)
    peer = store.put(Worker(label="peer", lease_ms=round(LEASE * 1000)))
    me = store.put(Worker(label="me", lease_ms=round(LEASE * 1000)))

    def freezing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == frozen_at:
                clock.now += 3 * LEASE
            return original(*given, **named)

        return call

    for name in ("find", "count", "query", "commit"):
        monkeypatch.setattr(type(store), name, freezing(getattr(type(store), name)))
    rounds = upkeep.Upkeep(store, replace(settings_for(store.alias), worker=WorkerSettings(lease=LEASE)))
    since = clock.now
    for _ in range(8):
        before = clock.now
        rounds.round(me.id, since)
        if clock.now > before:  # the heartbeat could not renew either
            since = clock.now
        clock.now += LEASE / 10
    assert calls >= frozen_at
    assert store.fetch(Kind.WORKER, peer.id).expired_at is None  # type: ignore[union-attr]

    store.commit([(beat(peer.id),)])
    for _ in range(13):
        rounds.round(me.id, since)
        clock.now += LEASE / 10
    assert store.fetch(Kind.WORKER, peer.id).expired_at is not None  # type: ignore[union-attr]
