"""Each benchmark runs, at a size that says nothing about speed, and prints its ratio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.databases import ROOT
from tests.provision import POSTGRES_MISSING, POSTGRES_URL, miss


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> list[str]:
    """The options that name a store; PostgreSQL is the run's own server."""
    name: str = request.param
    if name == "postgres" and POSTGRES_URL not in os.environ:
        miss(f"PostgreSQL is missing: {os.environ.get(POSTGRES_MISSING)}")
    return ["--store", name, *(["--url", os.environ[POSTGRES_URL]] if name == "postgres" else [])]


def output_of(program: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def results_of(program: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output_of(program, *options, "--json"))
    assert "cores" in found["versions"]
    return found


def test_drain(store: list[str]) -> None:
    found = results_of("drain", *store, "--jobs", "120", "--rounds", "2")
    (line,) = found["results"].values()
    assert line["ratio"]["median"] > 0
    assert [len(line[part]["rounds"]) for part in ("queue", "raw", "ratio")] == [2, 2, 2]


def test_isolated() -> None:
    found = results_of("isolated", "--store", "sqlite", "--jobs", "60", "--rounds", "1")
    (line,) = found["results"].values()
    assert line["ratio"]["median"] > 0
    assert found["notes"]["resident memory of a child"] != "0 MB"


def test_enqueue(store: list[str]) -> None:
    found = results_of("enqueue", *store, "--jobs", "120", "--rounds", "1")
    assert len(found["results"]) == 3
    assert all(line["ratio"]["median"] > 0 for line in found["results"].values())
    assert found["memory"]["peak_mb"] >= found["memory"]["before_mb"] > 0


def test_idle(store: list[str]) -> None:
    found = results_of("idle", *store, "--seconds", "1")
    assert found["rss_mb"] > 0
    assert found["share_of_a_core"] >= 0
    assert ("transactions_per_minute" in found) == (found["store"] == "postgres")


def test_admin_pages(store: list[str]) -> None:
    found = results_of("admin_pages", *store, "--jobs", "300", "--rounds", "1")
    assert {line["statements"] for line in found["results"].values()} == {5}
    assert all(line["ms"][0] > 0 for line in found["results"].values())


def test_limits(store: list[str]) -> None:
    found = results_of("limits", *store, "--jobs", "60", "--in-front", "300", "--rounds", "1")
    assert len(found["results"]) == 8
    assert all(line["ratio"]["median"] > 0 for line in found["results"].values())


def test_the_table_for_people_shows_the_ratio() -> None:
    shown = output_of("drain", "--store", "sqlite", "--jobs", "120", "--rounds", "1")
    assert "120 jobs, 1 rounds" in shown
    assert "ratio" in shown
    assert "drain, sqlite" in shown
    assert "CPU" in output_of("idle", "--store", "sqlite", "--seconds", "1")
