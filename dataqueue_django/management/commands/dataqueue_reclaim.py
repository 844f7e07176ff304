"""`manage.py dataqueue_reclaim`: take jobs back from workers that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from ...queue import JobQueue
from ...queue.reclaiming import MOST_MINUTES
from ..base import QueueCommand
from ..values import number


class Command(QueueCommand):
    """One call of `reclaim_stuck_jobs`."""

    help = (
        "Take back the jobs of workers that are gone. Running workers do so for each other; this is for when none "
        "runs. A worker that has been silent is watched for two of its leases (a minute) first. "
        "Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--minutes",
            type=number(0.001, MOST_MINUTES),
            default=10,
            help="how long a worker has been silent, or with --force a job been held (default: 10)",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="take jobs of living workers, too, held for longer than --minutes and than their own timeout",
        )

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take back, and say how many."""
        taken = queue.reclaim_stuck_jobs(given["minutes"], force=given["force"])
        return {"alias": queue.alias, "reclaimed": taken}

    def tell(self, facts: Mapping[str, Any]) -> str:
        """One line."""
        return f"{facts['reclaimed']} job{'' if facts['reclaimed'] == 1 else 's'} taken back."

    def so_far(self) -> str:
        """Jobs come back one lot at a time."""
        return "Jobs taken back until then stay so."
