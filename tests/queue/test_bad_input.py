"""What callers give by mistake or on purpose: one clear error of the family, nothing written, and life goes on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.db import OperationalError, connections, transaction
from django.db.transaction import TransactionManagementError
from django.utils.functional import lazystr

from dataqueue_django import get_queue, job
from dataqueue_django.domain.filters import JobFilter, TagMatch, TimeRange
from dataqueue_django.domain.lifecycle import State
from dataqueue_django.exceptions import (
    DataQueueError,
    IdempotencyConflict,
    InvalidEdit,
    InvalidFilter,
    InvalidJob,
    InvalidPayload,
)
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.base import described
from dataqueue_django.queue.defining import JobDefinition
from tests.queue.states import JOB_TYPE, job_in, run_of
from tests.stores.tables import TABLES, empty, real_transactions

HUGE = 10**5000
"""More digits than Python is ready to print."""


class Speechless:
    """Its repr() and str() raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Forger:
    """Its repr() looks like lines of a log, in red."""

    def __repr__(self) -> str:
        return "x\nERROR forged\r\x1b[31m\u202e" + "y" * 10_000


class Shop(StrEnum):
    MAIL = "mail"


class Weight(IntEnum):
    HIGH = 10


class Loud(str):
    """A string that shouts whenever somebody asks."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1

    def strip(self, *_: Any) -> Any:
        raise RuntimeError("no")


class NoOffset(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("where am I?")

    def dst(self, _: datetime | None) -> None:
        return None


class Moment(datetime):
    """A time as a library would have it, with a text of its own."""

    def isoformat(self, *_: Any, **__: Any) -> str:
        return "some time"


class Entries(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **values: Any) -> None:
        self.values_ = values

    def __getitem__(self, key: str) -> Any:
        return self.values_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def nested(depth: int) -> Any:
    """Return lists in lists: repr() gives up on them."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def recursive() -> list[Any]:
    """Return a list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


@pytest.fixture
def whole(_forget: None) -> JobDefinition[..., None]:
    @job("bad_input.whole")
    def whole(payload: Any) -> None: ...

    return whole


@pytest.fixture
def _forget() -> Iterator[None]:
    from dataqueue_django.handlers import registry

    yield
    registry.remove("bad_input.whole")


# -- the table


class Try(NamedTuple):
    """One call, the error it must raise, and words of its sentence."""

    call: Callable[[JobQueue], object]
    error: type[Exception]
    words: str


def adding(error: type[Exception], words: str, **options: Any) -> Try:
    """Add a job with an option."""
    return Try(lambda q: q.add_job(JOB_TYPE, {"n": 1}, **options), error, words)


def editing(error: type[Exception], words: str, **updates: Any) -> Try:
    """Edit the job that is there, alone and with all others."""

    def both(queue: JobQueue) -> None:
        [found] = queue.get_jobs_by_status("pending")
        with pytest.raises(error):
            queue.edit_job(found.id, **updates)
        queue.edit_all_pending_jobs(**updates)

    return Try(both, error, words)


def finding(words: str, filters: Any) -> Try:
    """Look for jobs, count them, and cancel them, by a filter."""

    def each(queue: JobQueue) -> None:
        for ask in (queue.get_jobs, queue.count_jobs, lambda w: queue.edit_all_pending_jobs(w, priority=1)):
            with pytest.raises(InvalidFilter):
                ask(filters)
        queue.cancel_all_upcoming_jobs(filters)

    return Try(each, InvalidFilter, words)


def job_number(n: int, **options: Any) -> dict[str, Any]:
    """Return a job for `add_jobs`."""
    return {"job_type": JOB_TYPE, "payload": {"n": n}, **options}


WRONG: dict[str, Try] = {
    # the type of a job
    "no type": Try(lambda q: q.add_job(None), InvalidJob, "job type None"),  # type: ignore[arg-type]
    "an empty type": Try(lambda q: q.add_job("", allow_unknown=True), InvalidJob, "job_type is ''; expected a name"),
    "a long type": Try(lambda q: q.add_job("x" * 129, allow_unknown=True), InvalidJob, "1 to 128 characters"),
    "a list of types": Try(lambda q: q.add_job(["a"], allow_unknown=True), InvalidJob, "job_type is ['a']"),  # type: ignore[arg-type]
    "a lazy type": Try(lambda q: q.add_job(lazystr("a"), allow_unknown=True), InvalidJob, "expected a name"),
    "an unknown type": Try(lambda q: q.add_job("states.jbo"), InvalidJob, f"Did you mean '{JOB_TYPE}'"),
    "a type that will not be printed": Try(lambda q: q.add_job(Speechless()), InvalidJob, "type <Speechless>"),  # type: ignore[arg-type]
    "a huge number for a type": Try(lambda q: q.add_job(HUGE), InvalidJob, "type <int>"),  # type: ignore[arg-type]
    "a forged type": Try(lambda q: q.add_job(Forger()), InvalidJob, r"x\nERROR forged\r\x1b[31m\u202e"),  # type: ignore[arg-type]
    # options
    "an unknown option": adding(InvalidJob, "'max_attemps'. Did you mean 'max_attempts'", max_attemps=3),
    "an option of 100 kB": adding(InvalidJob, "unknown option", **{"x" * 100_000: 3}),
    "a naive time": adding(InvalidJob, "aware datetime, as timezone.now() returns", run_at=datetime(2030, 1, 1)),
    "a time without place": adding(InvalidJob, "run_at is", run_at=datetime(2030, 1, 1, tzinfo=NoOffset())),
    "a time before time": adding(InvalidJob, "run_at is", run_at=datetime(1, 1, 1, tzinfo=UTC)),
    "a time after time": adding(InvalidJob, "within the next ten years", run_at=datetime.max.replace(tzinfo=UTC)),
    "half an attempt": adding(InvalidJob, "max_attempts is 0.5; expected a whole number", max_attempts=0.5),
    "too many attempts": adding(InvalidJob, "from 1 to 1000", max_attempts=HUGE),
    "true attempts": adding(InvalidJob, "max_attempts is True", max_attempts=True),
    "a huge priority": adding(InvalidJob, "priority is", priority=-HUGE),
    "a decimal priority": adding(InvalidJob, "priority is Decimal('1')", priority=Decimal(1)),
    "a kill at no timeout": adding(
        InvalidJob, "force_kill_on_timeout is True and there is no timeout; expected", force_kill_on_timeout=True
    ),
    "an isolate that is no choice": adding(InvalidJob, "isolate is 'yes'; expected True or False", isolate="yes"),
    "a kill that is no choice": adding(
        InvalidJob, "force_kill_on_timeout is 1; expected True or False", force_kill_on_timeout=1, timeout=3
    ),
    "a huge timeout": adding(InvalidJob, "timeout is", timeout=HUGE),
    "a decimal timeout": adding(InvalidJob, "timeout is Decimal('1')", timeout=Decimal(1)),
    "a timeout that will not be printed": adding(InvalidJob, "timeout is <Speechless>", timeout=Speechless()),
    "a complex delay": adding(InvalidJob, "retry_delay is 1j", retry_delay=1j),
    "an unknown backoff": adding(InvalidJob, "Did you mean 'linear'", retry_backoff="lineer"),
    "a huge backoff": adding(InvalidJob, "retry_backoff is", retry_backoff=HUGE),
    "a queue of bytes": adding(InvalidJob, "queue is b'mail'", queue=b"mail"),
    "a queue of half a character": adding(InvalidJob, r"queue is '\ud83d'", queue="\ud83d"),
    "a recursive queue": adding(InvalidJob, "queue is [[...]]", queue=recursive()),
    "a deep queue": adding(InvalidJob, "queue is <list>", queue=nested(100_000)),
    "a wide queue": adding(InvalidJob, "queue is [0, 0", queue=[0] * 10**6),
    "a callable key": adding(InvalidJob, "idempotency_key is <built-in function len>", idempotency_key=len),
    "a key of 10 kB": adding(InvalidJob, "1 to 255 characters", idempotency_key="k" * 10_000),
    "a key with NUL": adding(InvalidJob, r"idempotency_key is 'a\x00'", idempotency_key="a\0"),
    "one tag as a string": adding(InvalidJob, "expected a list of strings, such as ['vip']", tags="vip"),
    "a mapping of tags": adding(InvalidJob, "expected a list of strings", tags={"a": 1}),
    "tags without end": adding(InvalidJob, "at most 50", tags=(f"t{n}" for n in itertools.count())),
    "one tag without end": adding(InvalidJob, "at most 50", tags=itertools.repeat("a")),
    "a million tags": adding(InvalidJob, "at most 50", tags=[f"t{n}" for n in range(10**6)]),
    "a tag that is a list": adding(InvalidJob, "tags holds ['a']", tags=[["a"]]),
    "a tag that is a number": adding(InvalidJob, "tags holds", tags=[HUGE]),
    "a tag of half a character": adding(InvalidJob, r"tags holds '\udc80'", tags=["\udc80"]),
    "an empty tag": adding(InvalidJob, "tags holds ''", tags=[""]),
    "no yes or no, adding": adding(InvalidJob, "strict is 'no'; expected True or False", strict="no"),
    "no yes or no, unknown": adding(InvalidJob, "allow_unknown is 1; expected True or False", allow_unknown=1),
    # payloads that do not fit, whatever their keys are
    "a huge key": Try(lambda q: q.add_job(JOB_TYPE, {"n": 1, HUGE: 2}), InvalidPayload, "is not a parameter"),
    "a key that will not be printed": Try(
        lambda q: q.add_job(JOB_TYPE, {"n": 1, Speechless(): 2}), InvalidPayload, "is not a parameter"
    ),
    "a deep payload": Try(lambda q: q.add_job(JOB_TYPE, nested(100_000)), InvalidPayload, "expected an object"),
    # many jobs
    "a number of jobs": Try(lambda q: q.add_jobs(5), InvalidJob, "expected an iterable"),  # type: ignore[arg-type]
    "one job for many": Try(lambda q: q.add_jobs({"job_type": JOB_TYPE}), InvalidJob, "expected an iterable"),  # type: ignore[arg-type]
    "a job that is a list": Try(lambda q: q.add_jobs([[JOB_TYPE]]), InvalidJob, "Job 0 is ['states.job']; expected"),  # type: ignore[list-item]
    "a job without type": Try(lambda q: q.add_jobs([{"payload": 1}]), InvalidJob, "expected a mapping with 'job_type'"),
    "one bad job of many": Try(
        lambda q: q.add_jobs(job_number(n, priority=2**31 if n == 1998 else n) for n in range(2000)),
        InvalidJob,
        "Job 1998: priority is 2147483648; expected",
    ),
    "one unknown job of many": Try(
        lambda q: q.add_jobs([{"job_type": JOB_TYPE, "payload": {"n": 1}}, {"job_type": "states.jb"}]),
        InvalidJob,
        "Job 1: No handler is registered for the job type 'states.jb'. Did you mean 'states.job'",
    ),
    "one bad payload of many": Try(
        lambda q: q.add_jobs([{"job_type": JOB_TYPE, "payload": {"n": 1}}, {"job_type": JOB_TYPE}]),
        InvalidPayload,
        "Job 1: payload.n is missing",
    ),
    "an option that is no string": Try(
        lambda q: q.add_jobs([{"job_type": JOB_TYPE, 5: 1}]),  # type: ignore[dict-item]
        InvalidJob,
        "Job 0 got the unknown option 5",
    ),
    "an option that will not be printed": Try(
        lambda q: q.add_jobs([{"job_type": JOB_TYPE, Speechless(): 1}]),  # type: ignore[dict-item]
        InvalidJob,
        "Job 0 got the unknown option",
    ),
    # keys
    "a key of another job": Try(
        lambda q: q.add_job(JOB_TYPE, {"n": 2}, idempotency_key="taken", strict=True),
        IdempotencyConflict,
        "idempotency_key 'taken' belongs to job",
    ),
    # edits
    "an edit of nothing known": editing(InvalidEdit, "'prioritty' cannot be edited. Did you mean 'prior", prioritty=1),
    "an edit of 100 kB": editing(InvalidEdit, "cannot be edited", **{"x" * 100_000: 3}),
    "an edit of the status": editing(InvalidEdit, "'status' cannot be edited; add a new job", status="completed"),
    "an edit to a huge priority": editing(InvalidJob, "priority is", priority=HUGE),
    "an edit to a naive time": editing(InvalidJob, "aware datetime", run_at=datetime(2030, 1, 1)),
    "an edit to a time without place": editing(InvalidJob, "run_at is", run_at=datetime(2030, 1, 1, tzinfo=NoOffset())),
    "an edit to tags without end": editing(InvalidJob, "at most 50", tags=itertools.repeat("a")),
    "an edit to a set": editing(InvalidPayload, "payload.n is a set", payload={"n": {1}}),
    "an edit of two, one bad": editing(InvalidJob, "max_attempts is '3'", priority=9, max_attempts="3"),
    "an edit by nobody": Try(lambda q: q.edit_job(1, actor=None, priority=1), InvalidJob, "actor is None"),  # type: ignore[arg-type]
    "an edit by half a character": editing(InvalidJob, r"actor is '\ud800'", priority=1, actor="\ud800"),
    # ids
    "an id of letters": Try(lambda q: q.get_job("7"), InvalidFilter, "job_id is '7'; expected a whole number"),  # type: ignore[arg-type]
    "an id that is true": Try(lambda q: q.explain_job(True), InvalidFilter, "job_id is True"),
    "a decimal id": Try(lambda q: q.get_job_events(Decimal(1)), InvalidFilter, "job_id is Decimal('1')"),  # type: ignore[arg-type]
    "a job for an id": Try(lambda q: q.cancel_job(q.get_jobs()[0]), InvalidFilter, "job_id is Job(id="),  # type: ignore[arg-type]
    "an id that will not be printed": Try(lambda q: q.retry_job(Speechless()), InvalidFilter, "job_id is <Speechless"),  # type: ignore[arg-type]
    # yes or no
    "force in words": Try(lambda q: q.delete_job(1, force="no"), InvalidFilter, "force is 'no'; expected True or F"),  # type: ignore[arg-type]
    "strict in words": Try(lambda q: q.delete_job(1, strict="no"), InvalidFilter, "strict is 'no'; expected True or"),  # type: ignore[arg-type]
    "strict as a number": Try(lambda q: q.cancel_job(1, strict=1), InvalidFilter, "strict is 1"),  # type: ignore[arg-type]
    "strict retry": Try(lambda q: q.retry_job(1, strict="1"), InvalidFilter, "strict is '1'"),  # type: ignore[arg-type]
    "strict edit": Try(lambda q: q.edit_job(1, strict="1", priority=1), InvalidFilter, "strict is '1'"),  # type: ignore[arg-type]
    "a confirmation in words": Try(
        lambda q: q.cancel_all_upcoming_jobs({}, confirm_all="no"),  # type: ignore[arg-type]
        InvalidFilter,
        "confirm_all is 'no'; expected True or False",
    ),
    "a confirmed edit in words": Try(
        lambda q: q.edit_all_pending_jobs({}, confirm_all="no", priority=1),  # type: ignore[arg-type]
        InvalidFilter,
        "confirm_all is 'no'",
    ),
    "a confirmed clean-up in words": Try(
        lambda q: q.cleanup_old_jobs(0, confirm_all="no"),  # type: ignore[arg-type]
        InvalidFilter,
        "confirm_all is 'no'",
    ),
    "force to reclaim in words": Try(
        lambda q: q.reclaim_stuck_jobs(force="no"),  # type: ignore[arg-type]
        InvalidFilter,
        "force is 'no'",
    ),
    "observing in words": Try(lambda q: q.reclaim_stuck_jobs(observe=None), InvalidFilter, "observe is None"),  # type: ignore[arg-type]
    # filters
    "an unknown filter": finding("'job_typ' is not a filter. Did you mean 'job_type'", {"job_typ": "x"}),
    "a huge name of a filter": finding("is not a filter", {HUGE: 1}),
    "a filter that will not be printed": finding("is not a filter", {Speechless(): 1}),
    "a filter that is a list": finding("expected a mapping", [("job_type", "x")]),
    "an unknown bound": finding("run_at has the unknown key 'before'", {"run_at": {"before": datetime.now(UTC)}}),
    "a naive bound": finding("run_at.gt is", {"run_at": {"gt": datetime(2030, 1, 1)}}),
    "a bound without place": finding("run_at.lt is", {"run_at": {"lt": datetime(2030, 1, 1, tzinfo=NoOffset())}}),
    "an unknown mode": finding("'some' is not a mode of tags", {"tags": {"values": ["a"], "mode": "some"}}),
    "ids without end": finding("at most 1000", {"ids": itertools.count()}),
    "one id without end": finding("at most 1000", {"ids": itertools.repeat(1)}),
    "a million ids": finding("at most 1000", {"ids": list(range(10**6))}),
    "tags to find without end": finding("at most 50", {"tags": (f"t{n}" for n in itertools.count())}),
    "statuses without end": finding("at most 1000", {"statuses": itertools.repeat("failed")}),
    "a huge priority to find": finding("priority is", {"priority": HUGE}),
    "a status that will not be printed": finding("is not a status", {"status": Speechless()}),
    "a status that is a list": finding("is not a status", {"status": [["failed"]]}),
    "a filter made by hand": finding("run_at is 'x'", JobFilter(run_at="x")),  # type: ignore[arg-type]
    "an unknown mode beside a match": Try(
        lambda q: q.get_jobs_by_tags(TagMatch(("a",)), "some"), InvalidFilter, "'some' is not a mode of tags"
    ),
    # pages and counts
    "no limit": Try(lambda q: q.get_jobs(limit=None), InvalidFilter, "limit is None"),  # type: ignore[arg-type]
    "a huge limit": Try(lambda q: q.get_all_jobs(limit=HUGE), InvalidFilter, "limit is"),
    "a huge offset": Try(lambda q: q.get_jobs(offset=HUGE), InvalidFilter, "offset is"),
    "a count of nothing": Try(lambda q: q.count_jobs_by(["status"]), InvalidFilter, "by ['status']"),  # type: ignore[arg-type]
    "a count of one thing twice": Try(
        lambda q: q.count_jobs_by("status", "status"), InvalidFilter, "'status' is given twice"
    ),
    # cleaning and reclaiming
    "negative days": Try(lambda q: q.cleanup_old_jobs(-1), InvalidFilter, "days_to_keep is -1"),
    "huge days": Try(lambda q: q.cleanup_old_jobs(HUGE), InvalidFilter, "days_to_keep is"),
    "no days": Try(lambda q: q.cleanup_old_jobs(0), InvalidFilter, "confirm_all=True"),
    "days as a timedelta": Try(
        lambda q: q.cleanup_old_job_events(timedelta(days=3)),  # type: ignore[arg-type]
        InvalidFilter,
        "days_to_keep is datetime.timedelta(days=3)",
    ),
    "a number of statuses": Try(
        lambda q: q.cleanup_old_jobs(statuses=5),  # type: ignore[arg-type]
        InvalidFilter,
        "statuses is 5; expected some of cancelled, completed, failed",
    ),
    "ends without end": Try(
        lambda q: q.cleanup_old_jobs(statuses=itertools.repeat("failed")), InvalidFilter, "statuses"
    ),
    "a batch nobody is told of": Try(
        lambda q: q.cleanup_old_jobs(0, confirm_all=True, on_batch=5),  # type: ignore[arg-type]
        InvalidFilter,
        "on_batch is 5; expected a function",
    ),
    "a batch of events nobody is told of": Try(
        lambda q: q.cleanup_old_job_events(0, confirm_all=True, on_batch="print"),  # type: ignore[arg-type]
        InvalidFilter,
        "on_batch is 'print'; expected a function",
    ),
    "no minutes": Try(lambda q: q.reclaim_stuck_jobs(0), InvalidFilter, "expected a number above 0"),
    "huge minutes": Try(lambda q: q.reclaim_stuck_jobs(HUGE), InvalidFilter, "max_processing_minutes is"),
}


def rows(alias: str) -> dict[str, list[Any]]:
    """Return everything that the queue has in a database."""
    return {model.__name__: sorted(model._default_manager.using(alias).values_list(), key=repr) for model in TABLES}


def furnish(queue: JobQueue) -> None:
    """Let there be a job that could be changed, and one that could be cleaned up."""
    queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="taken", tags=["a"])
    job_in(queue, State.COMPLETED)


def test_bad_input_is_refused_in_a_sentence_and_nothing_is_written(queue: JobQueue, subtests: Any) -> None:
    """Here everything happens inside `atomic()`; nothing needs to be rolled back for life to go on."""
    furnish(queue)
    before = rows(queue.alias)
    for name in WRONG:
        with subtests.test(name):
            refuse(queue, name)
            assert rows(queue.alias) == before
    furnish_again(queue)


def refuse(queue: JobQueue, name: str) -> None:
    call, error, words = WRONG[name]
    with pytest.raises(error) as refusal:
        call(queue)
    message = str(refusal.value)
    assert type(refusal.value) is error
    assert isinstance(refusal.value, DataQueueError)
    assert words in message
    assert message.isprintable(), "one line, nothing that moves a cursor"
    assert len(message) < 400
    assert message.endswith((".", "?"))


def furnish_again(queue: JobQueue) -> None:
    """The connection and the transaction around it are as good as before."""
    job_id = queue.add_job(JOB_TYPE, {"n": 2})
    assert queue.edit_job(job_id, priority=1)
    assert queue.cancel_job(job_id)
    assert queue.delete_job(job_id)


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])
def test_bad_input_outside_of_transactions(any_alias: str, subtests: Any) -> None:
    with emptied(any_alias) as queue:
        furnish(queue)
        before = rows(any_alias)
        for name in WRONG:
            with subtests.test(name):
                refuse(queue, name)
                assert not connections[any_alias].in_atomic_block
                assert rows(any_alias) == before
        furnish_again(queue)


@contextmanager
def emptied(alias: str) -> Iterator[JobQueue]:
    empty(alias)
    try:
        yield get_queue(alias)
    finally:
        empty(alias)


# -- what looks odd and is fine


NOON = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Vienna"))
"""An hour that comes twice: the clocks go back."""

ODD: list[tuple[str, Any, str, Any]] = [
    ("run_at", NOON, "run_at", datetime(2030, 10, 27, 0, 30, tzinfo=UTC)),
    ("run_at", NOON.replace(fold=1), "run_at", datetime(2030, 10, 27, 1, 30, tzinfo=UTC)),
    ("run_at", NOON.replace(month=3, day=31), "run_at", datetime(2030, 3, 31, 1, 30, tzinfo=UTC)),
    ("run_at", Moment(2030, 1, 1, tzinfo=UTC), "run_at", datetime(2030, 1, 1, tzinfo=UTC)),
    ("run_at", datetime(2, 1, 1, tzinfo=UTC), "run_at", datetime(2, 1, 1, tzinfo=UTC)),
    ("priority", Weight.HIGH, "priority", 10),
    ("max_attempts", Weight.HIGH, "max_attempts", 10),
    ("timeout", Weight.HIGH, "timeout_ms", 10_000),
    ("tags", [Shop.MAIL, "mail"], "tags", ("mail",)),
    ("tags", [Loud("a"), "b"], "tags", ("a", "b")),
    ("tags", (tag for tag in "abca"), "tags", ("a", "b", "c")),
    ("tags", ["a"] * 1000, "tags", ("a",)),
    ("tags", None, "tags", ()),
]


@pytest.mark.parametrize(("option", "given", "field", "kept"), ODD)
@pytest.mark.parametrize("way", ["add", "edit"])
def test_what_looks_odd_is_kept_as_what_it_means(
    queue: JobQueue, way: str, option: str, given: Any, field: str, kept: Any
) -> None:
    if not isinstance(given, str | tuple | list | datetime | int | None):
        given = (tag for tag in "abca")  # another one for each test
    if way == "add":
        job_id = queue.add_job(JOB_TYPE, {"n": 1}, **{option: given})
    else:
        job_id = job_in(queue, State.READY)
        assert queue.edit_job(job_id, **{option: given})
    stored = queue.get_job(job_id)
    assert getattr(stored, field) == kept


def test_names_and_keys_become_plain_strings(queue: JobQueue) -> None:
    """What `enqueue` returns is what is stored, whatever class the caller's strings were of."""
    spec = described(
        queue, Loud(JOB_TYPE), {"n": 1}, options(queue=Shop.MAIL, idempotency_key=Loud("k"), tags=[Shop.MAIL])
    )
    assert {type(text) for text in (spec.job_type, spec.queue, spec.idempotency_key, *spec.tags)} == {str}
    [answer] = queue._insert([spec])
    assert queue.cancel_job(answer.id, actor=Loud("ann"))
    assert queue.get_job_events(answer.id)[-1].actor == "ann"
    found = queue.get_jobs({"queue": Shop.MAIL, "idempotency_key": Loud("k"), "tags": [Loud("mail")]})
    assert [one.id for one in found] == [answer.id]


def options(**given: Any) -> Any:
    from dataqueue_django.domain.options import options_from

    return options_from(given)


def test_a_mapping_need_not_be_a_dict(queue: JobQueue) -> None:
    [job_id] = queue.add_jobs(iter([Entries(job_type=JOB_TYPE, payload={"n": 1}, priority=3)]))
    assert [found.id for found in queue.get_jobs(Entries(priority=3, tags=Entries(values=["x"], mode="none")))] == [
        job_id
    ]


@pytest.mark.parametrize("after", [2**63 - 1, 2**63, HUGE], ids=["largest", "larger", "huge"])
def test_a_page_after_an_id_that_no_job_can_have_is_the_first(queue: JobQueue, after: int) -> None:
    job_id = job_in(queue, State.READY)
    assert [found.id for found in queue.get_jobs(after=after)] == [job_id]
    assert queue.get_jobs(after=-after) == []


def test_the_farthest_page_and_the_widest_bounds(queue: JobQueue) -> None:
    job_id = job_in(queue, State.READY)
    assert queue.get_jobs(offset=2**63 - 1) == []
    everything = TimeRange(gt=datetime.min.replace(tzinfo=UTC), lt=datetime.max.replace(tzinfo=UTC))
    extremes = {"run_at": everything, "priority": [0, 2**63 - 1, -(2**63) + 1], "ids": [job_id, 2**63 - 1, HUGE]}
    assert [found.id for found in queue.get_jobs(extremes)] == [job_id]


def test_a_lot_of_jobs_that_raises_while_it_is_read_leaves_nothing(queue: JobQueue) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from (job_number(n) for n in range(1500))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        queue.add_jobs(broken())
    assert queue.count_jobs() == 0
    furnish_again(queue)


def test_a_callback_that_raises_ends_the_clean_up_after_a_whole_batch(queue: JobQueue) -> None:
    for _ in range(4):
        job_in(queue, State.CANCELLED)

    def weary(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        queue.cleanup_old_jobs(0, statuses="cancelled", confirm_all=True, batch_size=3, on_batch=weary)
    assert queue.count_jobs() == 1


# -- transactions that are not as they should be

Steer = Callable[[JobQueue, int], object]

WRITES: dict[str, Steer] = {
    "add": lambda q, _: q.add_job(JOB_TYPE, {"n": 3}, idempotency_key="new", tags=["b"]),
    "add many": lambda q, _: q.add_jobs([job_number(3), job_number(4)]),
    "cancel": lambda q, id: q.cancel_job(id),
    "edit": lambda q, id: q.edit_job(id, priority=5, tags=["z"], payload={"n": 9}),
    "delete": lambda q, id: q.delete_job(id),
    "cancel all": lambda q, _: q.cancel_all_upcoming_jobs(),
    "edit all": lambda q, _: q.edit_all_pending_jobs(priority=5),
    "clean up": lambda q, _: q.cleanup_old_jobs(0, confirm_all=True),
    "clean up events": lambda q, _: q.cleanup_old_job_events(0, confirm_all=True),
}


@pytest.mark.parametrize("name", [*WRITES, "get"])
def test_in_a_broken_transaction_the_database_speaks_for_itself(queue: JobQueue, name: str) -> None:
    furnish(queue)
    before, [pending] = rows(queue.alias), queue.get_jobs_by_status("pending")
    with transaction.atomic(using=queue.alias):
        transaction.set_rollback(True, using=queue.alias)  # as after an IntegrityError that was caught too far out
        with pytest.raises(TransactionManagementError):
            {**WRITES, "get": lambda q, id: q.get_job(id)}[name](queue, pending.id)
    assert rows(queue.alias) == before
    furnish_again(queue)


@pytest.mark.parametrize("name", WRITES)
def test_what_is_rolled_back_never_happened(queue: JobQueue, name: str) -> None:
    furnish(queue)
    before, [pending] = rows(queue.alias), queue.get_jobs_by_status("pending")
    with transaction.atomic(using=queue.alias):
        assert WRITES[name](queue, pending.id)
        assert rows(queue.alias) != before
        transaction.set_rollback(True, using=queue.alias)
    assert rows(queue.alias) == before


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])
def test_without_autocommit_the_caller_decides(any_alias: str) -> None:
    connection = connections[any_alias]
    with emptied(any_alias) as queue:
        for name, write in WRITES.items():
            empty(any_alias)
            furnish(queue)
            before, [pending] = rows(any_alias), queue.get_jobs_by_status("pending")
            connection.set_autocommit(False)
            try:
                assert write(queue, pending.id)
                assert rows(any_alias) != before
                connection.rollback()
                assert rows(any_alias) == before, name
                assert write(queue, pending.id)
                after = rows(any_alias)
                connection.commit()
            finally:
                connection.set_autocommit(True)
            assert {name: len(found) for name, found in rows(any_alias).items()} == {
                name: len(found) for name, found in after.items()
            }


# -- async code and threads

TWINS: dict[str, Steer] = {
    "add_job": lambda q, _: q.add_job(JOB_TYPE, {"n": 1}),
    "get_job": lambda q, id: q.get_job(id),
    "get_all_jobs": lambda q, _: q.get_all_jobs(),
    "edit_job": lambda q, id: q.edit_job(id, priority=1),
    "cancel_job": lambda q, id: q.cancel_job(id),
    "delete_job": lambda q, id: q.delete_job(id),
    "explain_job": lambda q, id: q.explain_job(id),
    "cancel_all_upcoming_jobs": lambda q, _: q.cancel_all_upcoming_jobs(),
    "cleanup_old_jobs": lambda q, _: q.cleanup_old_jobs(),
    "reclaim_stuck_jobs": lambda q, _: q.reclaim_stuck_jobs(),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_call_from_async_code_names_the_twin(queue: JobQueue, name: str) -> None:
    furnish(queue)
    before, [pending] = rows(queue.alias), queue.get_jobs_by_status("pending")

    async def view() -> None:
        TWINS[name](queue, pending.id)

    with pytest.raises(SynchronousOnlyOperation, match=rf"^{name}\(\) .*; expected its twin a{name}\(\), awaited"):
        asyncio.run(view())
    assert rows(queue.alias) == before


def test_enqueuing_from_async_code_names_the_twin(queue: JobQueue, whole: JobDefinition[..., None]) -> None:
    async def view() -> None:
        whole.using(alias=queue.alias).enqueue({})

    async def another() -> None:
        whole.using(alias=queue.alias).enqueue_many([{}])

    with pytest.raises(SynchronousOnlyOperation, match=r"^enqueue\(\) .*; expected its twin aenqueue\(\), awaited"):
        asyncio.run(view())
    with pytest.raises(
        SynchronousOnlyOperation, match=r"^enqueue_many\(\) .*; expected its twin aenqueue_many\(\), awaited"
    ):
        asyncio.run(another())
    assert queue.count_jobs() == 0


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])
def test_bad_input_to_the_twins_is_refused_just_the_same(any_alias: str) -> None:
    with emptied(any_alias) as queue:

        async def view() -> None:
            with pytest.raises(InvalidJob, match="priority is 'x'"):
                await queue.aadd_job(JOB_TYPE, {"n": 1}, priority="x")  # type: ignore[attr-defined]
            with pytest.raises(InvalidFilter, match="job_id is 'x'"):
                await queue.acancel_job("x")  # type: ignore[attr-defined]

        async_to_sync(view)()
        assert queue.count_jobs() == 0


@pytest.mark.django_db(transaction=True, databases="__all__", available_apps=[])
def test_one_queue_serves_many_threads(any_alias: str) -> None:
    def live(n: int) -> list[bool]:
        try:
            job_id = queue.add_job(JOB_TYPE, {"n": n}, tags=[f"t{n}"])
            [found] = queue.get_jobs_by_tags([f"t{n}"])
            return [found.id == job_id, queue.edit_job(job_id, priority=n), queue.cancel_job(job_id)]
        finally:
            connections.close_all()

    with emptied(any_alias) as queue, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(live, range(12))) == [[True, True, True]] * 12
        assert queue.count_jobs_by("status") == {"cancelled": 12}


# -- a transaction that reads an older state of things


STEER: dict[str, Steer] = {
    "cancel": lambda q, id: q.cancel_job(id),
    "retry": lambda q, id: q.retry_job(id),
    "edit": lambda q, id: q.edit_job(id, priority=7, tags=["mine"]),
    "delete": lambda q, id: q.delete_job(id),
    "cancel all": lambda q, _: q.cancel_all_upcoming_jobs({"tags": ["a"]}),
}
THEIRS: dict[str, Steer] = {
    "cancel": lambda q, id: q.cancel_job(id),
    "edit": lambda q, id: q.edit_job(id, priority=3, tags=["theirs"]),
    "delete": lambda q, id: q.delete_job(id),
    "claim": lambda q, id: run_of(q, id),
}


def elsewhere(call: Callable[[], object]) -> None:
    """Do something in another session."""

    def there() -> object:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(there).result()


@real_transactions("postgres")
class TestRepeatableRead:
    """Another session changes the job after the caller's snapshot: what the snapshot shows is never acted on."""

    @pytest.fixture
    def queue(self) -> Iterator[JobQueue]:
        with emptied("postgres") as queue:
            yield queue

    @pytest.mark.parametrize("theirs", THEIRS)
    @pytest.mark.parametrize("mine", STEER)
    def test_the_database_refuses_and_the_other_change_stands(self, queue: JobQueue, mine: str, theirs: str) -> None:
        job_id = queue.add_job(JOB_TYPE, {"n": 1}, tags=["a"])
        with pytest.raises(OperationalError) as refusal, transaction.atomic(using="postgres"):
            snapshot(queue)
            elsewhere(lambda: THEIRS[theirs](queue, job_id))
            after = elsewhere_rows()
            STEER[mine](queue, job_id)
        assert isinstance(refusal.value.__cause__, psycopg.errors.SerializationFailure)
        assert rows("postgres") == after
        furnish_again(queue)

    def test_a_job_that_the_snapshot_does_not_have_is_not_there(self, queue: JobQueue) -> None:
        with transaction.atomic(using="postgres"):
            snapshot(queue)
            elsewhere(lambda: queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k"))
            job_id = elsewhere_rows()["Job"][0][0]
            assert [call(queue, job_id) for call in STEER.values()] == [False, False, False, False, 0]
        assert queue.get_job_events(job_id)[1:] == []

    def test_a_key_that_the_snapshot_does_not_have_is_a_serialization_failure(self, queue: JobQueue) -> None:
        with pytest.raises(OperationalError) as refusal, transaction.atomic(using="postgres"):
            snapshot(queue)
            elsewhere(lambda: queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k"))
            queue.add_job(JOB_TYPE, {"n": 1}, idempotency_key="k")
        assert isinstance(refusal.value.__cause__, psycopg.errors.SerializationFailure)
        assert queue.count_jobs() == 1


def snapshot(queue: JobQueue) -> None:
    """Begin to read at the stricter level."""
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    queue.get_jobs()


def elsewhere_rows() -> dict[str, list[Any]]:
    """Return what others see."""
    found: list[dict[str, list[Any]]] = []
    elsewhere(lambda: found.append(rows("postgres")) or True)
    return found[0]
