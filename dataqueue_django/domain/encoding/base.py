"""What every codec is, and what is said when a value does not fit."""

from __future__ import annotations

from typing import Any

from ...exceptions import shown
from ..portable import described, hint
from ..records import JSON

ALL_KINDS = frozenset({"null", "bool", "int", "float", "string", "array", "object"})

_KINDS = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "array",
    tuple: "array",
    dict: "object",
}


class Unfit(Exception):
    """A value does not fit; says what it is and what was expected. Containers add their step on the way out."""

    def __init__(self, says: str) -> None:
        super().__init__(says)
        self.says = says
        self._steps: list[str] = []

    @classmethod
    def of(cls, value: object, expected: str) -> Unfit:
        """Return the error for a value of the wrong type."""
        return cls(f"is {described(value)}; expected {expected}.{hint(value, typed=True)}")

    def at(self, step: object) -> Unfit:
        """Return the same error as seen from around a key or an index."""
        self._steps.append(_step(step))
        return self

    def inside(self, path: str) -> Unfit:
        """Return the same error at a path that somebody else wrote, such as ``.items[2].when``."""
        self._steps.append(path)
        return self

    def path(self, root: str) -> str:
        """Return where the value is, as in ``payload.items[2].when``."""
        path = root + "".join(reversed(self._steps))
        return path if len(path) <= 200 else f"{path[:199]}…"


def _step(step: object) -> str:
    if type(step) is int:
        return f"[{shown(step)}]"
    if not isinstance(step, str):
        return f"[{described(step)}]"
    return f".{step}" if len(step) <= 80 and step.isprintable() else f"[{shown(step)}]"


def kind_of(value: object) -> str | None:
    """Return which kind of JSON a value is as it stands, or None when it is none."""
    found = _KINDS.get(type(value))
    if found is None:
        found = next((kind for base, kind in _KINDS.items() if isinstance(value, base)), None)
    return found


class Codec:
    """Encodes values of one annotated type as JSON and decodes them.

    `encode` takes a value of the type, or JSON that decodes to one; `decode` takes the JSON. Both raise Unfit. `kinds`
    are the kinds of JSON that `encode` writes and `decode` reads. `plain` says that JSON means itself here: decoding
    converts nothing. `form` names a way of writing text that no other codec's text can be mistaken for.
    """

    name: str
    kinds: frozenset[str] = ALL_KINDS
    plain: bool = False
    form: str = ""

    def holds(self, value: object) -> bool:
        """Return whether a value is of the annotated type itself, whatever is inside it."""
        raise NotImplementedError

    def encode(self, value: Any) -> JSON:
        """Return the JSON for a value."""
        raise NotImplementedError

    def decode(self, value: JSON) -> Any:
        """Return the value that JSON stands for."""
        raise NotImplementedError

    def samples(self) -> list[JSON] | None:
        """Return all JSON that this codec reads, or None when there is no end to it."""
        return None


class Anything(Codec):
    """No annotation, or one that says nothing: any JSON, given to the handler as it is."""

    name = "any JSON"
    plain = True

    def holds(self, value: object) -> bool:
        return True

    def encode(self, value: Any) -> JSON:
        return value

    def decode(self, value: JSON) -> Any:
        return value


class Never(Codec):
    """A type that no payload can hold; `why` completes the sentence "the parameter … "."""

    kinds = frozenset()

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why

    def holds(self, value: object) -> bool:
        return False

    def encode(self, value: Any) -> JSON:
        raise Unfit(f"cannot be given: it {self.why}.{hint(value)}")

    def decode(self, value: JSON) -> Any:
        raise Unfit(f"cannot be given: it {self.why}.")


class Later(Codec):
    """Stands for a codec that is still being made: a type that holds itself."""

    def __init__(self, name: str, kinds: frozenset[str] = ALL_KINDS) -> None:
        self.name = name
        self.kinds = kinds
        self.target: Codec = Anything()

    def holds(self, value: object) -> bool:
        return self.target.holds(value)

    def encode(self, value: Any) -> JSON:
        return self.target.encode(value)

    def decode(self, value: JSON) -> Any:
        return self.target.decode(value)
