"""The contract itself: it hides none of its tests, and it finds stores that break it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dataqueue_django.domain.changes import Change
from dataqueue_django.domain.records import Job
from dataqueue_django.stores.memory import MemoryStore
from dataqueue_django.testing.contract import Contract, StoreContract
from dataqueue_django.testing.contract.histories import HISTORIES, shortest, some_steps


def test_no_topic_hides_a_test_or_a_helper_of_another() -> None:
    topics = [topic for topic in StoreContract.__mro__ if topic is not object]
    names = [name for topic in topics for name in vars(topic) if not name.startswith("__")]
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_every_topic_is_part_of_the_contract() -> None:
    package = Contract.__module__.rpartition(".")[0]
    topics = {topic for topic in Contract.__subclasses__() if topic.__module__.startswith(package)}
    assert topics <= set(StoreContract.__mro__)


class Generous(MemoryStore):
    """Hands out one job more than asked for."""

    def claim(self, claim: Any, **options: Any) -> Any:
        return super().claim(replace(claim, limit=claim.limit + 1), **options)


class Unfenced(MemoryStore):
    """Takes the word of any execution while the job is processing."""

    def _apply(self, change: Change, now: Any) -> Any:
        return super()._apply(replace(change, guard={}) if "claim_seq" in change.guard else change, now)


class Forgetful(MemoryStore):
    """Writes no event for a claim."""

    def _start(self, job: Job, claim: Any, now: Any) -> Any:
        events = list(self._events)
        started = super()._start(job, claim, now)
        self._events = events
        return started


class Impatient(MemoryStore):
    """Counts an attempt whenever a job is claimed."""

    def _start(self, job: Job, claim: Any, now: Any) -> Any:
        return super()._start(replace(job, resuming=False), claim, now)


class Keyless(MemoryStore):
    """Finds a key only while its job has not begun."""

    def claim(self, claim: Any, **options: Any) -> Any:
        self._keys.clear()
        return super().claim(claim, **options)


class HalfHearted(MemoryStore):
    """Applies the items of a commit before it finds that one is broken."""

    def _all_or_nothing(self) -> Any:
        return self._lock


BROKEN: dict[type[MemoryStore], str] = {
    Generous: "test_the_limit_is_a_limit",
    Unfenced: "test_an_execution_that_was_given_away_writes_nothing",
    Forgetful: "test_a_claimed_job_is_processing",
    Impatient: "test_resuming_does_not_count_an_attempt",
    Keyless: "test_a_key_stays_taken_when_its_job_has_ended",
    HalfHearted: "test_a_call_that_raises_leaves_nothing",
}
SEEN_BY_HISTORIES = [store for store in BROKEN if store is not HalfHearted]


def contract_of(make: Callable[[], MemoryStore]) -> StoreContract:
    """Return the contract for a store, ready to call its tests."""

    class Tried(StoreContract):
        def make_store(self) -> MemoryStore:
            return make()

    tried = Tried()
    tried.store = tried.watched(make())
    return tried


@pytest.mark.parametrize("store", BROKEN, ids=lambda store: store.__name__)
def test_a_broken_store_is_found(store: type[MemoryStore]) -> None:
    with pytest.raises(AssertionError):
        getattr(contract_of(store), BROKEN[store])()


@pytest.mark.parametrize("store", SEEN_BY_HISTORIES, ids=lambda store: store.__name__)
def test_random_histories_find_a_broken_store_and_shorten_the_way(store: type[MemoryStore]) -> None:
    tried = contract_of(store)
    failing = next(steps for steps in map(some_steps, range(HISTORIES)) if tried.problem_of(steps))
    few = shortest(failing, lambda fewer: tried.problem_of(fewer) is not None)
    assert tried.problem_of(few)
    assert len(few) < 15


def test_a_failing_history_is_told_in_few_steps() -> None:
    tried = contract_of(Generous)
    seed = next(seed for seed in range(HISTORIES) if tried.problem_of(some_steps(seed)))
    with pytest.raises(pytest.fail.Exception, match="after the steps"):
        tried.test_a_random_history(seed)


def test_a_store_without_a_maker_says_so() -> None:
    with pytest.raises(NotImplementedError):
        StoreContract().make_store()
