"""Models of other libraries as payloads: each library checks, encodes and decodes its own. None is required."""

from __future__ import annotations

from typing import Any

from ...domain.encoding import Codec


def foreign_codec(annotation: Any) -> Codec | None:
    """Return the codec for a msgspec.Struct, or for a model or dataclass of pydantic; None for any other class.

    A library is imported only when a class of it is met.
    """
    kind = getattr(annotation, "__origin__", annotation)
    if hasattr(kind, "__struct_fields__"):
        from .msgspec import StructCodec

        return StructCodec(annotation)
    if hasattr(kind, "__pydantic_validator__"):
        from .pydantic import ModelCodec

        return ModelCodec(annotation)
    return None
