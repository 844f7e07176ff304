"""Values written by their annotation: what goes in comes out again, and what does not fit is named."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Required, TypedDict, Union
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from dataqueue_django.domain.encoding import Anything, Codec, Never, Reader, Unfit
from dataqueue_django.domain.portable import portable
from dataqueue_django.exceptions import InvalidPayload

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 3


class Size(StrEnum):
    SMALL = "s"


class Place(Enum):
    HERE = (0, 0)
    THERE = (1, 2.5)


class Rights(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    on: date


@dataclass
class Line:
    sku: str
    price: Decimal
    when: datetime | None = None
    parts: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Checked:
    low: int
    high: int
    span: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@dataclass
class WithInitVar:
    seed: InitVar[int]


class Address(TypedDict):
    town: str
    since: NotRequired[date]


class Loose(TypedDict, total=False):
    ident: Required[UUID]
    note: str


UserId = NewType("UserId", int)

plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=offsets)
decimals = st.decimals(allow_nan=False, allow_infinity=False)

SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, floats),
    (str, plain_text),
    (bool, st.booleans()),
    (None, st.none()),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times() | st.times(timezones=offsets)),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, decimals),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Size, st.sampled_from(Size)),
    (Place, st.sampled_from(Place)),
    (Rights, st.sampled_from([Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE])),
    (Literal["a", 1, True, None], st.sampled_from(["a", 1, True, None])),
    (Literal[Colour.RED, "other"], st.sampled_from([Colour.RED, "other"])),
    (UserId, st.integers()),
    (Annotated[int, "of no meaning"], st.integers()),
    (Point, st.builds(Point, floats, st.dates())),
    (Address, st.fixed_dictionaries({"town": plain_text}, optional={"since": st.dates()})),
    (Loose, st.fixed_dictionaries({"ident": st.uuids()}, optional={"note": plain_text})),
    (Checked, st.integers().map(lambda n: Checked(n, n + 1))),
    (
        Line,
        st.recursive(
            st.builds(Line, plain_text, decimals, st.none() | moments, st.just([])),
            lambda inner: st.builds(Line, plain_text, decimals, st.none(), st.lists(inner, max_size=2)),
            max_leaves=4,
        ),
    ),
]

KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, plain_text),
    (int, st.integers()),
    (UUID, st.uuids()),
    (date, st.dates()),
    (Colour, st.sampled_from(Colour)),
]


@st.composite
def annotated(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    """Draw an annotation together with the strategy for its values."""
    if depth == 0:
        return draw(st.sampled_from(SCALARS))
    annotation, values = draw(annotated(depth - 1))
    other, other_values = draw(st.sampled_from(SCALARS))
    key, keys = draw(st.sampled_from(KEYS))
    hashable = draw(st.sampled_from(SCALARS[:16]))
    return draw(
        st.sampled_from(
            [
                (annotation, values),
                (list[annotation], st.lists(values, max_size=3)),
                (Sequence[annotation], st.lists(values, max_size=3)),
                (tuple[annotation, ...], st.lists(values, max_size=3).map(tuple)),
                (tuple[annotation, other], st.tuples(values, other_values)),
                (dict[key, annotation], st.dictionaries(keys, values, max_size=3)),
                (Optional[annotation], st.none() | values),  # noqa: UP045
                (set[hashable[0]], st.sets(hashable[1], max_size=3)),
                (frozenset[hashable[0]], st.frozensets(hashable[1], max_size=3)),
            ]
        )
    )


def hashable(value: object) -> bool:
    return getattr(type(value), "__hash__", None) is not None and not isinstance(value, Decimal)


def codec_of(annotation: Any) -> Codec:
    return Reader().of(annotation)


def unfit(annotation: Any, value: Any) -> str:
    with pytest.raises(Unfit) as refused:
        codec_of(annotation).encode(value)
    return f"{refused.value.path('payload')} {refused.value.says}"


@given(st.data())
def test_what_is_encoded_decodes_to_itself(data: st.DataObject) -> None:
    annotation, values = data.draw(annotated())
    value = data.draw(values)
    codec = codec_of(annotation)
    stored = json.loads(json.dumps(portable(codec.encode(value))))
    decoded = codec.decode(stored)
    assert decoded == value
    assert repr(type(decoded)) == repr(type(value))
    assert portable(codec.encode(stored)) == stored, "what is encoded already is accepted and stays as it is"


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "Silent()"


odd = st.sampled_from(
    [
        Silent(),
        object,
        float("nan"),
        {1},
        {Silent()},
        b"x",
        "\x00\ud800",
        datetime(2030, 1, 1),
        Decimal("sNaN"),
    ]
) | st.builds(lambda: iter([1]))
odd_values = st.recursive(
    odd | st.integers() | plain_text | moments | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(plain_text | st.integers() | odd.filter(hashable), inner)
    ),
    max_leaves=6,
)


@given(st.data())
def test_whatever_is_given_the_answer_is_a_value_or_a_sentence(data: st.DataObject) -> None:
    annotation, _ = data.draw(annotated() | st.sampled_from([(set[Any], None), (dict[Any, Any], None), (Any, None)]))
    value = data.draw(odd_values)
    for convert in (codec_of(annotation).encode, codec_of(annotation).decode):
        try:
            said = repr(convert(value))
        except Unfit as why:
            said = f"{why.path('payload')} {why.says}"
        assert said


@given(moments | st.dates() | st.times() | st.timedeltas() | st.uuids() | decimals)
def test_no_text_is_taken_for_another_type(value: Any) -> None:
    codec = codec_of(datetime | date | time | timedelta | UUID | Decimal)  # type: ignore[arg-type]
    decoded = codec.decode(codec.encode(value))
    assert (type(decoded), decoded) == (type(value), value)


@pytest.mark.parametrize(
    ("annotation", "value", "encoded"),
    [
        (datetime, datetime(2030, 1, 31, 13, tzinfo=timezone(timedelta(hours=1))), "2030-01-31T12:00:00+00:00"),
        (datetime, "2030-01-31T12:00:00Z", "2030-01-31T12:00:00+00:00"),
        (date, date(2030, 1, 31), "2030-01-31"),
        (time, time(12, 30), "12:30:00"),
        (timedelta, timedelta(days=1, minutes=2, microseconds=5), "P1DT00H02M00.000005S"),
        (timedelta, timedelta(seconds=-1), "-P0DT00H00M01S"),
        (timedelta, "PT90M", "P0DT01H30M00S"),
        (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal, Decimal("1.50"), "1.50"),
        (Colour, Colour.RED, "red"),
        (Colour, "red", "red"),
        (Level, Level.HIGH, 3),
        (Place, Place.HERE, "HERE"),
        (float, 3, 3.0),
        (int, Level.HIGH, 3),
        (str, Size.SMALL, "s"),
        (int | float, 3, 3),
        (int | str, "3", "3"),
        (set[int], {3, 1, 2}, [1, 2, 3]),
        (AbstractSet[str], [], []),
        (Iterable[int], (1, 2), [1, 2]),
        (Mapping[int, date], {7: date(2030, 1, 1)}, {"7": "2030-01-01"}),
        (Line, {"sku": "a", "price": Decimal("1")}, {"sku": "a", "price": "1"}),
        (Line, Line("a", Decimal("1"), NOON), {"sku": "a", "price": "1", "when": NOON.isoformat(), "parts": []}),
        (Union[Line, list[Line], None], [], []),  # noqa: UP007
        (Address, {"town": "x", "since": date(2030, 1, 1)}, {"town": "x", "since": "2030-01-01"}),
        (Any, {"a": 1}, {"a": 1}),
        (object, [1], [1]),
        (list, [1, "a"], [1, "a"]),
    ],
)
def test_how_values_are_written(annotation: Any, value: Any, encoded: Any) -> None:
    found = codec_of(annotation).encode(value)
    assert (found, type(found)) == (encoded, type(encoded))


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, True, "payload is a bool (True); expected int."),
        (int, 1.0, "payload is a float (1.0); expected int."),
        (float, True, "payload is a bool (True); expected float."),
        (float, 10**400, "payload is too large for a float."),
        (bool, 1, "expected bool"),
        (str, 5, "expected str"),
        pytest.param(str, 10**5000, "payload is an int (<int>); expected str.", id="huge"),
        (None, 0, "expected None"),
        (int | None, "x", "payload is a str ('x'); expected int | None."),
        (datetime, datetime(2030, 1, 1), "without a UTC offset; expected an aware one, as timezone.now() returns"),
        (datetime, "2030-01-01T00:00:00", "without a UTC offset; expected one"),
        (datetime, "soon", "expected datetime, or text such as '2030-01-31T12:00:00+00:00'"),
        (datetime, date(2030, 1, 1), "payload is a date"),
        (datetime, datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "outside the years 1 to 9999"),
        (date, NOON, "payload is a datetime"),
        (date, "20300131", "expected date, or text such as '2030-01-31'"),
        (timedelta, 30, "payload is an int (30); expected timedelta, or text such as 'P1DT02H30M00S'."),
        (timedelta, "P", "expected timedelta"),
        (timedelta, "P999999999DT99999H", "expected timedelta"),
        (UUID, "1234", "expected UUID"),
        (Decimal, Decimal("NaN"), "expected a finite number"),
        (Decimal, 1.5, "payload is a float (1.5); expected Decimal, or text such as '12.50'."),
        (Decimal, "1_000", "expected Decimal"),
        (Decimal, "9E99999999999999999999", "expected Decimal"),
        (Colour, "green", "payload is a str ('green'); expected Colour: 'red', 'blue'."),
        (Level, True, "expected Level: 1, 3"),
        (Literal[1], True, "payload is a bool (True); expected 1."),
        (list[int], "12", "payload is a str ('12'); expected list[int]."),
        (list[int], [1, "a"], "payload[1] is a str ('a'); expected int."),
        (list[int], {1}, "payload is a set; expected list[int]."),
        (tuple[int, str], [1], "payload has 1 items; expected 2: tuple[int, str]."),
        (dict[str, list[int]], {"a": [1, None]}, "payload.a[1] is a NoneType (None); expected int."),
        (dict[int, int], {"x": 1}, "payload has a key that is a str ('x'); expected int."),
        (dict[int, int], {1: 1, "1": 2}, "payload has two keys that become the same."),
        (set[list[int]], [[1]], "payload holds what cannot be in a set."),
        (list[Line], [{"sku": "a", "price": "1", "parts": [{"sku": 1}]}], "payload[0].parts[0].price is missing"),
        (Line, {"sku": "a", "prise": "1"}, "payload.prise is unknown to Line. Did you mean 'price'?"),
        (Line, {"sku": "a"}, "payload.price is missing; Line requires it."),
        (Line, {1: "a"}, "payload[1] is unknown to Line."),
        (Checked, {"low": 2, "high": 1}, "payload was refused by Checked: ValueError: low is above high."),
        (Checked, {"low": 1, "high": 2, "span": 1}, "payload.span is unknown to Checked"),
        (Address, {"town": "x", "sinse": 1}, "payload.sinse is unknown to Address. Did you mean 'since'?"),
        (Address, {}, "payload.town is missing; Address requires it."),
        (Loose, {"note": "x"}, "payload.ident is missing; Loose requires it."),
        (bytes | str, b"x", "payload is a bytes (b'x'); expected str, as it is bytes, which no payload can hold"),
        (str, b"x", "Give text, such as base64."),
    ],
)
def test_what_does_not_fit_is_named(annotation: Any, value: Any, message: str) -> None:
    assert message in unfit(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (bytes, "is bytes, which no payload can hold; take base64 text"),
        (list[bytes], "is bytes"),
        (dict[str, complex], "is complex"),
        (dict[float, int], "is a dict with keys of float, which JSON does not have"),
        (str | UUID, "is str or UUID, which cannot be told apart in JSON; take one of them"),
        (Colour | str, "cannot be told apart"),
        (Line | Checked, "cannot be told apart"),
        (list[int] | tuple[int, ...], "cannot be told apart"),
        (WithInitVar, "whose InitVar 'seed' its instances do not keep"),
        (type[int], "which no payload can hold"),
        (Literal[b"x"], "which no payload can hold"),
        (typing.Callable[[], int], "which no payload can hold"),
    ],
)
def test_what_no_payload_can_hold(annotation: Any, why: str) -> None:
    codec = codec_of(annotation)
    assert isinstance(codec, Never)
    assert why in codec.why


@pytest.mark.parametrize(
    "annotation",
    [
        Colour | Level,
        Colour | datetime,
        Colour | Literal["green"],
        list[int] | list[str],
        int | float | str | None,
        bytes | int,
    ],
)
def test_unions_that_can_be_told_apart(annotation: Any) -> None:
    assert not isinstance(codec_of(annotation), Never)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(set[Any], {Silent(), Silent()}), (set[int], {1, 10**5000}), (dict[Any, date], {Silent(): date(2030, 1, 1)})],
    ids=["no JSON", "digits", "key"],
)
def test_what_is_not_checked_here_is_left_to_be_refused_as_not_portable(annotation: Any, value: Any) -> None:
    with pytest.raises(InvalidPayload):
        portable(codec_of(annotation).encode(value))


@pytest.mark.parametrize("annotation", [Line, Address, dict[Any, date], dict[str, int]])
def test_keys_that_are_no_text_are_never_asked_for_theirs(annotation: Any) -> None:
    assert "Silent" in unfit(annotation, {Silent(): 1})


def test_names_that_cannot_be_resolved_let_anything_through() -> None:
    reader = Reader()
    assert isinstance(reader.of_parameter("Missing", {}), Anything)
    assert not reader.complete
    nested = reader.of_parameter("list[Missing] | None", {})
    assert nested.encode([object]) == [object]


def test_one_unknown_name_leaves_the_other_fields_checked() -> None:
    made = dataclasses.make_dataclass("Made", [("known", "int"), ("unknown", "Missing")])
    codec = codec_of(made)
    assert codec.encode({"known": 1, "unknown": "x"}) == {"known": 1, "unknown": "x"}
    with pytest.raises(Unfit, match="expected int"):
        codec.encode({"known": "x", "unknown": "x"})


def test_aliases_stand_for_what_they_name() -> None:
    alias = TypeAliasType("Forest", list[date] | dict[str, list[date]])  # type: ignore[misc]
    assert codec_of(alias).encode({"a": [date(2030, 1, 1)]}) == {"a": ["2030-01-01"]}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
def test_aliases_may_hold_themselves() -> None:
    names: dict[str, Any] = {"date": date}
    exec("type Tree = date | list[Tree]\ntype Pair[T] = tuple[T, T]", names)
    tree = [date(2030, 1, 1), [[date(2030, 1, 2)]]]
    assert codec_of(names["Tree"]).decode(codec_of(names["Tree"]).encode(tree)) == tree
    assert "[1][0]" in unfit(names["Tree"], [date(2030, 1, 1), [5]])
    assert codec_of(names["Pair"][date]).decode(["2030-01-01", "2030-01-02"]) == (date(2030, 1, 1), date(2030, 1, 2))


def test_an_instance_of_a_subclass_is_refused_as_it_would_come_back_as_its_base() -> None:
    @dataclass
    class Longer(Line):
        length: int = 1

    assert "is a " in unfit(Line, Longer("a", Decimal(1)))
