"""The documents tell the truth about the code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from dataqueue_django.conf import WorkerSettings
from dataqueue_django.domain.lifecycle import LEGAL_MOVES, TABLE, State
from dataqueue_django.domain.records import FailureReason, JobStatus
from dataqueue_django.worker.mail import ExitCode

DOCS = Path(__file__).parent.parent / "docs"
START, END = "<!-- drawn from domain/lifecycle.py -->", "<!-- end -->"


def lifecycle_table() -> str:
    """Return the table and the diagram as the lifecycle page must show them."""
    head = ["| operation | " + " | ".join(State) + " |", "| --- |" + " --- |" * len(State)]
    rows = [f"| {op} | " + " | ".join(cells[state] for state in State) + " |" for op, cells in TABLE.items()]
    moves = [f"    {source} --> {target}" for source, targets in LEGAL_MOVES.items() for target in sorted(targets)]
    diagram = ["```mermaid", "stateDiagram-v2", "    [*] --> pending", *moves, "```"]
    return "\n".join([*diagram, "", *head, *rows])


def test_the_lifecycle_page_shows_the_table() -> None:
    text = (DOCS / "lifecycle.md").read_text()
    shown = text[text.index(START) + len(START) : text.index(END)].strip()
    assert shown == lifecycle_table(), "paste the output of `python -m tests.test_docs` between the markers"


@pytest.mark.parametrize("setting", [f.name.upper() for f in fields(WorkerSettings)])
def test_every_worker_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in (DOCS / "workers.md").read_text()


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert str(int(code)) in (DOCS / "workers.md").read_text().split("Exit codes:")[1].split("\n\n")[0]


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


if __name__ == "__main__":
    print(lifecycle_table())
