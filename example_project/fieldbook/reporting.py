"""What the book tells about each state. Pure: no database, no Django."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Place(NamedTuple):
    """What the report needs to know of an airport."""

    iata: str
    name: str
    state: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class StateLine:
    """One state: how many airports, the northernmost of them, and the mean of their coordinates in degrees."""

    state: str
    airports: int
    northernmost_iata: str
    northernmost_name: str
    northernmost_latitude: float
    mean_latitude: float
    mean_longitude: float


@dataclass(frozen=True, slots=True)
class Report:
    """A line per state in alphabetical order, and one for all of them together; None for an empty book."""

    states: list[StateLine]
    total: StateLine | None

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return asdict(self)


def summarise(places: Iterable[Place]) -> Report:
    """Return the report on these airports."""
    by_state: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_state[place.state].append(place)
    everywhere = [place for state in by_state.values() for place in state]
    return Report(
        states=[_line(state, by_state[state]) for state in sorted(by_state)],
        total=_line("all", everywhere) if everywhere else None,
    )


def _line(state: str, places: list[Place]) -> StateLine:
    north = max(places, key=lambda place: (place.latitude, place.iata))
    return StateLine(
        state=state,
        airports=len(places),
        northernmost_iata=north.iata,
        northernmost_name=north.name,
        northernmost_latitude=north.latitude,
        mean_latitude=round(math.fsum(place.latitude for place in places) / len(places), 4),
        mean_longitude=round(_mean_angle([place.longitude for place in places]), 4),
    )


def _mean_angle(degrees: list[float]) -> float:
    """The mean on the circle: Alaska has airports on both sides of the 180th meridian."""
    east = math.fsum(math.cos(math.radians(angle)) for angle in degrees)
    north = math.fsum(math.sin(math.radians(angle)) for angle in degrees)
    return math.degrees(math.atan2(north, east))
