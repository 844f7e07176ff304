"""Tables of dataclasses' fields: settings, options, records."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from importlib import import_module
from typing import Any


def settings_table(path: str) -> str:
    """Return a Markdown table of the settings that the dataclass at `path` holds: name, default, least value, kind."""
    from dataqueue_django.conf import LEAST, WHOLE

    lines = ["| key | default | accepts |", "| --- | --- | --- |"]
    for field in fields(_class(path)):
        least = LEAST.get(field.name)
        accepts = _kind(field)
        if least is not None:
            accepts = f"{'whole number' if field.name in WHOLE else 'number'}, at least {least:g}"
            accepts += ", or None" if "None" in str(field.type) else ""
        lines.append(f"| `{field.name.upper()}` | `{_default(field)}` | {accepts} |")
    return "\n".join(lines)


def fields_table(path: str) -> str:
    """Return a Markdown table of the fields of the dataclass at `path`: name, type, default."""
    lines = ["| field | type | default |", "| --- | --- | --- |"]
    lines += [f"| `{f.name}` | {_type(f)} | {_shown_default(f)} |" for f in fields(_class(path))]
    return "\n".join(lines)


def signals_table(_: str = "") -> str:
    """Return a Markdown table of the signals and their events."""
    from dataqueue_django.signals import SIGNALS

    lines = ["| signal | `event_type` |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `job_{event.value}` | `{event.value}` |" for event in SIGNALS)])


def _kind(field: Field[Any]) -> str:
    """Say what a setting takes that is no number: a section is read from a dictionary."""
    if field.default_factory is not MISSING:
        return "a dictionary, see below"
    words = {"bool": "True or False", "str": "a string"}
    return words.get(str(field.type)) or _type(field)


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _type(field: Field[Any]) -> str:
    text = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    return "`" + text.replace("|", "\\|") + "`"


def _shown_default(field: Field[Any]) -> str:
    default = _default(field)
    return f"`{default}`" if default else "required"


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return str(field.default) if isinstance(field.default, str) and field.default else repr(field.default)
    if field.default_factory is not MISSING:
        return "{}"
    return ""
