"""The letters of a welcome, in their order."""

from __future__ import annotations

from typing import NamedTuple


class Lesson(NamedTuple):
    """One letter, so many days after the one before."""

    name: str
    after_days: int
    subject: str
    text: str


LESSONS = (
    Lesson("welcome", 0, "Welcome to Fieldbook", "Good to have you. Here is an airport to begin with: {airport}."),
    Lesson(
        "tips", 2, "Three tips for your book", "Import a file, mend its rejects, import those. And look up {airport}."
    ),
    Lesson("survey", 5, "How do you like Fieldbook?", "Tell us what is missing. In the book, for one, is {airport}."),
)
