"""What an option's text means; anything else is refused with the range that was expected."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Collection
from datetime import datetime

from django.utils import timezone

from ..exceptions import did_you_mean, shown


def number(least: float, most: float) -> Callable[[str], float]:
    """Return a reader of numbers within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise ArgumentTypeError(f"{shown(text)} is not a number from {least:g} to {most:g}.")
        return value

    return read


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ArgumentTypeError(f"{shown(text)} is not a whole number from {least} to {most}.")
        return value

    return read


def moment(text: str) -> datetime:
    """Read a time in ISO 8601; one without an offset is in the project's time zone."""
    try:
        at = datetime.fromisoformat(text)
        return at if timezone.is_aware(at) else timezone.make_aware(at)
    except (ValueError, OverflowError):
        expected = "expected one such as 2030-12-31T18:00 or 2030-12-31T17:00Z"
        raise ArgumentTypeError(f"{shown(text)} is not a time; {expected}.") from None


def one_of(words: Collection[str]) -> Callable[[str], str]:
    """Return a reader of one known word."""

    def read(text: str) -> str:
        if text not in words:
            hint = did_you_mean(text, words) or f" Expected one of {', '.join(words)}."
            raise ArgumentTypeError(f"{shown(text)} is not one of them.{hint}")
        return text

    return read


def some_of(words: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a reader of lists such as A,B of known words."""

    def read(text: str) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
        for word in given:
            if word not in words:
                hint = did_you_mean(word, words) or f" Expected some of {','.join(words)}."
                raise ArgumentTypeError(f"{shown(word)} is not one of them.{hint}")
        return given

    return read
