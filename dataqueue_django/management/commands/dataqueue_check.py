"""`manage.py dataqueue_check`: whether the queue is well, told by the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from ...domain.health import HealthStatus, as_json
from ...queue import JobQueue
from ...queue.checking import MOST_SECONDS, MOST_WORKERS
from ..base import QueueCommand
from ..values import number, whole_number

UNHEALTHY = 3
CODES = {HealthStatus.OK: 0, HealthStatus.UNKNOWN: 1, HealthStatus.UNHEALTHY: UNHEALTHY}


class Command(QueueCommand):
    """`get_health`, printed."""

    help = (
        "Judge the queue by the limits that are given; without any, by nothing but whether its store answers. Exit "
        "codes: 0 well, 1 nobody can tell (the store cannot be reached, say), 2 usage, 3 a limit is passed."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the limits."""
        parser.add_argument(
            "--max-oldest",
            type=number(0, MOST_SECONDS),
            metavar="SECONDS",
            help="how long the oldest ready job may have been ready",
        )
        parser.add_argument(
            "--max-failed-rate",
            type=number(0, 1),
            metavar="RATE",
            help="how many of the jobs that ended in the last fifteen minutes may have failed, from 0 to 1",
        )
        parser.add_argument(
            "--min-workers", type=whole_number(0, MOST_WORKERS), metavar="N", help="how many workers have to be alive"
        )

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look once."""
        limits = {name: given[name] for name in ("max_oldest", "max_failed_rate", "min_workers")}
        return {"alias": queue.alias, **as_json(queue.get_health(**limits))}

    def tell(self, facts: Mapping[str, Any]) -> str:
        """The verdict, and a line for each problem."""
        return "\n".join([f"Queue {facts['alias']!r}: {facts['status']}", *facts["problems"]])

    def exit_code(self, facts: Mapping[str, Any]) -> int:
        """The verdict again."""
        return CODES[HealthStatus(facts["status"])]
