"""The JSON and the text that every store keeps alike."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from django.utils.functional import lazystr
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.portable import MAX_BYTES, MAX_DEPTH, clean_text, is_plain_text, portable
from dataqueue_django.exceptions import InvalidJob, InvalidPayload, PayloadTooLarge


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Fraction(float):
    pass


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("no")


def nested(depth: int) -> Any:
    """Return lists in lists, `depth` of them."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def endless() -> dict[str, Any]:
    """Return a dict that holds itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (-0.0, 0.0),
        (1e16, 10**16),
        (-1.5e300, int(-1.5e300)),
        (9e15, 9e15),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (SafeString("<b>"), "<b>"),
        (Fraction(1.5), 1.5),
        ({Colour.RED: 1}, {"red": 1}),
        (True, True),
        ({"a": None, "": []}, {"a": None, "": []}),
        (2**200, 2**200),
        ("\U0001f600 \x07", "\U0001f600 \x07"),
    ],
)
def test_what_is_normalised(value: Any, expected: Any) -> None:
    clean = portable(value)
    assert clean == expected
    assert repr(clean) == repr(expected), "also of the same type"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"when": datetime(2030, 1, 1, tzinfo=UTC)}, "payload.when is a datetime"),
        ({"a": [1, date(2030, 1, 1)]}, "payload.a[1] is a date"),
        ({"sum": Decimal("1.5")}, "payload.sum is a Decimal"),
        ([UUID(int=1)], "payload[0] is a UUID"),
        ({"tags": {1, 2}}, "payload.tags is a set"),
        ({"raw": b"abc"}, "payload.raw is a bytes"),
        (object(), "payload is an object"),
        ({"name": lazystr("x")}, "payload.name is a lazy"),
        (Silent(), "payload is a Silent"),
        ({"a": {1: "x"}}, "payload.a has the key 1 of type int"),
        ({None: "x"}, "payload has the key None of type NoneType"),
        ({"1": "x", 1: "y"}, "payload has the key 1 of type int"),
        (float("nan"), "payload is nan"),
        ([float("inf")], "payload[0] is inf"),
        ({"x": Fraction("-inf")}, "payload.x is -inf"),
        ({"a": "x\x00y"}, "payload.a holds U+0000"),
        ({"a": ["é\udc80"]}, "payload.a[0] holds U+0000 or a lone surrogate"),
        ({"a\x00": 1}, "a key of payload holds U+0000"),
        ({"b": {"\ud800": 1}}, "a key of payload.b holds"),
        (nested(MAX_DEPTH + 1), f"nests deeper than {MAX_DEPTH}"),
        (endless(), f"nests deeper than {MAX_DEPTH}"),
        (10**5000, "too many digits"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_refused(value: Any, words: str) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        portable(value)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 400, "a message is read by people"
    assert isinstance(refusal.value, InvalidJob)


def test_a_message_names_what_was_looked_at() -> None:
    with pytest.raises(InvalidPayload, match=r"^output\.a "):
        portable({"a": set()}, "output")


def test_a_message_is_short_however_long_the_key() -> None:
    with pytest.raises(InvalidPayload) as refusal:
        portable({"k" * 10_000: {"a": set()}})
    assert len(str(refusal.value)) < 400


def test_the_deepest_that_is_allowed() -> None:
    assert portable(nested(MAX_DEPTH)) == nested(MAX_DEPTH)


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600"])
def test_the_size_is_counted_in_bytes(letter: str) -> None:
    size = len(letter.encode())
    fits = letter * ((MAX_BYTES - 2) // size)
    assert portable(fits) == fits
    with pytest.raises(PayloadTooLarge, match=f"expected at most {MAX_BYTES}") as refusal:
        portable(fits + letter)
    assert f"{len((fits + letter).encode()) + 2} bytes" in str(refusal.value)


def test_a_limit_of_ones_own() -> None:
    assert portable([1], max_bytes=3) == [1]
    with pytest.raises(PayloadTooLarge, match="4 bytes of JSON; expected at most 3"):
        portable([12], max_bytes=3)


def test_the_result_is_detached() -> None:
    given_value: dict[str, Any] = {"a": [{"b": 1}]}
    clean = portable(given_value)
    given_value["a"][0]["b"] = 2
    assert clean == {"a": [{"b": 1}]}


plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_what_is_portable_survives_json_and_stays_as_it_is(value: Any) -> None:
    clean = portable(value)
    assert clean == value
    assert json.loads(json.dumps(clean)) == clean
    assert repr(portable(clean)) == repr(clean)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\x00b", "a�b"),
        ("a\ud800b", "a?b"),
        (ValueError("why"), "why"),
        (None, "None"),
        (Silent(), "<Silent whose str() raised RuntimeError>"),
    ],
)
def test_cleaned_text(text: object, expected: str) -> None:
    assert clean_text(text) == expected


@given(st.text(st.characters(), max_size=60), st.integers(0, 40))
def test_cleaned_text_can_be_kept_and_is_short_enough(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert len(clean.encode()) <= limit
    assert is_plain_text(clean)


def test_a_very_long_text_is_cut() -> None:
    assert len(clean_text("é" * 50_000_000, 1001).encode()) == 1000
