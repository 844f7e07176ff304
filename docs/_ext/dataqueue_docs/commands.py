"""The reference of the management commands, from their argument parsers."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action, ArgumentParser

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, DjangoHelpFormatter

APP = "dataqueue_django"


def names() -> list[str]:
    """Return the names of this package's commands."""
    return sorted(name for name, app in get_commands().items() if app == APP)


def parser_of(name: str) -> ArgumentParser:
    """Return the parser of one of them."""
    return load_command_class(APP, name).create_parser("manage.py", name)


def reference(_: str = "") -> str:
    """Return a section in Markdown for each command: what it does, and its own options."""
    return "\n\n".join(_section(name) for name in names())


def _section(name: str) -> str:
    parser = parser_of(name)
    common = {action.dest for action in BaseCommand().create_parser("", "")._actions} - {"args"}
    own = [a for a in parser._actions if a.dest not in common and a.help is not SUPPRESS]
    lines = [f"## {name}", "", _plain(parser.description or ""), ""]
    if own:
        lines += ["| option | |", "| --- | --- |", *(f"| {_spelled(a)} | {_plain(_help(a, parser))} |" for a in own)]
    return "\n".join(lines)


def _spelled(action: Action) -> str:
    value = ""
    if action.nargs != 0:
        value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
        value = value or action.dest.upper()
    names = action.option_strings or [str(value)]
    suffix = f" {value}" if action.option_strings and value else ""
    return ", ".join(f"`{option}{suffix}`" for option in names).replace("|", "\\|")


def _help(action: Action, parser: ArgumentParser) -> str:
    return DjangoHelpFormatter(parser.prog)._expand_help(action) if action.help else ""


def _plain(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"(?<!\w)--[a-z-]+", r"`\g<0>`", plain)
