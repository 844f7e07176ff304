"""Unions: the member that a value belongs to is seen from the value, so the members have to look different."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from ..portable import described, hint
from ..records import JSON
from .base import Anything, Codec, Never, Unfit, kind_of


class Either(Codec):
    """One of several types. Use `union`, which refuses types that cannot be told apart."""

    def __init__(self, members: Sequence[Codec], never: Never | None = None) -> None:
        self.name = " | ".join(member.name for member in members)
        self.plain = all(member.plain for member in members)
        self._never = never
        self.kinds = frozenset().union(*(member.kinds for member in members))
        # int before float: a whole number stays one.
        self.members = sorted(members, key=lambda member: "float" in member.kinds)
        self._by_kind = {kind: [m for m in self.members if kind in m.kinds] for kind in self.kinds}

    def holds(self, value: object) -> bool:
        return any(member.holds(value) for member in self.members)

    def encode(self, value: Any) -> JSON:
        members = [m for m in self.members if m.holds(value)] or self._by_kind.get(kind_of(value) or "", [])
        return self._first(members, "encode", value)

    def decode(self, value: JSON) -> Any:
        return self._first(self._by_kind.get(kind_of(value) or "", []), "decode", value)

    def samples(self) -> list[JSON] | None:
        found: list[JSON] = []
        for member in self.members:
            some = member.samples()
            if some is None:
                return None
            found += some
        return found

    def _first(self, members: list[Codec], how: str, value: Any) -> Any:
        if len(members) == 1:
            return getattr(members[0], how)(value)  # its error is about the inside
        if not members and self._never is not None:
            raise Unfit(f"is {described(value)}; expected {self.name}, as it {self._never.why}.{hint(value)}")
        for member in members:
            try:
                return getattr(member, how)(value)
            except Unfit:
                continue
        raise Unfit.of(value, self.name)


def union(members: Sequence[Codec]) -> Codec:
    """Return the codec for a union of types; Never when two of them could be taken for each other in JSON."""
    members = list(dict.fromkeys(chain.from_iterable(_flat(member) for member in members)))
    for member in members:
        if isinstance(member, Anything):
            return member
    possible = [member for member in members if not isinstance(member, Never)]
    never = next((member for member in members if isinstance(member, Never)), None)
    if not possible or members == possible[:1]:
        return members[0]
    name = " | ".join(member.name for member in possible)
    for n, one in enumerate(possible):
        for other in possible[n + 1 :]:
            if _look_alike(one, other):
                return Never(
                    name, f"is {one.name} or {other.name}, which cannot be told apart in JSON; take one of them"
                )
    return Either(possible, never)


def _flat(codec: Codec) -> Sequence[Codec]:
    return codec.members if isinstance(codec, Either) else [codec]


def _look_alike(one: Codec, other: Codec) -> bool:
    if not one.kinds & other.kinds or (one.plain and other.plain) or (one.form and other.form):
        return False
    for finite, reader in ((one, other), (other, one)):
        samples = finite.samples()
        if samples is not None:
            return any(_reads(reader, sample) for sample in samples)
    return True


def _reads(codec: Codec, value: JSON) -> bool:
    try:
        codec.decode(value)
    except Unfit:
        return False
    return True
