"""Codecs of single values. What JSON does not have is written as text, each type in its own form.

The forms are read strictly, so that no text can be mistaken for two of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..portable import described, hint
from ..records import JSON
from .base import Codec, Unfit


class Null(Codec):
    """None."""

    name = "None"
    kinds = frozenset({"null"})
    plain = True

    def holds(self, value: object) -> bool:
        return value is None

    def encode(self, value: Any) -> JSON:
        if value is None:
            return None
        raise Unfit.of(value, self.name)

    decode = encode


class Truth(Codec):
    """bool; numbers are not truth values."""

    name = "bool"
    kinds = frozenset({"bool"})
    plain = True

    def holds(self, value: object) -> bool:
        return value is True or value is False

    def encode(self, value: Any) -> JSON:
        if value is True or value is False:
            return value
        raise Unfit.of(value, self.name)

    decode = encode


class Whole(Codec):
    """int; True is no number."""

    name = "int"
    kinds = frozenset({"int"})
    plain = True

    def holds(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def encode(self, value: Any) -> JSON:
        if type(value) is int:
            return value
        if self.holds(value):
            return int(value)
        raise Unfit.of(value, self.name)

    decode = encode


class Number(Codec):
    """float; a whole number becomes one, as a store gives large floats back as whole numbers."""

    name = "float"
    kinds = frozenset({"int", "float"})
    plain = True

    def holds(self, value: object) -> bool:
        return isinstance(value, float)

    def encode(self, value: Any) -> JSON:
        if type(value) is float:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                raise Unfit("is too large for a float.") from None
        raise Unfit.of(value, self.name)

    decode = encode


class Text(Codec):
    """str."""

    name = "str"
    kinds = frozenset({"string"})
    plain = True

    def holds(self, value: object) -> bool:
        return isinstance(value, str)

    def encode(self, value: Any) -> JSON:
        if type(value) is str:
            return value
        if isinstance(value, str):
            return str.__str__(value)
        raise Unfit.of(value, self.name)

    decode = encode


class Written(Codec):
    """A type of the standard library that is written as text."""

    kinds = frozenset({"string"})

    def __init__(
        self,
        kind: type,
        write: Callable[[Any], str],
        read: Callable[[str], Any],
        such_as: str,
        *,
        but_not: tuple[type, ...] = (),
    ) -> None:
        self.name = self.form = kind.__name__
        self._kind, self._but_not = kind, but_not
        self._write, self._read = write, read
        self._expected = f"{kind.__name__}, or text such as {such_as!r}"

    def holds(self, value: object) -> bool:
        return isinstance(value, self._kind) and not isinstance(value, self._but_not)

    def encode(self, value: Any) -> JSON:
        return self._write(value if self.holds(value) else self.decode(value))

    def decode(self, value: JSON) -> Any:
        if isinstance(value, str):
            try:
                return self._read(value)
            except (ValueError, ArithmeticError):
                pass
            raise Unfit(f"is {described(value)}; expected {self._expected}.")
        raise Unfit(f"is {described(value)}; expected {self._expected}.{hint(value, typed=True)}")


def _write_datetime(value: datetime) -> str:
    if value.utcoffset() is None:
        raise Unfit(f"is {described(value)} without a UTC offset; expected an aware one, as timezone.now() returns.")
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:
        raise Unfit(f"is {described(value)}, which is outside the years 1 to 9999 in UTC.") from None


def _read_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.utcoffset() is None:
        raise Unfit(f"is {described(text)} without a UTC offset; expected one, as in '2030-01-31T12:00:00+00:00'.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError from None


def _read_date(text: str) -> date:
    value = date.fromisoformat(text)
    if value.isoformat() != text:
        raise ValueError
    return value


def _write_time(value: time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise Unfit(f"is {described(value)}, whose offset depends on the day; expected none, or a fixed one.")
    return value.isoformat()


def _read_time(text: str) -> time:
    if ":" not in text:
        raise ValueError
    return time.fromisoformat(text)


_DURATION = re.compile(
    r"([+-])?P(?=.)(?:(\d{1,9})D)?(?:T(?=.)(?:(\d{1,15})H)?(?:(\d{1,15})M)?(?:(\d{1,15})(?:\.(\d{1,6}))?S)?)?", re.ASCII
)


def _write_duration(value: timedelta) -> str:
    """ISO 8601 to the microsecond, in Django's way of writing it."""
    sign, size = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{size.microseconds:06}" if size.microseconds else ""
    return f"{sign}P{size.days}DT{hours:02}H{minutes:02}M{seconds:02}{fraction}S"


def _read_duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError
    sign, days, hours, minutes, seconds, fraction = found.groups()
    size = timedelta(
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=int(seconds or 0),
        microseconds=int((fraction or "0").ljust(6, "0")),
    )
    return -size if sign == "-" else size


def _read_uuid(text: str) -> UUID:
    value = UUID(text)
    if str(value) != text.lower():
        raise ValueError
    return value


_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Unfit(f"is {described(value)}; expected a finite number.")
    return str(value)


def _read_decimal(text: str) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError
    return value


WRITTEN: dict[type, Codec] = {
    datetime: Written(datetime, _write_datetime, _read_datetime, "2030-01-31T12:00:00+00:00"),
    date: Written(date, date.isoformat, _read_date, "2030-01-31", but_not=(datetime,)),
    time: Written(time, _write_time, _read_time, "12:30:00"),
    timedelta: Written(timedelta, _write_duration, _read_duration, "P1DT02H30M00S"),
    UUID: Written(UUID, str, _read_uuid, "7c0e0c6e-3c1f-4f0e-8d5b-0d6d4f6a3b11"),
    Decimal: Written(Decimal, _write_decimal, _read_decimal, "12.50"),
}
"""The types of the standard library that are written as text."""


class Choice(Codec):
    """An Enum: written as its value if all its values are whole numbers or text, else as the member's name."""

    def __init__(self, kind: type[Enum]) -> None:
        self.name = kind.__name__
        self._kind = kind
        types = {type(_bare(member.value)) for member in kind.__members__.values()}
        self._by_value = types <= {int, str}
        self._types = types if self._by_value else {str}
        self.kinds = frozenset("int" if t is int else "string" for t in self._types)

    def holds(self, value: object) -> bool:
        return isinstance(value, self._kind)

    def encode(self, value: Any) -> JSON:
        member = value if isinstance(value, self._kind) else self.decode(value)
        return _bare(member.value) if self._by_value else member.name

    def decode(self, value: JSON) -> Any:
        if type(value) in self._types:
            with suppress(Exception):  # an enum's own _missing_ may raise anything
                return self._kind(value) if self._by_value else self._kind[value]
        known = ", ".join(repr(sample) for sample in self.samples()[:20])
        raise Unfit(f"is {described(value)}; expected {self.name}: {known}.")

    def samples(self) -> list[JSON]:
        return [_bare(member.value) if self._by_value else name for name, member in self._kind.__members__.items()]


def _bare(value: Any) -> Any:
    """Return the number or text itself where an Enum's values are of a subclass, as in TextChoices."""
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


class OneOf(Codec):
    """A Literal: these values and no others, True being none of 1."""

    def __init__(self, options: list[tuple[Any, JSON]]) -> None:
        self.name = " | ".join(repr(native) for native, _ in options)
        self._options = options
        self.plain = all(type(native) is type(encoded) for native, encoded in options)
        self.kinds = frozenset(
            {type(None): "null", bool: "bool", int: "int", str: "string"}[type(encoded)] for _, encoded in options
        )

    def holds(self, value: object) -> bool:
        return any(_same(value, native) for native, _ in self._options)

    def encode(self, value: Any) -> JSON:
        for native, encoded in self._options:
            if _same(value, native) or _same(_bare(value), encoded):
                return encoded
        raise Unfit(f"is {described(value)}; expected {self.name}.")

    def decode(self, value: JSON) -> Any:
        for native, encoded in self._options:
            if _same(value, encoded):
                return native
        raise Unfit(f"is {described(value)}; expected {self.name}.")

    def samples(self) -> list[JSON]:
        return [encoded for _, encoded in self._options]


def _same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other
