"""The documents tell the truth about the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from pkgutil import resolve_name

import pytest

from dataqueue_django.conf import AliasSettings, RetentionSettings, WorkerSettings
from dataqueue_django.domain.lifecycle import LEGAL_MOVES
from dataqueue_django.domain.records import FailureReason, JobStatus
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.mail import ExitCode
from dataqueue_docs import commands, glossary, lifecycle, methods, tables

DOCS = Path(__file__).parent.parent / "docs"


def test_the_lifecycle_page_shows_the_table() -> None:
    hint = "run `PYTHONPATH=docs/_ext python -m dataqueue_docs.lifecycle`"
    assert lifecycle.PAGE.read_text() == lifecycle.page_with(lifecycle.table()), hint
    assert lifecycle.PICTURE.read_text() == lifecycle.picture(), hint


def test_the_picture_has_an_arrow_for_every_legal_move() -> None:
    assert {(a, b) for a, targets in LEGAL_MOVES.items() for b in targets} == set(lifecycle.ROUTES)
    assert set(lifecycle.CENTRES) == set(JobStatus)


def test_the_reference_has_every_method_of_the_queue() -> None:
    shown = {name for _, names in methods.capabilities() for name in names}
    public = {name for name in dir(JobQueue) if not name.startswith("_") and callable(getattr(JobQueue, name))}
    twins = {f"a{name}" for name in shown}
    assert public - shown - twins == set()
    assert shown <= public


def test_the_reference_has_every_command_and_option() -> None:
    text = commands.reference()
    assert all(f"## {name}" in text for name in commands.names())
    assert "`--concurrency CONCURRENCY`" in text


@pytest.mark.parametrize("settings", [AliasSettings, WorkerSettings, RetentionSettings])
def test_the_reference_has_every_setting(settings: type) -> None:
    text = tables.settings_table(f"{settings.__module__}.{settings.__qualname__}")
    assert [f.name for f in fields(settings) if f"`{f.name.upper()}`" not in text] == []


@pytest.mark.parametrize("page", sorted((DOCS / "reference").glob("*.md")), ids=lambda page: page.stem)
def test_the_reference_is_drawn_and_not_written(page: Path) -> None:
    """What autodoc is asked for exists; a name that has gone would only be noticed when the site is built."""
    for path in re.findall(r"(?:auto\w+:: |-table\} )(dataqueue_django[\w.]*)", page.read_text()):
        assert resolve_name(path)


def test_the_tests_that_the_promises_name_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (DOCS / "promises.md").read_text())
    assert named
    assert [path for path in named if not (DOCS.parent / path).exists()] == []


@pytest.mark.parametrize("setting", [f.name.upper() for f in fields(WorkerSettings)])
def test_every_worker_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in (DOCS / "workers.md").read_text()


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert str(int(code)) in (DOCS / "workers.md").read_text().split("Exit codes:")[1].split("\n\n")[0]


def test_every_row_of_the_glossary_becomes_a_term() -> None:
    page = (DOCS / "glossary.md").read_text()
    turned = glossary.with_terms(page)
    assert "\n|" not in turned
    assert turned.count("\n  ") == page.count("\n|") - 2
    assert "\nrelease\ngive back\n  Return a job" in turned


def test_every_status_is_in_the_glossary() -> None:
    text = (DOCS / "glossary.md").read_text()
    assert all(status.value in text for status in JobStatus)


@pytest.mark.parametrize(
    "reason", ["timeout", "handler_error", "no_handler", "worker_lost", "given_up", "invalid_output", "invalid_payload"]
)
def test_failure_reasons_in_use_are_documented(reason: str) -> None:
    assert FailureReason(reason)
    assert reason in (DOCS / "handlers.md").read_text() + (DOCS / "lifecycle.md").read_text()


def test_the_readme_begins_with_the_two_lines() -> None:
    top = (DOCS.parent / "README.md").read_text()[:1500]
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[example]' && .venv/bin/python manage.py demo" in top
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest" in top
