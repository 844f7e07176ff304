"""From an annotation to its codec."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from .base import Anything, Codec, Later, Never
from .containers import Many, NumberKey, Row, Table, TextKey
from .objects import Field, Instance, Keyed
from .scalars import WRITTEN, Choice, Null, Number, OneOf, Text, Truth, Whole
from .unions import union

Foreign = Callable[[type], "Codec | None"]
"""Returns the codec of a class that belongs to another library, or None."""

_OBJECT = frozenset({"object"})
_NULL = Null()
_SIMPLE: dict[Any, Codec] = {
    None: _NULL,
    type(None): _NULL,
    bool: Truth(),
    int: Whole(),
    float: Number(),
    str: Text(),
    typing.LiteralString: Text(),
    **WRITTEN,
}
_UNSAID = (Any, object, typing.Self, ...)
_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS = {set: set, abc.MutableSet: set, frozenset: frozenset, abc.Set: frozenset}
_TABLES = (dict, abc.Mapping, abc.MutableMapping)
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


class Reader:
    """Makes the codecs of one handler. `complete` is False once a name in an annotation could not be resolved."""

    def __init__(self, foreign: Foreign = lambda kind: None) -> None:
        self.complete = True
        self._foreign = foreign
        self._made: dict[Any, Codec] = {}

    def of_parameter(self, annotation: Any, names: Mapping[str, Any]) -> Codec:
        """Return the codec for an annotation as written, its names looked up in `names`.

        One that cannot be resolved, such as a name that only type checkers import, lets anything through.
        """
        found = _resolved({"it": annotation}, dict(names))
        return self.of(found.get("it", annotation))

    def of(self, annotation: Any) -> Codec:
        """Return the codec for an annotation; Never when no JSON can stand for it."""
        if isinstance(annotation, str | typing.ForwardRef):
            self.complete = False
            return Anything()
        if _is_hashable(annotation) and annotation in _SIMPLE:
            return _SIMPLE[annotation]
        if any(annotation is unsaid for unsaid in _UNSAID):
            return Anything()
        if isinstance(annotation, typing.TypeVar):
            return self.of(annotation.__bound__) if annotation.__bound__ is not None else Anything()
        if isinstance(annotation, typing.NewType):
            return self.of(annotation.__supertype__)
        if type(annotation).__name__ == "TypeAliasType":
            return self._once(annotation, Later(annotation.__name__), lambda: self.of(annotation.__value__))
        origin = typing.get_origin(annotation)
        if origin is not None:
            return self._of_generic(annotation, origin, typing.get_args(annotation))
        return self._of_class(annotation, ())

    def _of_generic(self, annotation: Any, origin: Any, args: tuple[Any, ...]) -> Codec:
        if origin is typing.Annotated or getattr(origin, "_name", None) in _WRAPPERS:
            return self.of(args[0])
        if origin in (typing.Union, types.UnionType):
            return union([self.of(arg) for arg in args])
        if origin is typing.Literal:
            return self._literal(args)
        if type(origin).__name__ == "TypeAliasType":
            return self.of(origin.__value__[args])
        foreign = self._foreign(annotation) if isinstance(origin, type) else None
        return foreign or self._of_class(origin, args)

    def _of_class(self, kind: Any, args: tuple[Any, ...]) -> Codec:
        if not isinstance(kind, type):
            return Never(_name(kind), f"is {_name(kind)}, which no payload can hold")
        if kind in _LISTS:
            return self._many(list, args)
        if kind in _SETS:
            return self._many(_SETS[kind], args)
        if kind is tuple:
            return self._tuple(args)
        if kind in _TABLES:
            return self._table(args)
        if issubclass(kind, Enum):
            return Choice(kind) if len(kind.__members__) else Never(kind.__name__, "is an Enum without members")
        if (foreign := self._foreign(kind)) is not None:
            return foreign
        if issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
            return self._once(kind, Later(kind.__name__, _OBJECT), lambda: self._typed_dict(kind))
        if dataclasses.is_dataclass(kind):
            return self._once(kind, Later(kind.__name__, _OBJECT), lambda: self._dataclass(kind))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._once(kind, Later(kind.__name__, frozenset({"array"})), lambda: self._named_tuple(kind))
        return Never(kind.__name__, f"is {kind.__name__}, which no payload can hold{_instead(kind)}")

    def _once(self, key: Any, later: Later, make: Callable[[], Codec]) -> Codec:
        """Return the codec made for `key`, made now if need be; a type that holds itself finds `later` meanwhile."""
        if key not in self._made:
            self._made[key] = later
            self._made[key] = later.target = make()
        return self._made[key]

    def _many(self, kind: type, args: tuple[Any, ...]) -> Codec:
        item = self.of(args[0]) if args else Anything()
        return item if isinstance(item, Never) else Many(kind, item)

    def _tuple(self, args: tuple[Any, ...]) -> Codec:
        if not args or args[-1] is ...:
            return self._many(tuple, args[:1])
        items = [] if args == ((),) else [self.of(arg) for arg in args]
        name = f"tuple[{', '.join(item.name for item in items)}]"
        return _never_in(items) or Row(name, items, tuple)

    def _named_tuple(self, kind: Any) -> Codec:
        hints = hints_of(kind)
        items = [self.of(hints[name]) if name in hints else Anything() for name in kind._fields]
        return _never_in(items) or Row(kind.__name__, items, kind._make)

    def _table(self, args: tuple[Any, ...]) -> Codec:
        key, value = (self.of(arg) for arg in args) if args else (Anything(), Anything())
        if isinstance(key, Whole):
            key = NumberKey()
        elif isinstance(key, Anything):
            key = TextKey()
        elif key.kinds != {"string"}:
            return Never(f"dict[{key.name}, …]", f"is a dict with keys of {key.name}, which JSON does not have")
        return value if isinstance(value, Never) else Table(key, value)

    def _literal(self, args: tuple[Any, ...]) -> Codec:
        options = []
        for value in args:
            if isinstance(value, Enum):
                options.append((value, Choice(type(value)).encode(value)))
            elif type(value) in (str, int, bool, type(None)):
                options.append((value, value))
            else:
                return Never(repr(value), f"is Literal[{value!r}], which no payload can hold")
        return OneOf(options)

    def _typed_dict(self, kind: Any) -> Codec:
        hints = hints_of(kind)
        fields = {name: Field(self.of(hint), _is_required(kind, name, hint)) for name, hint in hints.items()}
        return _never_among(kind, fields) or Keyed(kind.__name__, fields)

    def _dataclass(self, kind: Any) -> Codec:
        hints = hints_of(kind)
        fields = {}
        for name, field in kind.__dataclass_fields__.items():
            if isinstance(hints.get(name), dataclasses.InitVar) or str(field._field_type) == "_FIELD_INITVAR":
                return Never(kind.__name__, f"is {kind.__name__}, whose InitVar {name!r} its instances do not keep")
            if field.init and str(field._field_type) == "_FIELD":
                required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                fields[name] = Field(self.of(hints[name]), required)
        return _never_among(kind, fields) or Instance(kind, fields)


def hints_of(kind: type) -> dict[str, Any]:
    """Return a class' annotations, resolved one by one where that is possible and as written elsewhere."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:
        found: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            names = {**vars(sys.modules.get(base.__module__, typing)), **vars(base)}
            found |= _resolved(_as_written(base), names)
        return found


def _as_written(kind: type) -> dict[str, Any]:
    """Return the annotations of a class itself; names in them need not be defined."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.get_annotations(kind, format=Format.FORWARDREF)
    return inspect.get_annotations(kind)


def _resolved(written: Mapping[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Return annotations with the names in them looked up; those that cannot be stay as they are."""
    found = dict(written)
    for name, annotation in written.items():

        def carrier() -> None: ...

        carrier.__annotations__ = {name: annotation}
        with suppress(Exception):  # evaluating what somebody wrote may raise anything
            found |= typing.get_type_hints(carrier, names, include_extras=True)
    return found


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    while (origin := typing.get_origin(hint)) is not None and getattr(origin, "_name", "") in _WRAPPERS:
        if origin._name in ("Required", "NotRequired"):
            return bool(origin._name == "Required")
        hint = typing.get_args(hint)[0]
    return name in kind.__required_keys__


def _never_in(items: list[Codec]) -> Never | None:
    return next((item for item in items if isinstance(item, Never)), None)


def _never_among(kind: type, fields: Mapping[str, Field]) -> Never | None:
    """Return Never when an object could not be made for want of a required field."""
    for name, field in fields.items():
        if field.required and isinstance(field.codec, Never):
            return Never(kind.__name__, f"is {kind.__name__}, whose field {name!r} {field.codec.why}")
    return None


def _instead(kind: type) -> str:
    if hasattr(kind, "_meta") and hasattr(kind, "pk"):
        return "; take its primary key"
    return "; take base64 text" if kind in (bytes, bytearray, memoryview) else ""


def _name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
