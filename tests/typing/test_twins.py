"""What type checkers are told of async twins is what there is."""

from __future__ import annotations

import inspect

from dataqueue_django.queue import JobQueue
from tests.typing.twins import FILE, draw, formatted, twins_of


def test_the_stub_shows_the_twins() -> None:
    drawn = formatted(draw(JobQueue))
    assert FILE.read_text(encoding="utf-8") == drawn, "run `python -m tests.typing.twins`"


def test_every_public_method_has_its_twin() -> None:
    names = {name for name, value in inspect.getmembers(JobQueue, inspect.isfunction) if not name.startswith("_")}
    twins = {name for name, _ in twins_of(JobQueue)}
    assert {f"a{name}" for name in names - twins} == twins
    assert all(inspect.iscoroutinefunction(getattr(JobQueue, name)) for name in twins)
