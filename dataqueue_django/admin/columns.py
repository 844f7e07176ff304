"""Fields of a row as columns of a list or lines of a page, each drawn by what it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import models

from . import texts

Shown = Any
"""A function of a row, as `fields` and `list_display` take it."""


def line(model: type[models.Model], name: str, *, title: Any = None) -> Shown:
    """Return a function of a row that draws one of its fields; texts are shown literally, long values cut."""
    field = model._meta.get_field(name)
    draw = _drawer(field, name)

    def shown(row: Any) -> Any:
        return draw(row, getattr(row, name))

    shown.__name__ = name
    shown.short_description = title or field.verbose_name  # type: ignore[attr-defined, union-attr]
    return shown


def lines(model: type[models.Model], *names: str) -> list[Shown]:
    """Return `line` for several fields."""
    return [line(model, name) for name in names]


def filled(row: Any, shown: Sequence[Shown]) -> list[Shown]:
    """Return those of the lines whose field holds something."""
    return [one for one in shown if getattr(row, one.__name__, None) not in (None, "")]


def _drawer(field: Any, name: str) -> Callable[[Any, Any], Any]:
    if isinstance(field, models.DateTimeField):
        return lambda row, value: texts.moment(value)
    if isinstance(field, models.JSONField):
        return lambda row, value: _json(row, name, value)
    if isinstance(field, models.BooleanField):
        return lambda row, value: value
    if name.endswith("_ms"):
        return lambda row, value: texts.duration(value)
    return lambda row, value: texts.NOTHING if value in (None, "") else _text(row, name, texts.visible(value))


def _json(row: Any, name: str, value: Any) -> Any:
    return texts.NOTHING if value is None else texts.block(texts.pretty(value), name=name, whole=name in row.uncut)


def _text(row: Any, name: str, value: str) -> Any:
    return value if len(value) <= texts.CUT else texts.block(value, name=name, whole=name in row.uncut)
