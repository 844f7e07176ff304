"""Payloads against a handler's signature: parameters, one whole payload, and models of other libraries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy

from dataqueue_django.exceptions import ConfigurationError, InvalidPayload
from dataqueue_django.handlers.fitting import Shape, shape_of

if TYPE_CHECKING:
    from decimal import Decimal as Amount

DAY = date(2030, 1, 31)


@dataclass
class Import:
    file: int
    on: date | None = None


class Row(TypedDict):
    on: date


class Order(msgspec.Struct):
    lines: list[int]
    on: date | None = None


class Tagged(msgspec.Struct, tag="t", tag_field="kind"):
    n: int


class Pair(msgspec.Struct, array_like=True):
    n: int
    on: date


class Letter(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    to: list[str]
    on: date | None = pydantic.Field(default=None, alias="onDay")


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore")
    n: Annotated[int, pydantic.Field(gt=0)]


class Child(Open):
    more: int = 0


class Root(pydantic.RootModel[list[date]]): ...


@pydantic.dataclasses.dataclass
class Stamp:
    on: date


def with_import(payload: Import) -> None: ...
def with_row(payload: Row) -> None: ...
def with_order(payload: Order) -> None: ...
def with_tagged(payload: Tagged) -> None: ...
def with_pair(payload: Pair) -> None: ...
def with_letter(payload: Letter) -> None: ...
def with_open(payload: Open) -> None: ...
def with_root(payload: Root) -> None: ...
def with_stamp(payload: Stamp) -> None: ...


def shape(function: Callable[..., Any]) -> Shape:
    return shape_of(function, takes_context=False)


def there_and_back(function: Callable[..., Any], payload: Any) -> tuple[Any, Any]:
    """Return the JSON for a payload, and what the handler gets for it."""
    encoded = shape(function).encode(payload)
    args, kwargs = shape(function).arguments(encoded)
    assert args == ()
    return encoded, kwargs["payload"]


@pytest.mark.parametrize(
    ("function", "instance", "encoded"),
    [
        (with_import, Import(3, DAY), {"file": 3, "on": "2030-01-31"}),
        (with_row, {"on": DAY}, {"on": "2030-01-31"}),
        (with_order, Order([1, 2], DAY), {"lines": [1, 2], "on": "2030-01-31"}),
        (with_tagged, Tagged(1), {"kind": "t", "n": 1}),
        (with_pair, Pair(1, DAY), [1, "2030-01-31"]),
        (with_letter, Letter(to=["a"], onDay=DAY), {"to": ["a"], "onDay": "2030-01-31"}),
        (with_open, Open(n=1), {"n": 1}),
        (with_root, Root([DAY]), ["2030-01-31"]),
        (with_stamp, Stamp(DAY), {"on": "2030-01-31"}),
    ],
)
def test_a_whole_payload_is_an_instance_for_the_handler(function: Any, instance: Any, encoded: Any) -> None:
    assert there_and_back(function, instance) == (encoded, instance)
    assert there_and_back(function, encoded) == (encoded, instance)


@pytest.mark.parametrize(
    ("function", "payload", "instance"),
    [
        (with_import, {"file": 3, "on": DAY}, Import(3, DAY)),
        (with_order, {"lines": [], "on": DAY}, Order([], DAY)),
        (with_letter, {"to": [], "onDay": DAY}, Letter(to=[], onDay=DAY)),
        (with_open, {"n": 1, "else": 2}, Open(n=1)),
    ],
)
def test_an_object_may_hold_python_values(function: Any, payload: Any, instance: Any) -> None:
    assert there_and_back(function, payload)[1] == instance


@pytest.mark.parametrize(
    ("function", "payload", "message"),
    [
        (with_import, {"fil": 3}, r"^payload\.fil is unknown to Import\. Did you mean 'file'\?$"),
        (with_import, None, r"^payload is a NoneType \(None\); expected Import"),
        (with_order, {"lines": ["a"]}, r"^payload\.lines\[0\] was refused by Order: Expected `int`, got `str`"),
        (with_order, {"lines": [], "one": 1}, r"^payload\.one is unknown to Order\. Did you mean 'on'"),
        (with_order, {}, r"was refused by Order: Object missing required field `lines`"),
        (with_order, Order(lines=["a"]), r"^payload\.lines\[0\]"),  # type: ignore[list-item]
        (with_order, 5, r"^payload is an int \(5\); expected Order"),
        (with_letter, {"to": [1]}, r"^payload\.to\[0\] was refused by Letter: Input should be a valid string"),
        (with_letter, {"too": []}, r"^payload\.too is unknown to Letter\. Did you mean 'to'"),
        (with_letter, {}, r"^payload\.to was refused by Letter: Field required"),
        (with_open, {"n": 0}, r"^payload\.n was refused by Open: Input should be greater than 0"),
        (with_open, Child(n=1), r"^payload is a Child; expected Open"),
        (with_open, Open.model_construct(n=-1), r"^payload\.n was refused by Open"),
        (with_root, [1.5], r"^payload\[0\] was refused by Root"),
    ],
)
def test_a_whole_payload_that_does_not_fit_is_named(function: Any, payload: Any, message: str) -> None:
    with pytest.raises(InvalidPayload, match=message):
        shape(function).encode(payload)


def test_a_stored_payload_may_have_keys_that_a_library_ignores() -> None:
    _, kwargs = shape(with_order).arguments({"lines": [], "gone": 1})
    assert kwargs["payload"] == Order([])


def test_models_are_types_of_single_parameters_too() -> None:
    def handler(
        order: Order, letters: list[Letter], open_: Open | None = None, *, stamps: dict[str, Stamp]
    ) -> None: ...

    payload = {"order": Order([1]), "letters": [Letter(to=["x"])], "open_": {"n": 2}, "stamps": {"a": Stamp(DAY)}}
    encoded = shape(handler).encode(payload)
    assert encoded["stamps"] == {"a": {"on": "2030-01-31"}}
    assert shape(handler).arguments(encoded)[1] == {**payload, "open_": Open(n=2)}
    with pytest.raises(InvalidPayload, match=r"^payload\.letters\[1\]\.to\[0\] was refused by Letter"):
        shape(handler).encode({**payload, "letters": [Letter(to=[]), {"to": [1]}]})


def test_a_payload_with_a_default_may_be_left_out() -> None:
    def handler(payload: Import = Import(0)) -> None: ...  # noqa: B008

    assert shape(handler).payload_from((), {}) is None
    assert shape(handler).encode(None) is None
    assert shape(handler).arguments(None) == ((), {})
    assert shape(handler).arguments({"file": 1}) == ((), {"payload": Import(1)})


def test_parameters_without_a_type_take_any_json_and_extra_keywords_their_own() -> None:
    def handler(anything, *, typed: date, text: str = None, **rest: datetime) -> None:  # type: ignore[no-untyped-def, assignment]  # noqa: RUF013
        ...

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    encoded = shape(handler).encode({"anything": [1], "typed": DAY, "text": None, "later": moment})
    assert encoded == {"anything": [1], "typed": "2030-01-31", "text": None, "later": moment.isoformat()}
    assert shape(handler).arguments(encoded)[1]["later"] == moment
    with pytest.raises(InvalidPayload, match=r"^payload\.later is an int"):
        shape(handler).encode({"anything": 1, "typed": DAY, "later": 1})


def test_names_that_only_type_checkers_know_leave_their_parameter_unchecked() -> None:
    def handler(amount: Amount, count: int) -> None: ...

    assert shape(handler).encode({"amount": "any", "count": 1}) == {"amount": "any", "count": 1}
    with pytest.raises(InvalidPayload, match=r"payload\.count"):
        shape(handler).encode({"amount": "any", "count": "x"})


def test_names_that_are_defined_after_the_handler_are_found_when_it_is_used() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("from __future__ import annotations\ndef handler(when: Later): ...", names)
    early = shape(names["handler"])
    names["Later"] = date
    assert early.encode({"when": DAY}) == {"when": "2030-01-31"}


def test_a_type_found_too_late_that_no_payload_can_hold_is_refused_when_used() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    exec("from __future__ import annotations\ndef handler(raw: Later): ...", names)
    early = shape(names["handler"])
    names["Later"] = bytes
    for use in (early.encode, early.arguments, early.encode):
        with pytest.raises(InvalidPayload, match="'raw' is bytes, which no payload can hold"):
            use({"raw": "x"})


def test_a_required_parameter_that_no_payload_can_hold_is_refused_at_registration() -> None:
    def handler(group: Group) -> None: ...

    def helped(order_id: int, group: Group | None = None, raw: bytes = b"") -> None: ...

    with pytest.raises(ConfigurationError, match="'group' is Group, which no payload can hold; take its primary key"):
        shape(handler)
    assert shape(helped).encode({"order_id": 1}) == {"order_id": 1}
    with pytest.raises(InvalidPayload, match=r"^payload\.group is a Group; expected None.*primary key \(pk\)"):
        shape(helped).encode({"order_id": 1, "group": Group(name="x")})
    with pytest.raises(InvalidPayload, match=r"^payload\.raw cannot be given: it is bytes"):
        shape(helped).encode({"order_id": 1, "raw": b"x"})


def test_what_is_given_instead_of_a_plain_value_is_answered_with_a_hint() -> None:
    def handler(order_id: int, name: str = "") -> None: ...

    with pytest.raises(InvalidPayload, match=r"payload\.order_id is a Group; expected int\. Give its primary key"):
        shape(handler).encode({"order_id": Group(name="x")})
    with pytest.raises(InvalidPayload, match=r"expected str\. Give the text itself: str\(\.\.\.\)"):
        shape(handler).encode({"order_id": 1, "name": gettext_lazy("x")})


def test_neither_library_is_needed() -> None:
    """Handlers register, encode and decode where neither is installed."""
    program = """
import sys
sys.modules["msgspec"] = sys.modules["pydantic"] = None
from dataclasses import dataclass
from datetime import date
from dataqueue_django.handlers.fitting import shape_of

@dataclass
class Item:
    on: date

def handler(items: list[Item]): ...

shape = shape_of(handler, False)
stored = shape.encode({"items": [Item(date(2030, 1, 1))]})
assert shape.arguments(stored)[1] == {"items": [Item(date(2030, 1, 1))]}
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_value_that_holds_itself_is_refused() -> None:
    def handler(payload: Loop) -> None: ...

    loop = Loop([])
    loop.inner.append(loop)
    with pytest.raises(InvalidPayload, match="payload nests deeper than 20 levels"):
        shape(handler).encode(loop)


@dataclass
class Loop:
    inner: list[Loop]
