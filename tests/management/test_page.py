"""docs/commands.md says what the commands can do."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from io import StringIO
from typing import Any

import pytest
from django.core.management import BaseCommand, call_command, get_commands, load_command_class

from dataqueue_django.conf import RetentionSettings
from dataqueue_django.queue import get_queue
from tests.harness.workers import ROOT

PAGE = (ROOT / "docs" / "commands.md").read_text()
COMMANDS = sorted(name for name, app in get_commands().items() if app == "dataqueue_django")


def section(command: str) -> str:
    """What the page says under the name of a command."""
    return PAGE.split(f"\n## {command}\n")[1].split("\n## ")[0]


def options_of(command: Any) -> dict[str, bool]:
    """The options of a command beyond those of every Django command, and whether they take a value."""
    parsers = [one.create_parser("manage.py", "command") for one in (command, BaseCommand())]
    mine, every = ({s for action in parser._actions for s in action.option_strings} for parser in parsers)
    return {
        name: action.nargs != 0
        for action in parsers[0]._actions
        for name in action.option_strings
        if name in mine - every
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_on_the_page_and_none_besides(command: str) -> None:
    rows = re.findall(r"^\| (`--[^|]+) \|", section(command), flags=re.MULTILINE)
    shown = [cell for row in rows for cell in re.findall(r"`([^`]+)`", row)]
    options = options_of(load_command_class("dataqueue_django", command))
    assert {cell.split()[0]: " " in cell for cell in shown} == options


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_table_at_the_top(command: str) -> None:
    assert f"| `{command}` |" in PAGE.split("## Exit codes")[0]


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["dataqueue_status", "dataqueue_reclaim", "dataqueue_cleanup"])
def test_the_documents_have_the_keys_that_the_page_shows(command: str) -> None:
    get_queue().add_job("page.nobody", allow_unknown=True)
    out = StringIO()
    call_command(command, "--json", stdout=out)
    [example] = re.findall(r"```json\n(.+?)```", section(command), flags=re.DOTALL)
    assert keys(json.loads(example), json.loads(out.getvalue()))


def keys(example: Any, real: Any) -> bool:
    """Whether two documents have the same keys, as deep as both go, apart from maps by name."""
    if isinstance(example, dict) and isinstance(real, dict):
        assert set(example) == set(real) or {"default", "build_report"} & set(example), (example, real)
        return all(keys(example[name], real[name]) for name in set(example) & set(real))
    if isinstance(example, list) and isinstance(real, list):
        return all(keys(example[0], one) for one in real)
    return True


@pytest.mark.parametrize("code", ["0", "1", "2", "130", "141"])
def test_exit_codes_are_on_the_page(code: str) -> None:
    assert f"| {code} |" in PAGE


def test_the_defaults_of_retention_are_on_the_page() -> None:
    [shown] = re.findall(r'"RETENTION": \{(.+?)\}', PAGE, re.DOTALL)
    defaults = {field.name.upper(): field.default for field in fields(RetentionSettings)}
    assert {
        name: None if value == "None" else int(value) for name, value in re.findall(r'"(\w+)": (\w+)', shown)
    } == defaults
