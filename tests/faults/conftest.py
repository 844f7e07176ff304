"""Fixtures of the fault tests, and the counts that they print at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dataqueue_django.stores.orm.portable import PortableStore
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import alias, ledger, store, workers

__all__ = ["alias", "ledger", "store", "tally", "workers", "workshop"]

COUNTS = "fault counts"


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a line of counts for the summary of the run."""

    def note(line: str) -> None:
        record_property(COUNTS, line)

    return note


@pytest.fixture
def workshop(store: PortableStore) -> Iterator[Workshop]:
    """Handlers and workers of the test's own, in this process, on the database of the test."""
    shop = Workshop(store)
    try:
        yield shop
    finally:
        shop.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted, in passing tests as well."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {line}"
        for report in reports
        for name, line in getattr(report, "user_properties", ())
        if name == COUNTS
    ]
    if lines:
        terminalreporter.section("trials of faults")
        for line in sorted(lines):
            terminalreporter.line(line)
