"""Duties: each is done once a period, whoever looks; a failure stays its own, and a death costs one period."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from threading import Barrier, Event, Lock, Thread
from typing import Any

import pytest
from django.db import OperationalError, connections

from dataqueue_django import get_queue
from dataqueue_django.domain.duties import Done
from dataqueue_django.domain.records import JSON, Duty, Kind
from dataqueue_django.queue.duties import Chore, DutyRound, do_duties
from dataqueue_django.stores import Store, stores
from dataqueue_django.stores.memory import MemoryStore
from dataqueue_django.worker.upkeep import Upkeep
from tests.harness.duties import make_due
from tests.harness.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

LONG = 3600.0
PROCESSES = 6


def chore(name: str, do: Callable[[JSON], Done] = lambda _: Done(), every: float = LONG) -> Chore:
    return Chore(name=name, every=every, do=do)


def row(store: Store, name: str) -> Duty:
    found: Duty = store.fetch(Kind.DUTY, name)
    return found


def at_once(alias: str, act: Callable[[int], Any]) -> None:
    """Do something in several threads, each with a connection of its own, all beginning together."""
    begin, errors = Barrier(PROCESSES), []

    def run(n: int) -> None:
        try:
            with stores[alias].private_session():
                begin.wait()
                act(n)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(n,)) for n in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_of_many_who_look_at_once_one_does_it_each_period(any_alias: str) -> None:
    store, done, lock = stores[any_alias], Counter[str](), Lock()

    def counted(name: str) -> Chore:
        def do(_: JSON) -> Done:
            with lock:
                done[name] += 1
            return Done(report={"rows": 1})

        return chore(name, do)

    chores = [counted("a"), counted("b")]
    for period in range(1, 4):
        at_once(any_alias, lambda n: [do_duties(store, chores, f"w{n}") for _ in range(3)])
        assert done == {"a": period, "b": period}
        assert [(one.report, one.error) for one in store.find(Kind.DUTY)] == [({"rows": 1}, "")] * 2
        make_due(store)


def test_one_that_fails_stops_no_other_and_says_so_in_its_row(any_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    store, fails = stores[any_alias], True

    def broken(_: JSON) -> Done:
        if fails:
            raise ValueError("no room\nfor this")
        return Done()

    chores = [chore("broken", broken), chore("fine", lambda _: Done(report={"rows": 2}))]
    with caplog.at_level(logging.ERROR, "dataqueue_django.worker"):
        result = do_duties(store, chores, "w")
    assert (list(result.done), list(result.errors)) == (["fine"], ["broken"])
    assert row(store, "broken").error == "ValueError: no room for this"
    assert row(store, "broken").finished_at is not None
    assert (row(store, "fine").report, row(store, "fine").error) == ({"rows": 2}, "")
    assert "the duty 'broken' failed" in caplog.text

    fails = False
    assert do_duties(store, chores, "w") == DutyRound()
    make_due(store)
    do_duties(store, chores, "w")
    assert row(store, "broken").error == ""


def test_what_cannot_be_stored_of_one_is_its_own_failure(any_alias: str) -> None:
    store = stores[any_alias]
    chores = [chore("odd", lambda _: Done(state={"at": object()})), chore("fine", lambda _: Done(state=[1]))]
    assert list(do_duties(store, chores, "w").errors) == ["odd"]
    assert row(store, "odd").error.startswith("InvalidPayload: state.at")
    assert row(store, "fine").state == [1]


def test_a_lost_connection_in_one_is_no_traceback(any_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    def lost(_: JSON) -> Done:
        raise OperationalError("canceling statement due to statement timeout")

    assert list(do_duties(stores[any_alias], [chore("slow", lost), chore("fine")], "w").done) == ["fine"]
    assert "could not be done: canceling statement" in caplog.text
    assert "Traceback" not in caplog.text


def test_whoever_dies_at_it_delays_it_by_one_period(any_alias: str) -> None:
    store = stores[any_alias]

    def die(_: JSON) -> Done:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do_duties(store, [chore("a", die), chore("b")], "first")
    for name in "ab":
        assert (row(store, name).finished_at, row(store, name).done_by) == (None, "first")
    assert do_duties(store, [chore("a"), chore("b")], "second", anyway=True) == DutyRound()

    make_due(store)
    assert list(do_duties(store, [chore("a"), chore("b")], "second").done) == ["a", "b"]
    assert {(one.done_by, one.finished_at is not None) for one in store.find(Kind.DUTY)} == {("second", True)}


def test_what_is_remembered_is_handed_on(any_alias: str) -> None:
    store = stores[any_alias]
    counting = chore("count", lambda state: Done(state=(state or 0) + 1))
    for n in range(1, 4):
        do_duties(store, [counting], f"w{n}")
        assert row(store, "count").state == n
        make_due(store)


def test_a_failure_does_not_forget(any_alias: str) -> None:
    store = stores[any_alias]

    def count(state: JSON) -> Done:
        return Done(state=(state or 0) + 1)

    def fail(_: JSON) -> Done:
        raise ValueError("x")

    for do in (count, fail, count):
        do_duties(store, [chore("count", do)], "w")
        make_due(store)
    assert row(store, "count").state == 2


def test_nothing_due_is_two_reads(any_alias: str, django_assert_max_num_queries: Any) -> None:
    store = stores[any_alias]
    do_duties(store, [chore("a"), chore("b")], "w")
    with django_assert_max_num_queries(2, connection=connections[any_alias]):
        do_duties(store, [chore("a"), chore("b")], "w")


def test_it_works_in_memory() -> None:
    store = MemoryStore()
    assert list(do_duties(store, [chore("a")], "w").done) == ["a"]
    assert do_duties(store, [chore("a")], "w").done == {}


def test_a_worker_goes_on_when_a_duty_fails_and_tells_on_error(any_alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, told, heard = stores[any_alias], [], Event()

    def refuse(*_: Any, **__: Any) -> int:
        raise ValueError("not today")

    def on_error(error: Exception) -> None:
        told.append(error)
        heard.set()

    monkeypatch.setattr(type(store), "delete_logs", refuse)
    processor = get_queue(any_alias).create_processor(worker_id="here", on_error=on_error)
    processor.start_in_background()
    try:
        assert heard.wait(60)
        wait_until(lambda: row(store, "clean_logs").error)
    finally:
        assert processor.stop_and_drain()
    assert [str(error) for error in told] == ["not today"]
    duties = {duty.id: duty for duty in store.find(Kind.DUTY)}
    assert duties["clean_logs"].error == "ValueError: not today"
    assert {duty.done_by for duty in duties.values()} == {"here"}
    assert [name for name, duty in duties.items() if duty.error] == ["clean_logs"]
    assert all(duty.finished_at is not None for duty in duties.values())


def test_workers_share_the_duties(any_alias: str) -> None:
    """In each period every real duty is done by one of them, none twice."""
    store, settings = stores[any_alias], get_queue(any_alias).settings
    seen, lock = Counter[str](), Lock()
    rounds = [Upkeep(store, settings, label=f"w{n}") for n in range(PROCESSES)]
    for upkeep in rounds:
        for n, one in enumerate(upkeep._chores):
            upkeep._chores[n] = noting(one, seen, lock)
    for period in range(1, 3):
        at_once(any_alias, lambda n: rounds[n].round(me=0, unbroken_since=0.0))
        assert set(seen.values()) == {period}
        assert len(seen) == len(rounds[0]._chores)
        make_due(store)


def noting(one: Chore, seen: Counter[str], lock: Lock) -> Chore:
    def do(state: JSON) -> Done:
        with lock:
            seen[one.name] += 1
        return one.do(state)

    return Chore(name=one.name, every=one.every, do=do)
