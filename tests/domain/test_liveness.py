"""Who is alive, judged by the observer's own clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.changes import apply_change
from dataqueue_django.domain.liveness import Lease, PeerWatch, beat, expire, stop
from dataqueue_django.domain.records import Kind

LEASE = 30.0


def test_a_lease_must_stop_two_thirds_through() -> None:
    lease = Lease.taken(LEASE, sent_at=100)
    assert not lease.must_stop(120)
    assert lease.must_stop(120.001)


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    lease = Lease.taken(LEASE, sent_at=100)
    lease.renewed(sent_at=110)
    assert not lease.must_stop(130)
    assert lease.must_stop(130.001)
    assert lease.unbroken_since == 100


def test_a_gap_between_renewals_begins_anew() -> None:
    lease = Lease.taken(LEASE, sent_at=100)
    lease.renewed(sent_at=105)
    lease.renewed(sent_at=125.001)
    assert lease.unbroken_since == 125.001
    lease.renewed(sent_at=130)
    assert lease.unbroken_since == 125.001


def watched(*looks: tuple[float, int], unbroken_since: float = 0.0) -> Iterator[list[tuple[int, int]]]:
    """Yield what an observer may declare gone after each look: (its own time, the beat of worker 7 it read)."""
    watch = PeerWatch()
    for now, current in looks:
        yield watch.silent([(7, current, LEASE)], now=now, unbroken_since=unbroken_since)


def test_a_peer_that_was_just_met_is_not_gone() -> None:
    assert list(watched((1000, 5))) == [[]]


def test_a_peer_that_does_not_beat_for_its_lease_is_gone() -> None:
    assert list(watched((100, 5), (129.9, 5), (130, 5), (140, 5))) == [[], [], [(7, 5)], [(7, 5)]]


def test_a_beat_begins_the_watch_anew() -> None:
    assert list(watched((100, 5), (129, 6), (158, 6), (159, 6))) == [[], [], [], [(7, 6)]]


def test_a_peer_out_of_sight_is_forgotten() -> None:
    watch = PeerWatch()
    watch.silent([(7, 5, LEASE)], now=100, unbroken_since=0)
    watch.silent([], now=120, unbroken_since=0)
    assert watch.silent([(7, 5, LEASE)], now=140, unbroken_since=0) == []


def test_an_outage_of_the_observer_resets_what_it_saw() -> None:
    """After an outage everybody's last beat is old: that says nothing about them."""
    watch = PeerWatch()
    watch.silent([(7, 5, LEASE)], now=100, unbroken_since=0)
    assert watch.silent([(7, 5, LEASE)], now=200, unbroken_since=195) == []
    assert watch.silent([(7, 5, LEASE)], now=224.9, unbroken_since=195) == []
    assert watch.silent([(7, 5, LEASE)], now=225, unbroken_since=195) == [(7, 5)]


def test_when_to_look_again() -> None:
    watch = PeerWatch()
    assert watch.ripe_at == float("inf")
    watch.silent([(1, 0, 10.0), (2, 0, 60.0)], now=5, unbroken_since=0)
    assert watch.ripe_at == 15
    watch.silent([(1, 1, 10.0), (2, 0, 60.0)], now=14, unbroken_since=0)
    assert watch.ripe_at == 24
    watch.silent([(1, 1, 10.0), (2, 0, 60.0)], now=24, unbroken_since=0)
    assert watch.ripe_at == 65, "what is known to be gone is not waited for"
    watch.silent([], now=30, unbroken_since=0)
    assert watch.ripe_at == float("inf")


def test_each_peer_has_its_own_lease() -> None:
    watch = PeerWatch()
    peers = [(1, 0, 10.0), (2, 0, 60.0)]
    watch.silent(peers, now=0, unbroken_since=0)
    assert watch.silent(peers, now=10, unbroken_since=0) == [(1, 0)]
    assert watch.silent(peers, now=60, unbroken_since=0) == [(1, 0), (2, 0)]


@given(
    st.lists(st.tuples(st.floats(0.1, 9.9), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 50),
)
def test_a_peer_that_beats_within_its_lease_is_never_declared_gone(
    looks: list[tuple[float, bool]], unbroken_since: float
) -> None:
    watch, now, current, beaten_at = PeerWatch(), 0.0, 0, 0.0
    for pause, beats in looks:
        now += pause
        if beats or now - beaten_at >= LEASE:
            current, beaten_at = current + 1, now
        assert watch.silent([(7, current, LEASE)], now=now, unbroken_since=unbroken_since) == []


@pytest.mark.parametrize("change", [beat(7), stop(7), expire(7), expire(7, seen_beat=3)])
def test_nothing_can_be_said_of_a_worker_that_has_expired(change: object) -> None:
    assert change.kind is Kind.WORKER
    assert apply_change({"expired_at": "then", "beat": 3}, change, None) is None


def test_a_beat_seen_in_the_meantime_saves_a_worker() -> None:
    assert apply_change({"expired_at": None, "beat": 4}, expire(7, seen_beat=3), None) is None
