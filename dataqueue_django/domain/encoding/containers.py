"""Codecs of what holds other values: arrays, and objects whose keys are data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..records import JSON
from .base import Anything, Codec, Unfit


class Many(Codec):
    """Any number of items of one type, as a JSON array that decodes to `kind`."""

    kinds = frozenset({"array"})

    def __init__(self, kind: type, item: Codec) -> None:
        self.name = f"{kind.__name__}[{item.name}]"
        self.plain = kind is list and item.plain
        self._kind, self._item = kind, item
        self._natives = (set, frozenset) if kind in (set, frozenset) else (list, tuple)

    def holds(self, value: object) -> bool:
        return isinstance(value, self._natives)

    def encode(self, value: Any) -> JSON:
        if self.holds(value):
            items = each(self._item.encode, value)
            return items if isinstance(value, list | tuple) else _sorted(items)
        if isinstance(value, list | tuple):
            return self.encode(self.decode(each(self._item.encode, value)))
        raise Unfit.of(value, self.name)

    def decode(self, value: JSON) -> Any:
        if not isinstance(value, list):
            raise Unfit.of(value, self.name)
        items = each(self._item.decode, value)
        if self._kind is list:
            return items
        try:
            return self._kind(items)
        except TypeError:
            raise Unfit(f"holds what cannot be in a {self._kind.__name__}.") from None


class Row(Codec):
    """A fixed number of items, each of its own type: a JSON array that decodes to a tuple or NamedTuple."""

    kinds = frozenset({"array"})

    def __init__(self, name: str, items: Sequence[Codec], make: Callable[[list[Any]], Any]) -> None:
        self.name = name
        self._items, self._make = items, make

    def holds(self, value: object) -> bool:
        return isinstance(value, tuple) and len(value) == len(self._items)

    def encode(self, value: Any) -> JSON:
        if not isinstance(value, list | tuple):
            raise Unfit.of(value, self.name)
        return self._row([item.encode for item in self._items], value)

    def decode(self, value: JSON) -> Any:
        if not isinstance(value, list):
            raise Unfit.of(value, self.name)
        return self._make(self._row([item.decode for item in self._items], value))

    def _row(self, convert: list[Callable[[Any], Any]], values: Sequence[Any]) -> list[Any]:
        if len(values) != len(convert):
            raise Unfit(f"has {len(values)} items; expected {len(convert)}: {self.name}.")
        converted = []
        for n, value in enumerate(values):
            try:
                converted.append(convert[n](value))
            except Unfit as why:
                raise why.at(n) from None
        return converted


class Table(Codec):
    """A dict whose keys are data."""

    kinds = frozenset({"object"})

    def __init__(self, key: Codec, value: Codec) -> None:
        self.name = f"dict[{key.name}, {value.name}]"
        self.plain = key.plain and value.plain and not isinstance(key, NumberKey)
        self._key, self._value = key, value

    def holds(self, value: object) -> bool:
        return isinstance(value, Mapping)

    def encode(self, value: Any) -> JSON:
        if not isinstance(value, Mapping):
            raise Unfit.of(value, self.name)
        return self._converted(value, self._key.encode, self._value.encode)

    def decode(self, value: JSON) -> Any:
        if not isinstance(value, dict):
            raise Unfit.of(value, self.name)
        return self._converted(value, self._key.decode, self._value.decode)

    def _converted(
        self, given: Mapping[Any, Any], key_of: Callable[[Any], Any], value_of: Callable[[Any], Any]
    ) -> dict[Any, Any]:
        converted = {}
        for key, value in given.items():
            try:
                new_key = key_of(key)
            except Unfit as why:
                raise Unfit(f"has a key that {why.says}") from None
            try:
                converted[new_key] = value_of(value)
            except Unfit as why:
                raise why.at(key) from None
        if len(converted) != len(given):
            raise Unfit("has two keys that become the same.")
        return converted


class NumberKey(Codec):
    """int as the key of an object, which in JSON is text."""

    name = "int"
    kinds = frozenset({"string"})

    def holds(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def encode(self, value: Any) -> JSON:
        return str(int(value) if self.holds(value) else self.decode(value))

    def decode(self, value: JSON) -> Any:
        try:
            number = int(value) if isinstance(value, str) else None
        except ValueError:
            number = None
        if number is None or str(number) != value:
            raise Unfit.of(value, self.name)
        return number


class TextKey(Anything):
    """Keys without an annotation: `portable` lets only text through."""

    name = "str"


def _sorted(items: list[JSON]) -> list[JSON]:
    """Sets have no order; the same set has to be the same payload."""
    try:
        return sorted(items, key=json.dumps)
    except (TypeError, ValueError):  # what JSON does not have is refused later, with its path
        return items


def each(convert: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """Return the converted values; an error tells the index."""
    converted: list[Any] = []
    try:
        for value in values:
            converted.append(convert(value))  # noqa: PERF401 - its length is the index of the one that raised
    except Unfit as why:
        raise why.at(len(converted)) from None
    return converted
