"""Codecs of objects whose keys are fields: dataclasses and TypedDicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...exceptions import did_you_mean
from ..records import JSON
from .base import Codec, Unfit


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object."""

    codec: Codec
    required: bool


class Fields:
    """The fields of an object by name."""

    def __init__(self, owner: str, fields: Mapping[str, Field]) -> None:
        self._owner = owner
        self._fields = fields
        self._required = [name for name, field in fields.items() if field.required]

    def encode(self, given: Mapping[Any, Any]) -> dict[str, JSON]:
        """Return the JSON of each field that is given."""
        return {key: self._one(key, value, encode=True) for key, value in self._known(given)}

    def decode(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the value of each field that is given."""
        return {key: self._one(key, value, encode=False) for key, value in self._known(given)}

    def names(self) -> list[str]:
        """Return the names of the fields."""
        return list(self._fields)

    def _known(self, given: Mapping[Any, Any]) -> list[tuple[str, Any]]:
        check_keys(given, self._fields, self._required, self._owner)
        return list(given.items())

    def _one(self, key: str, value: Any, *, encode: bool) -> Any:
        codec = self._fields[key].codec
        try:
            return codec.encode(value) if encode else codec.decode(value)
        except Unfit as why:
            raise why.at(key) from None


def check_keys(given: Mapping[Any, Any], known: Any, required: Any, owner: str) -> None:
    """Raise Unfit for a key of an object that its type does not know, naming the nearest, or for one it lacks."""
    for key in given:
        if not isinstance(key, str) or key not in known:
            raise unknown(key, f"is unknown to {owner}", known)
    for name in required:
        if name not in given:
            raise Unfit(f"is missing; {owner} requires it.").at(name)


def unknown(key: object, says: str, known: Iterable[str]) -> Unfit:
    """Return the error for a key that nobody knows, naming the nearest."""
    return Unfit(f"{says}.{did_you_mean(key, known) if isinstance(key, str) else ''}").at(key)


class Keyed(Codec):
    """A TypedDict: a dict all the way."""

    kinds = frozenset({"object"})

    def __init__(self, name: str, fields: Mapping[str, Field]) -> None:
        self.name = name
        self.plain = all(field.codec.plain for field in fields.values())
        self._fields = Fields(name, fields)

    def holds(self, value: object) -> bool:
        return isinstance(value, Mapping)

    def encode(self, value: Any) -> JSON:
        if not isinstance(value, Mapping):
            raise Unfit.of(value, self.name)
        return self._fields.encode(value)

    def decode(self, value: JSON) -> Any:
        if not isinstance(value, dict):
            raise Unfit.of(value, self.name)
        return self._fields.decode(value)


class Instance(Codec):
    """A dataclass: an instance of exactly this class, or an object with its fields."""

    kinds = frozenset({"object"})

    def __init__(self, kind: type, fields: Mapping[str, Field]) -> None:
        self.name = kind.__name__
        self._kind = kind
        self._fields = Fields(self.name, fields)

    def holds(self, value: object) -> bool:
        # An instance of a subclass would reach the handler as one of its base.
        return type(value) is self._kind

    def encode(self, value: Any) -> JSON:
        if self.holds(value):
            given = {name: getattr(value, name) for name in self._fields.names() if hasattr(value, name)}
            return self._fields.encode(given)
        if not isinstance(value, Mapping):
            raise Unfit.of(value, self.name)
        encoded = self._fields.encode(value)
        self.decode(encoded)  # what the class itself checks is checked now, not when the job runs
        return encoded

    def decode(self, value: JSON) -> Any:
        if not isinstance(value, dict):
            raise Unfit.of(value, self.name)
        given = self._fields.decode(value)
        try:
            return self._kind(**given)
        except Exception as why:
            raise Unfit(f"was refused by {self.name}: {type(why).__name__}: {why}.") from why
