"""Adding jobs inside a transaction on another database, which cannot cover them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from dataqueue_django import get_queue, job
from dataqueue_django.exceptions import ConfigurationError
from dataqueue_django.queue import JobQueue
from tests.app.models import BusinessRow


@job("outside.send")
def send(n: int = 0) -> None: ...


WAYS: dict[str, Callable[[str], Any]] = {
    "add_job": lambda alias: get_queue(alias).add_job("outside.send"),
    "add_jobs": lambda alias: get_queue(alias).add_jobs([{"job_type": "outside.send"}] * 2),
    "enqueue": lambda alias: send.using(alias=alias).enqueue(),
    "enqueue_many": lambda alias: send.using(alias=alias).enqueue_many([{}, {}]),
    "aenqueue": lambda alias: async_to_sync(send.using(alias=alias).aenqueue)(),
}


@pytest.fixture
def other(any_alias: str, settings: Any) -> str:
    """The database that does not hold the queue of the test."""
    if "postgres" not in settings.DATABASES:
        pytest.skip("there is only one database")
    return "default" if any_alias == "postgres" else "postgres"


@pytest.fixture
def policy(any_alias: str, settings: Any) -> Callable[[str | None], JobQueue]:
    """Sets the policy of the queue and returns the queue."""

    def choose(word: str | None) -> JobQueue:
        settings.DATAQUEUE = {any_alias: {"OPTIONS": {"DATABASE": any_alias}, "OUTSIDE_TRANSACTION": word}}
        return get_queue(any_alias)

    return choose


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("word", ["warn", None])
def test_a_warning_at_the_line_that_adds(
    way: Callable[[str], Any], policy: Any, word: str | None, any_alias: str, other: str
) -> None:
    queue = policy(word)
    with (
        transaction.atomic(using=other),
        pytest.warns(RuntimeWarning, match=f"inside a transaction on '{other}'") as caught,
    ):
        way(any_alias)
    [one] = caught
    assert f"on_commit(using='{other}')" in str(one.message)
    assert queue.count_jobs() > 0
    if way is not WAYS["aenqueue"]:  # which runs in a thread of asgiref
        assert one.filename == __file__


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_refusing_writes_nothing(way: Callable[[str], Any], policy: Any, any_alias: str, other: str) -> None:
    queue = policy("refuse")
    with transaction.atomic(using=other):
        BusinessRow.objects.using(other).create(note="kept")
        with pytest.raises(ConfigurationError, match=f"queue '{any_alias}' inside a transaction on '{other}'"):
            way(any_alias)
    assert queue.count_jobs() == 0
    assert BusinessRow.objects.using(other).count() == 1


@pytest.mark.usefixtures("quiet")
def test_allowing_is_silent(policy: Any, any_alias: str, other: str) -> None:
    queue = policy("allow")
    with transaction.atomic(using=other):
        WAYS["enqueue"](any_alias)
    assert queue.count_jobs() == 1


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("word", ["warn", "refuse"])
def test_inside_the_queue_s_own_transaction_nothing_is_wrong(
    policy: Any, word: str, any_alias: str, other: str
) -> None:
    queue = policy(word)
    for databases in ([], [any_alias], [other, any_alias], [any_alias, other]):
        with ExitStack() as stack:
            for database in databases:
                stack.enter_context(transaction.atomic(using=database))
            for way in WAYS.values():
                way(any_alias)
    assert queue.count_jobs() == 4 * 7


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=["dataqueue_django", "tests.app"])
def test_without_a_test_s_transactions_around(policy: Any, any_alias: str, other: str) -> None:
    queue = policy("refuse")
    job_id = queue.add_job("outside.send")
    with transaction.atomic(using=other):
        transaction.on_commit(lambda: queue.add_job("outside.send"), using=other)
        with pytest.raises(ConfigurationError):
            queue.add_job("outside.send")
    assert queue.count_jobs() == 2
    assert queue.delete_job(job_id)
