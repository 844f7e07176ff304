"""pydantic's models and dataclasses as payloads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, TypeAdapter, ValidationError

from ...domain.encoding import Codec, Unfit
from ...domain.encoding.base import ALL_KINDS
from ...domain.encoding.objects import check_keys
from ...domain.records import JSON


class ModelCodec(Codec):
    """Leaves everything to pydantic, except that it refuses keys a model does not know when a job is added.

    A model that says `extra="ignore"` or `extra="allow"` itself gets what it asked for. A RootModel may be any JSON.
    """

    def __init__(self, annotation: Any) -> None:
        self._kind = getattr(annotation, "__origin__", annotation)
        self.name = self._kind.__name__
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self._keys = _keys(self._kind)
        is_root = getattr(self._kind, "__pydantic_root_model__", False)
        self.kinds = ALL_KINDS - {"null"} if is_root else frozenset({"object"})

    def holds(self, value: object) -> bool:
        return type(value) is self._kind

    def encode(self, value: Any) -> JSON:
        if not self.holds(value):
            if isinstance(value, self._kind):  # the handler would get the base
                raise Unfit.of(value, self.name)
            if isinstance(value, Mapping) and self._keys is not None:
                check_keys(value, self._keys, (), self.name)
            value = self._instance(value)
        try:
            encoded = self._adapter.dump_python(value, mode="json", by_alias=True, round_trip=True, warnings="error")
        except Exception as why:
            raise Unfit(f"cannot be written as JSON: {why}.") from why
        self.decode(encoded)  # an instance's attributes may have been set to anything
        return encoded

    def decode(self, value: JSON) -> Any:
        try:
            # As JSON, for strict models: those take text for a date from JSON only.
            return self._adapter.validate_json(json.dumps(value))
        except Exception as why:  # ValidationError, or whatever a validator raises
            raise _unfit(why, self.name) from why

    def _instance(self, value: Any) -> Any:
        """Return the instance for an object that holds Python values, JSON or both."""
        try:
            return self._adapter.validate_python(value)
        except Exception as why:
            try:
                return self.decode(value)
            except Exception:
                raise _unfit(why, self.name) from why


def _keys(kind: Any) -> list[str] | None:
    """Return the keys that a model knows, or None when it takes any."""
    config = getattr(kind, "model_config", None) or getattr(kind, "__pydantic_config__", None) or {}
    fields = getattr(kind, "model_fields", None) or getattr(kind, "__pydantic_fields__", {})
    if config.get("extra") in ("ignore", "allow") or "root" in fields:
        return None
    keys: list[str] = []
    for name, field in fields.items():
        alias = field.validation_alias or field.alias or name
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        if not all(isinstance(choice, str) for choice in choices):  # a path into the object
            return None
        keys += [name, *map(str, choices)]
    return keys


def _unfit(why: Exception, name: str) -> Unfit:
    """Return pydantic's first error with its path where ours goes."""
    if not isinstance(why, ValidationError):
        return Unfit(f"was refused by {name}: {type(why).__name__}: {why}.")
    first = why.errors(include_url=False, include_context=False)[0]
    unfit = Unfit(f"was refused by {name}: {first['msg']}.")
    for step in reversed(first["loc"]):
        unfit.at(step)
    return unfit
