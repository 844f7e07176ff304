"""msgspec.Struct as a payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...domain.encoding import Codec, Unfit
from ...domain.encoding.objects import check_keys
from ...domain.records import JSON


class StructCodec(Codec):
    """Leaves everything to msgspec, except that it refuses keys a Struct does not know when a job is added."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._kind = getattr(annotation, "__origin__", annotation)
        self.name = self._kind.__name__
        self._is_array = self._kind.__struct_config__.array_like
        self.kinds = frozenset({"array" if self._is_array else "object"})
        tag = self._kind.__struct_config__.tag_field
        self._keys = [*self._kind.__struct_encode_fields__, *([tag] if tag else [])]

    def holds(self, value: object) -> bool:
        return type(value) is self._kind

    def encode(self, value: Any) -> JSON:
        if not self.holds(value):
            if isinstance(value, Mapping) and not self._is_array:
                check_keys(value, self._keys, (), self.name)
            elif not (self._is_array and isinstance(value, list | tuple)):
                raise Unfit.of(value, self.name)
            value = self.decode(value)
        try:
            encoded = msgspec.to_builtins(value, str_keys=True)
        except Exception as why:
            raise Unfit(f"cannot be written as JSON: {why}.") from why
        self.decode(encoded)  # an instance's attributes may have been set to anything
        return encoded

    def decode(self, value: JSON) -> Any:
        try:
            return msgspec.convert(value, self._annotation, str_keys=True)
        except Exception as why:  # ValidationError, or whatever a __post_init__ raises
            raise _unfit(why, self.name) from why


def _unfit(why: Exception, name: str) -> Unfit:
    """Return msgspec's error with its path, such as `$.items[0].when`, where ours goes."""
    text, found, path = str(why).rpartition(" - at `$")
    if not isinstance(why, msgspec.ValidationError) or not found:
        return Unfit(f"was refused by {name}: {why}.")
    return Unfit(f"was refused by {name}: {text}.").inside(path.rstrip("`"))
