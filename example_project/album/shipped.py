"""The photographs that come with the project, and whom they are owed to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "data" / "photos"


class Shipped(NamedTuple):
    """A photograph in `data/photos`."""

    file: str
    title: str
    credit: str

    def read(self) -> bytes:
        """Return its bytes."""
        return (FOLDER / self.file).read_bytes()


PHOTOS = (
    Shipped("astronaut.png", "Eileen Collins", "NASA, public domain"),
    Shipped("chelsea.png", "Chelsea the cat", "Stefan van der Walt, CC0"),
    Shipped("coffee.png", "A cup of coffee", "Rachel Michetti, CC0"),
    Shipped("hubble_deep_field.jpg", "Hubble eXtreme Deep Field", "NASA, public domain"),
    Shipped("retina.jpg", "A human retina", "Häggström, CC0 1.0"),
    Shipped("rocket.jpg", "Launch of a Falcon 9", "SpaceX, public domain"),
)
