"""JSON schemas: checked by jsonschema, made from types by pydantic or msgspec."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, is_typeddict

from ...domain.records import JSON
from ...exceptions import ConfigurationError

LONGEST = 300


def of_type(kind: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a type; None for what is no type that has one."""
    if hasattr(kind, "__struct_fields__"):
        import msgspec

        return msgspec.json.schema(kind)
    if not (is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "__pydantic_validator__")):
        return None
    try:
        from pydantic import TypeAdapter
    except ImportError:
        return _of_plain_type(kind)
    return TypeAdapter(kind).json_schema()


def problem_with(schema: JSON) -> str | None:
    """Return why a value is no JSON schema, or None when it is one."""
    library = _library()
    try:
        library.Draft202012Validator.check_schema(schema)
    except library.SchemaError as why:
        return str(why.message)[:LONGEST]
    return None


def misfit(schema: JSON, value: JSON) -> str | None:
    """Return how a value does not meet a schema, or None when it does. References outside of it are not followed."""
    from referencing import Registry

    error = next(_library().Draft202012Validator(schema, registry=Registry()).iter_errors(value), None)
    if error is None:
        return None
    where = "".join(f"[{part!r}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return f"answer{where}: {error.message}"[:LONGEST]


def _of_plain_type(kind: Any) -> dict[str, Any]:
    try:
        import msgspec
    except ImportError:
        raise ConfigurationError(
            f"answer is the type {kind.__qualname__}, and neither pydantic nor msgspec is installed to read it; "
            "expected one of them, or a JSON schema."
        ) from None
    return msgspec.json.schema(kind)


def _library() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise ConfigurationError(
            "Answers are checked by jsonschema, which is not installed; add it: pip install 'dataqueue-django[schema]'."
        ) from None
    return jsonschema
