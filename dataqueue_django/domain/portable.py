"""The one JSON subset that behaves the same on every store, and text that every store can keep.

Refused: NaN and infinities, U+0000, lone surrogates, keys that are not strings, anything that is not JSON, values that
nest deeper than 20 or are larger than 1 MiB. Normalised: tuples become lists, negative zero becomes zero, and whole
floats from 1e16 on become integers (PostgreSQL's jsonb gives them back as such).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..exceptions import InvalidPayload, PayloadTooLarge, shown
from .records import JSON

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
ERROR_BYTES = 16 * 1024


def portable(value: Any, name: str = "payload", max_bytes: int = MAX_BYTES) -> JSON:
    """Return `value` as portable JSON, detached from the caller's objects.

    Raises InvalidPayload naming the path of the first value that is not portable, or PayloadTooLarge with both sizes.
    """
    clean = _clean(value, name, 0)
    try:
        size = len(json.dumps(clean, ensure_ascii=False, separators=(",", ":")).encode())
    except ValueError:
        raise InvalidPayload(f"{name} holds an integer with too many digits; expected at most 4300.") from None
    if size > max_bytes:
        raise PayloadTooLarge(f"{name} is {size} bytes of JSON; expected at most {max_bytes}.")
    return clean


def clean_text(text: object, max_bytes: int = ERROR_BYTES) -> str:
    """Return `text` as a string every store can keep: no U+0000, no lone surrogates, at most `max_bytes` of UTF-8.

    Never raises: a value whose str() fails is described by its type.
    """
    try:
        plain = str.__str__(text if isinstance(text, str) else str(text))
    except Exception as why:
        plain = f"<{type(text).__name__} whose str() raised {type(why).__name__}>"
    plain = plain[:max_bytes].replace("\x00", "�")
    data = plain.encode("utf-8", "replace")
    return data[:max_bytes].decode("utf-8", "ignore")


def is_plain_text(text: str) -> bool:
    """Return whether `text` holds neither U+0000 nor a lone surrogate."""
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _clean(value: Any, path: str, depth: int) -> JSON:
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return _clean_str(value, path)
    if kind is int:
        return value
    if kind is float:
        return _clean_float(value, path)
    if depth >= MAX_DEPTH and isinstance(value, dict | list | tuple):
        raise InvalidPayload(f"{shortened(path)} nests deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        return {_key(k, path): _clean(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(value)]
    return _clean_subclass(value, path)


def _clean_subclass(value: Any, path: str) -> JSON:
    if isinstance(value, str):  # StrEnum, SafeString
        return _clean_str(str.__str__(value), path)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _clean_float(float(value), path)
    raise InvalidPayload(
        f"{shortened(path)} is {described(value)}; expected JSON: "
        f"str, int, float, bool, None, or lists and dicts of these.{hint(value)}"
    )


def described(value: object) -> str:
    """Return a value's type, and for one of the standard library the value, for a message.

    The repr() of other objects is not asked for: that of a model may query the database.
    """
    kind = type(value)
    name = kind_name(value)
    article = "an" if name[:1] in "aeioAEIO" else "a"
    return f"{article} {name} ({shown(value)})" if kind in _SHOWN else f"{article} {name}"


def hint(value: object, *, typed: bool = False) -> str:
    """Return a sentence, with a space in front, on what to give instead of a value; "" when there is nothing to say.

    `typed` says that an annotation already tells what is expected.
    """
    kind = type(value)
    if hasattr(kind, "_meta") and hasattr(kind, "pk"):
        return " Give its primary key (pk)."
    if hasattr(kind, "values_list") and hasattr(value, "model"):
        return " Give a list of primary keys."
    if isinstance(value, bytes | bytearray | memoryview):
        return " Give text, such as base64."
    if kind.__name__ == "__proxy__":
        return " Give the text itself: str(...)."
    if typed:
        return ""
    if isinstance(value, set | frozenset | Iterator):
        return " Give a list."
    if isinstance(value, date | time | timedelta | Decimal | UUID | Enum) or is_dataclass(value):
        return " Give text, or annotate the handler's parameter with this type."
    return ""


_SHOWN = (type(None), bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal, UUID)


def shortened(path: str, longest: int = 200) -> str:
    """Return a path for use in a message: keys may be of any length."""
    return path if len(path) <= longest else f"{path[: longest - 1]}…"


def kind_name(value: object) -> str:
    """Return the name of a value's type for a message."""
    return type(value).__qualname__


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidPayload(f"{shortened(path)} has the key {shown(key)} of type {kind_name(key)}; expected a string.")
    return _clean_str(str.__str__(key), f"a key of {path}")


def _clean_str(text: str, path: str) -> str:
    if text.isascii():
        if "\x00" not in text:
            return text
    elif is_plain_text(text):
        return text
    raise InvalidPayload(f"{shortened(path)} holds U+0000 or a lone surrogate, which not every database can store.")


def _clean_float(number: float, path: str) -> JSON:
    if not math.isfinite(number):
        raise InvalidPayload(f"{shortened(path)} is {number!r}; expected a finite number.")
    if number == 0:
        return 0.0
    return int(number) if abs(number) >= 1e16 else number
