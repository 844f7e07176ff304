"""`manage.py dataqueue_cleanup`: delete jobs that ended long ago, and old events, lines of log and ticks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandParser

from ...conf import RetentionSettings
from ...domain.records import ENDED
from ...domain.retention import BATCH
from ...queue import JobQueue
from ...queue.cleaning import BY_AGE, MOST_DAYS, OnBatch
from ..base import QueueCommand, usage
from ..interrupting import between_batches
from ..progress import progress
from ..values import number, some_of, whole_number

STATUSES = tuple(field.name for field in fields(RetentionSettings) if field.name in ENDED)


class Command(QueueCommand):
    """`cleanup_old_jobs` for each status and the methods for what is deleted by its age, in batches."""

    help = (
        "Delete jobs that ended long ago, old events and lines of log of jobs that have ended, and old ticks of "
        "schedules, batch by batch. RETENTION in the DATAQUEUE setting says how long each is kept, and running workers "
        "do this by themselves. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted; what was deleted before an "
        "interruption stays deleted. Ctrl+C waits for the batch under way; a second one does not."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing deleted."""
        super().__init__(*args, **kwargs)
        self._deleted: dict[str, int] = {}

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options."""
        days = number(0, MOST_DAYS)
        parser.add_argument("--days", type=days, metavar="N", help="delete jobs that ended more than N days ago")
        for name in BY_AGE:
            parser.add_argument(f"--{name}-days", type=days, metavar="N", help=f"delete {name} older than N days")
        parser.add_argument(
            "--statuses",
            type=some_of(STATUSES),
            metavar="A,B",
            help=f"only jobs that ended so: {', '.join(STATUSES)} (default: those that RETENTION does not keep)",
        )
        parser.add_argument(
            "--batch-size", type=whole_number(1, BATCH), default=BATCH, help=f"rows per transaction (default: {BATCH})"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask before deleting all that has ended (0 days)")

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Delete what is due, and say how many of each."""
        self._deleted.clear()
        due = _due(queue, given)
        if 0 in due.values() and not given["yes"]:
            self._ask(queue.alias, [name for name, days in due.items() if days == 0], given)
        for name, days in due.items():
            self._deleted[name] = 0
            with between_batches() as end_here, progress(f"deleting {name}", wanted=not given["json"]) as step:
                self._delete(queue, name, days, given["batch_size"], self._counting(name, step, end_here))
        return {"alias": queue.alias, "deleted": {name: self._deleted.get(name) for name in (*STATUSES, *BY_AGE)}}

    def tell(self, facts: Mapping[str, Any]) -> str:
        """One line."""
        return f"Deleted {_listed(facts['deleted'])}."

    def so_far(self) -> str:
        """What the finished batches deleted."""
        return f"Deleted until then: {_listed(self._deleted)}." if self._deleted else "Nothing was deleted."

    def _counting(self, name: str, step: Callable[[int], object], end_here: Callable[[], None]) -> OnBatch:
        def on_batch(count: int) -> None:
            self._deleted[name] += count
            step(count)
            end_here()

        return on_batch

    def _delete(self, queue: JobQueue, name: str, days: float, batch_size: int, on_batch: OnBatch) -> None:
        if name in BY_AGE:
            BY_AGE[name](queue, days, batch_size=batch_size, confirm_all=True, on_batch=on_batch)
        else:
            queue.cleanup_old_jobs(days, statuses=(name,), batch_size=batch_size, confirm_all=True, on_batch=on_batch)

    def _ask(self, alias: str, names: list[str], given: Mapping[str, Any]) -> None:
        """Have 0 days confirmed, by a person at the terminal or by --yes."""
        what = f"0 days deletes all {' and '.join(names)} of DATAQUEUE[{alias!r}] that have ended"
        if given["json"] or not (sys.stdin and sys.stdin.isatty()):
            raise usage(f"{what}; give --yes to confirm it.")
        self.stderr.write(f"{what}. Type 'yes' to go on: ", ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise usage("Not confirmed; nothing was deleted.")


def _due(queue: JobQueue, given: Mapping[str, Any]) -> dict[str, float]:
    """What to delete, and after how many days."""
    kept = queue.settings.retention
    days = {name: getattr(kept, name) for name in STATUSES}
    if given["statuses"] is not None:
        days = {name: days[name] for name in given["statuses"]}
    if given["days"] is not None:
        chosen = given["statuses"] or [name for name in STATUSES if days[name] is not None]
        days = dict.fromkeys(chosen, given["days"])
    for name in BY_AGE:
        chosen_days = given[f"{name}_days"]
        days[name] = getattr(kept, name) if chosen_days is None else chosen_days
    return {name: value for name, value in days.items() if value is not None}


def _listed(deleted: Mapping[str, int | None]) -> str:
    """What people read: "3 completed and 1 cancelled jobs, 5 events, 0 logs"; what was kept is not mentioned."""
    counts = {name: count for name, count in deleted.items() if count is not None}
    ended = [f"{count} {name}" for name, count in counts.items() if name in STATUSES]
    parts = [f"{' and '.join(ended)} jobs"] if ended else []
    parts += [f"{count} {name}" for name, count in counts.items() if name in BY_AGE]
    return ", ".join(parts) or "nothing, since RETENTION keeps it all"
