"""Payloads on their way through a database: encoded when a job is added, decoded for its handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group

from dataqueue_django import JobContext, get_queue, job
from dataqueue_django.exceptions import InvalidPayload, PayloadTooLarge
from dataqueue_django.queue import JobQueue
from dataqueue_django.testing import run_job

WHEN = datetime(2030, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)
seen: list[Any] = []


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    price: Decimal
    due: date | None = None


class Order(msgspec.Struct):
    lines: list[int]
    when: datetime


class Letter(pydantic.BaseModel):
    to: UUID
    when: datetime


@job("payloads.typed", takes_context=True)
def typed(
    ctx: JobContext,
    when: datetime,
    lines: list[Line],
    *,
    ident: UUID | None = None,
    wait: timedelta = timedelta(0),
    colours: dict[str, Colour] | None = None,
    ratio: float = 1,
    anything: Any = None,
) -> None:
    seen[:] = [when, lines, ident, wait, colours, ratio, anything]


@job("payloads.whole")
async def whole(payload: Order) -> None:
    seen[:] = [payload]


@job("payloads.letter")
def letter(payload: Letter) -> None:
    seen[:] = [payload]


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def test_a_handler_gets_what_was_enqueued(queue: JobQueue) -> None:
    arguments: dict[str, Any] = {
        "when": WHEN,
        "lines": [Line("a", Decimal("1.50"), date(2030, 1, 1))],
        "ident": UUID(int=7),
        "wait": timedelta(minutes=5),
        "colours": {"sky": Colour.RED},
        "ratio": 1e300,
        "anything": {"a": [None, 1.5]},
    }
    added = typed.using(alias=queue.alias).enqueue(**arguments)
    stored = queue.get_job(added.id)
    assert stored is not None
    assert stored.payload == added.payload
    assert stored.payload["lines"] == [{"sku": "a", "price": "1.50", "due": "2030-01-01"}]
    assert run_job(added, alias=queue.alias).failure_reason is None
    assert seen == list(arguments.values())
    assert type(seen[5]) is float


def test_a_model_is_enqueued_as_instance_or_object(queue: JobQueue) -> None:
    order, mail = Order([1], WHEN), Letter(to=UUID(int=1), when=WHEN)
    jobs = [
        (whole.using(alias=queue.alias).enqueue(order).id, order),
        (queue.add_job("payloads.whole", {"lines": [1], "when": WHEN}), order),
        (letter.using(alias=queue.alias).enqueue(mail).id, mail),
        (queue.add_job("payloads.letter", {"to": str(UUID(int=1)), "when": WHEN.isoformat()}), mail),
    ]
    for job_id, expected in jobs:
        assert run_job(job_id, alias=queue.alias).failure_reason is None
        assert seen == [expected]


def test_json_that_stands_for_a_value_is_the_same_payload(queue: JobQueue) -> None:
    first = typed.using(alias=queue.alias, idempotency_key="k").enqueue(WHEN, [])
    second = typed.using(alias=queue.alias, idempotency_key="k")
    again = second.enqueue(when="2030-01-31T13:30:00.123456+01:00", lines=[])  # type: ignore[arg-type]
    assert (again.id, again.payload_differs) == (first.id, False)


Way = Callable[[JobQueue, dict[str, Any]], Any]
WAYS: dict[str, Way] = {
    "enqueue": lambda queue, payload: typed.using(alias=queue.alias).enqueue(**payload),
    "aenqueue": lambda queue, payload: async_to_sync(typed.using(alias=queue.alias).aenqueue)(**payload),
    "enqueue_many": lambda queue, payload: typed.using(alias=queue.alias).enqueue_many([payload]),
    "add_job": lambda queue, payload: queue.add_job("payloads.typed", payload),
    "add_job, unknown types too": lambda queue, payload: queue.add_job("payloads.typed", payload, allow_unknown=True),
    "add_jobs": lambda queue, payload: queue.add_jobs([{"job_type": "payloads.typed", "payload": payload}]),
    "edit_job": lambda queue, payload: queue.edit_job(
        queue.add_job("payloads.typed", {"when": WHEN, "lines": []}), payload=payload
    ),
}


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"when": WHEN}, r"^payload\.lines is missing; the handler requires it"),
    ({"when": WHEN, "lines": [], "idnt": None}, r"^payload\.idnt is not a parameter.*Did you mean 'ident'"),
    (
        {"when": WHEN, "lines": [{"sku": "a", "price": 5}]},
        r"^payload\.lines\[0\]\.price is an int \(5\); expected D",
    ),
    ({"when": WHEN, "lines": [], "ratio": True}, r"^payload\.ratio is a bool \(True\); expected float"),
    (
        {"when": WHEN, "lines": [], "anything": {"at": [WHEN]}},
        r"^payload\.anything\.at\[0\] is a datetime.*annotate",
    ),
    (
        {"when": WHEN, "lines": [], "anything": Group()},
        r"^payload\.anything is a Group;.*Give its primary key \(pk\)",
    ),
    ({"when": WHEN, "lines": [], "anything": {1}}, r"^payload\.anything is a set;.*Give a list"),
    ({"when": WHEN, "lines": [], "anything": b"x"}, r"^payload\.anything is a bytes.*Give text, such as base64"),
    ({"when": WHEN, "lines": [], "ratio": float("inf")}, r"^payload\.ratio is inf; expected a finite number"),
    ({"when": WHEN, "lines": [{"sku": "a\x00", "price": "1"}]}, r"^payload\.lines\[0\]\.sku holds U\+0000"),
    ({"when": WHEN, "lines": [], "colours": {"\ud800": Colour.RED}}, r"^a key of payload\.colours holds U\+0000"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_what_does_not_fit_is_refused_on_every_way_in(way: str) -> None:
    queue = get_queue()
    for payload, message in MISFITS:
        before = queue.store.count()
        if way in ("add_jobs", "enqueue_many"):
            message = message.replace("^", "^Job 0: ", 1)
        with pytest.raises(InvalidPayload, match=message):
            WAYS[way](queue, payload)
        assert way == "edit_job" or queue.store.count() == before


@pytest.mark.django_db
def test_the_limits_hold_for_what_is_stored_not_for_what_was_given() -> None:
    bound = whole.using()
    with pytest.raises(PayloadTooLarge, match="expected at most 1048576"):
        bound.enqueue(Order(list(range(200_000)), WHEN))
    with pytest.raises(InvalidPayload, match="holds U"):
        get_queue().add_job("payloads.typed", {"when": WHEN, "lines": [Line("\ud800", Decimal(1))]})


@pytest.mark.parametrize(
    ("job_type", "payload", "message"),
    [
        ("payloads.typed", {"when": "soon", "lines": []}, "payload.when is a str ('soon'); expected datetime"),
        ("payloads.typed", {"when": WHEN.isoformat()}, "payload.lines is missing; the handler requires it."),
        ("payloads.typed", [1], "payload is a list; expected an object with the handler's parameters."),
        ("payloads.whole", {"lines": "x"}, "payload.lines was refused by Order: Expected `array`, got `str`."),
        ("payloads.letter", {"to": 5}, "payload.to was refused by Letter: UUID input should be"),
    ],
)
def test_a_stored_payload_that_no_longer_fits_fails_its_job_clearly(
    queue: JobQueue, job_type: str, payload: Any, message: str
) -> None:
    known = queue.handlers.known(job_type)
    queue.handlers.remove(job_type)
    try:
        job_id = queue.add_job(job_type, payload, allow_unknown=True)
    finally:
        queue.handlers.register(known)
    failed = run_job(job_id, alias=queue.alias)
    assert (failed.status, failed.failure_reason, failed.will_retry) == ("failed", "invalid_payload", False)
    assert message in failed.error_history[0]["message"]
    assert failed.error_history[0]["type"] == "InvalidPayload"


class Grumpy(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def _refuse(cls, value: int) -> int:
        if value == 0:
            raise SystemExit("at once")
        return value


def test_not_even_a_payload_type_that_ends_the_process_does_so(queue: JobQueue) -> None:
    job_id = queue.add_job("payloads.grumpy", {"n": 0}, allow_unknown=True)

    @job("payloads.grumpy")
    def grumpy(payload: Grumpy) -> None: ...

    try:
        failed = run_job(job_id, alias=queue.alias)
    finally:
        queue.handlers.remove("payloads.grumpy")
    assert (failed.failure_reason, failed.error_history[0]["type"]) == ("invalid_payload", "SystemExit")


def test_an_invalid_payload_of_another_job_is_the_handler_s_own_error(queue: JobQueue) -> None:
    @job("payloads.enqueues")
    def enqueues() -> None:
        typed.using(alias=queue.alias).enqueue()  # type: ignore[call-arg]

    failed = run_job(enqueues.using(alias=queue.alias).enqueue(), alias=queue.alias)
    assert (failed.failure_reason, failed.will_retry) == ("handler_error", True)
