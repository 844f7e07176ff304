"""What a handler tells, on its way into the store."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dataqueue_django.domain.records import ClaimedJob
from dataqueue_django.stores.base import MOST_LOGS
from dataqueue_django.worker.keeping_lines import Bridge, begin, end
from dataqueue_django.worker.reports import Report, Reports
from tests.worker.test_slots import run_of


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def reports(told: list[int]) -> Reports:
    job: ClaimedJob = run_of(7).job
    return Reports(job, lambda: told.append(1))


def messages(report: Report) -> list[str]:
    return [line.message for line in report.lines]


def test_only_the_latest_progress_is_stored_and_the_worker_is_told_once(reports: Reports, told: list[int]) -> None:
    for percent in (1, 2, 3):
        reports.progress(percent, "m", None)
        reports.line("INFO", f"line {percent}")
    assert told == [1]
    taken = reports.unsaved()
    assert taken.progress == {"progress": 3, "progress_message": "m", "progress_data": None}
    assert messages(taken) == ["line 1", "line 2", "line 3"]
    assert not reports.unsaved()
    reports.line("INFO", "line 4")
    assert told == [1, 1]


def test_the_last_progress_comes_with_the_outcome_even_if_it_was_stored(reports: Reports) -> None:
    reports.progress(9, None, None)
    reports.unsaved()
    assert reports.final().progress == {"progress": 9, "progress_message": None, "progress_data": None}


def test_what_could_not_be_stored_comes_again_in_order(reports: Reports) -> None:
    reports.line("INFO", "a")
    reports.progress(1, None, None)
    taken = reports.unsaved()
    reports.line("INFO", "b")
    reports.progress(2, None, None)
    reports.give_back(taken)
    again = reports.unsaved()
    assert messages(again) == ["a", "b"]
    assert again.progress is not None
    assert again.progress["progress"] == 2


def test_a_transaction_of_the_handlers_own_keeps_what_is_told_in_it(reports: Reports, told: list[int]) -> None:
    reports.hold()
    reports.progress(5, None, None)
    reports.line("INFO", "inside")
    assert told == []
    assert not reports.unsaved()
    held = reports.all_held()
    assert messages(held) == ["inside"]
    reports.give_back(held)
    reports.let_go()
    assert told == [1]
    assert messages(reports.unsaved()) == ["inside"]


def test_an_execution_that_talks_without_end_is_cut_off(reports: Reports) -> None:
    for n in range(MOST_LOGS + 500):
        reports.line("INFO", str(n))
    lines = messages(reports.unsaved())
    assert len(lines) == MOST_LOGS
    assert lines[-2:] == [str(MOST_LOGS - 2), f"no more lines of this execution are kept; the limit is {MOST_LOGS}"]


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\x00b", "a�b"),
        ("\ud800", "?"),
        (Hostile(), "<Hostile whose str() raised RuntimeError>"),
        (None, "None"),
        ("é" * 5000, "é" * 2048),
    ],
)
def test_every_line_can_be_kept(reports: Reports, said: Any, kept: str) -> None:
    reports.line("INFO", said)
    assert messages(reports.unsaved()) == [kept]


def test_records_of_logging_go_to_the_handler_that_logs() -> None:
    bridge, context = Bridge(), run_of(1).context
    logger = logging.Logger("shop", logging.DEBUG)
    logger.addHandler(bridge)
    logger.info("outside")
    begin(context)
    try:
        logger.warning("order %d", 7)
        logger.debug("too quiet")
        logger.info("broken %d", "x")
        logging.getLogger("dataqueue_django.jobs").handle(
            logging.LogRecord("dataqueue_django.jobs", logging.ERROR, "", 0, "about jobs", (), None)
        )
    finally:
        end(context)
    logger.info("after")
    assert [(x.level, x.logger, x.message) for x in context.reports.final().lines] == [("WARNING", "shop", "order 7")]


def test_the_bridge_stands_at_the_root_while_any_worker_runs() -> None:
    bridge, root = Bridge(), logging.getLogger()
    for _ in range(2):
        bridge.install()
    assert root.handlers.count(bridge) == 1
    bridge.remove()
    assert bridge in root.handlers
    bridge.remove()
    assert bridge not in root.handlers
