"""The samples run, the commands exist, and what is said twice is said alike."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from dataqueue_django.handlers import registry
from tests.app.models import Order
from tests.docs.samples import PAGES, ROOT, command_lines, run_page, samples_of


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The project that the samples speak of, and no trace of it afterwards."""
    before = set(registry.types())
    package, models = ModuleType("shop"), ModuleType("shop.models")
    package.__path__, package.models = [], models  # type: ignore[attr-defined]
    models.Order = Order  # type: ignore[attr-defined]
    modules = set(sys.modules)
    monkeypatch.setitem(sys.modules, "shop", package)
    monkeypatch.setitem(sys.modules, "shop.models", models)
    yield
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "shop":
            del sys.modules[name]
    for job_type in set(registry.types()) - before:
        registry.remove(job_type)


def with_database(page: Path) -> Any:
    """The page with a database, committed for processors, which run in threads of their own, and for supervisors."""
    text = page.read_text()
    commits = "create_processor(" in text or "create_supervisor(" in text
    return pytest.param(page, marks=pytest.mark.django_db(transaction=commits), id=relative(page))


WITH_PYTHON = [with_database(page) for page in PAGES if any(s.language == "python" for s in samples_of(page))]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_samples_of_the_page_run(page: Path) -> None:
    run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_blocks_say_their_language(page: Path) -> None:
    """Where Python hides in a block without a language, it would not be run."""
    unnamed = [
        s.line for s in samples_of(page) if not s.language and re.search(r"^(from|import|def) |\bqueue\.", s.code)
    ]
    assert not unnamed


@pytest.mark.parametrize("page", [p for p in PAGES if any(command_lines(p))], ids=relative)
def test_the_commands_of_the_page_exist_and_take_their_options(page: Path) -> None:
    commands = get_commands()
    for line, call in command_lines(page):
        name, *arguments = shlex.split(call, comments=True)
        if name.startswith("dataqueue_") or name == "demo":
            parser = load_command_class(commands[name], name).create_parser("manage.py", name)
            parser.called_from_command_line = False
            try:
                parser.parse_args([a for a in arguments if a not in ("&", "&&")])
            except CommandError as why:
                pytest.fail(f"{page}:{line}: {why}")


def test_the_readme_shows_the_tutorials_code() -> None:
    tutorial = (ROOT / "docs" / "tutorial" / "first-job.md").read_text()
    blocks = [s for s in samples_of(ROOT / "README.md") if s.language == "python" and not s.hidden]
    assert blocks
    assert [s.line for s in blocks if s.code not in tutorial] == []


def test_the_readmes_support_is_the_packages() -> None:
    text = (ROOT / "README.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [c.rpartition(" :: ")[2] for c in project["classifiers"] if re.search(r":: \d+\.\d+$", c)]
    shown = text[text.index("| Python |") :].split("\n\n")[0]
    assert [version for version in versions if version not in shown] == []
