"""The documents tell the truth about the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from pkgutil import resolve_name

import pytest

from dataqueue_django.conf import AliasSettings, ProjectSettings, RetentionSettings, WorkerSettings
from dataqueue_django.domain.lifecycle import LEGAL_MOVES
from dataqueue_django.domain.records import EventType, FailureReason, JobStatus
from dataqueue_django.domain.steps import LONGEST_NAME, MOST_STEPS
from dataqueue_django.domain.tokens import MAX_ANSWER, MAX_SCHEMA
from dataqueue_django.domain.waits import LONGEST_TOKEN
from dataqueue_django.queue import JobQueue
from dataqueue_django.worker.context import AsyncJobContext, JobContext
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


@pytest.mark.parametrize("settings", [AliasSettings, ProjectSettings, WorkerSettings, RetentionSettings])
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


RESERVED_REASONS = {FailureReason.DEPENDENCY_FAILED}
RESERVED_EVENTS = {
    EventType.UNBLOCKED,
    EventType.PAUSED,
    EventType.UNPAUSED,
    EventType.PROMOTED,
    EventType.DEAD_LETTERED,
}
"""Words of what is not built yet."""


@pytest.mark.parametrize("reason", sorted(set(FailureReason) - RESERVED_REASONS))
@pytest.mark.parametrize("page", ["lifecycle.md", "guides/failures.md"])
def test_failure_reasons_in_use_are_documented(page: str, reason: FailureReason) -> None:
    assert f"`{reason}`" in (DOCS / page).read_text()


@pytest.mark.parametrize("event", sorted(set(EventType) - RESERVED_EVENTS))
def test_events_in_use_are_documented(event: EventType) -> None:
    assert f"`{event}`" in (DOCS / "guides" / "events.md").read_text()
    assert f"`job_{event}`" in (DOCS / "workers.md").read_text()


@pytest.mark.parametrize("context", [JobContext, AsyncJobContext])
def test_the_reference_has_every_method_of_a_context(context: type) -> None:
    page = (DOCS / "reference" / "context.md").read_text()
    named = {name for line in re.findall(r":members: (.+)", page) for name in line.split(", ")}
    # For whoever runs the handler:
    inside = {"output", "final_output", "history", "used_history", "keeps_records", "close"}
    assert {name for name in dir(context) if not name.startswith("_")} - inside - named == set()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (MOST_STEPS, "1,000"),
        (MAX_ANSWER, "256 KiB"),
        (MAX_SCHEMA, "64 KiB"),
        (LONGEST_NAME, "255 characters"),
        (LONGEST_TOKEN, "365 days"),
    ],
)
def test_the_limits_of_durable_handlers_are_those_of_the_code(number: float, words: str) -> None:
    amount, _, unit = words.replace(",", "").partition(" ")
    assert number == int(amount) * {"KiB": 1024, "days": 86_400}.get(unit, 1)
    assert words in (DOCS / "guides" / "replay.md").read_text().split("## Limits")[1]


def test_the_readme_begins_with_the_two_lines() -> None:
    top = (DOCS.parent / "README.md").read_text()[:1500]
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[example]' && .venv/bin/python manage.py demo" in top
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest" in top
