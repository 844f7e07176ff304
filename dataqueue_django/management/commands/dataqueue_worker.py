"""`manage.py dataqueue_worker`: run jobs until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.autoreload import get_child_arguments

from ... import conf
from ...exceptions import DataQueueError, did_you_mean, shown
from ...logs import show_on_console
from ...queue import JobQueue, get_queue
from ...worker.claiming import ProcessorOptions
from ...worker.mail import ExitCode
from ...worker.processor import Processor
from ...worker.reload import ChangedFiles
from ...worker.supervisor import Lifeline, Supervisor, inherited

MOST = 10_000
LONGEST_LABEL = 200


class Command(BaseCommand):
    """Options in, a processor or a supervisor out; the exit code says how it ended."""

    help = (
        "Run jobs until told to stop. The first SIGTERM or SIGINT lets running jobs finish within the drain limit; "
        "the second gives them back at once. Exit codes: 0 drained, 1 failed, 2 usage, 75 every slot stuck, "
        "130 or 143 second signal."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--queues", type=_names, default=(), metavar="A,B", help="only these queues (default: all)")
        parser.add_argument("--exclude-queues", type=_names, default=(), metavar="A,B", help="all queues but these")
        parser.add_argument(
            "--job-types", type=_names, default=(), metavar="A,B", help="only these job types (default: all known)"
        )
        parser.add_argument("--concurrency", type=_count, help="jobs run at once per process (default: 3)")
        parser.add_argument("--processes", type=_count, default=1, help="worker processes, restarted when they die")
        parser.add_argument("--batch-size", type=_count, help="most jobs per claim (default: automatic)")
        parser.add_argument(
            "--poll-interval", type=_seconds, metavar="SECONDS", help="pause of an idle worker (default: automatic)"
        )
        parser.add_argument("--burst", action="store_true", help="end when nothing is left to do")
        parser.add_argument("--worker-id", metavar="LABEL", help="what to call this worker (default: host-pid)")
        parser.add_argument("--alias", default=conf.DEFAULT_ALIAS, help="alias in the DATAQUEUE setting")
        parser.add_argument("--reload", action="store_true", default=None, help="restart when code changes")
        parser.add_argument(
            "--no-reload", action="store_false", dest="reload", help="do not (default: only with DEBUG on a terminal)"
        )

    def handle(self, *_: Any, **given: Any) -> None:
        """Run, and end the process with the worker's exit code."""
        show_on_console(given["verbosity"])
        queue = _queue(given["alias"])
        problem = queue.store.problem()
        if problem:
            raise CommandError(problem, returncode=int(ExitCode.FAILED))
        parent = inherited()
        if parent is None and (given["processes"] > 1 or _reloads(given["reload"])):
            self._supervise(queue, given)
        else:
            self._work(queue, _options(queue, given), parent)

    def _work(self, queue: JobQueue, options: ProcessorOptions, parent: Any) -> None:
        processor = Processor(queue, options, begun=parent[1] if parent else None)
        asked: list[int] = []

        def on_signal(signum: int, _frame: Any) -> None:
            asked.append(signum)
            if len(asked) == 1:
                processor.stop()
            else:
                processor.give_back(ExitCode(128 + signum))

        _on_signals(on_signal)
        if parent is not None:
            Lifeline(parent[0], lambda code: processor.give_back(code)).watch()
        else:
            self.stdout.write(f"Worker {processor.label} is ready; press Ctrl+C to stop it.")
        code = processor.run()
        _end(int(code), at_once=processor.busy)

    def _supervise(self, queue: JobQueue, given: dict[str, Any]) -> None:
        _options(queue, given)
        changed = ChangedFiles() if _reloads(given["reload"]) else None
        supervisor = Supervisor(
            queue, lambda _: get_child_arguments(), given["processes"], burst=given["burst"], changed_files=changed
        )
        _on_signals(lambda signum, _frame: supervisor.signal(signum))
        self.stdout.write(f"Supervising {given['processes']} worker process(es); press Ctrl+C to stop.")
        _end(supervisor.run())


def _queue(alias: str) -> JobQueue:
    try:
        return get_queue(alias)
    except DataQueueError as why:
        raise _usage(str(why)) from None


def _options(queue: JobQueue, given: dict[str, Any]) -> ProcessorOptions:
    known = queue.handlers.types()
    for job_type in given["job_types"]:
        if job_type not in known:
            hint = did_you_mean(job_type, known) or f" Known: {', '.join(known) or 'none'}."
            raise _usage(f"--job-types: unknown job type {job_type!r}.{hint}")
    if given["queues"] and set(given["queues"]) <= set(given["exclude_queues"]):
        raise _usage("--exclude-queues leaves none of the --queues.")
    label = given["worker_id"]
    if label is not None and (not label.isprintable() or not 1 <= len(label.strip()) <= LONGEST_LABEL):
        raise _usage(f"--worker-id is {shown(label)}; expected 1 to {LONGEST_LABEL} printable characters.")
    return ProcessorOptions(
        worker_id=given["worker_id"],
        queues=given["queues"],
        exclude_queues=given["exclude_queues"],
        job_types=given["job_types"],
        concurrency=given["concurrency"],
        batch_size=given["batch_size"],
        poll_interval=given["poll_interval"],
        burst=given["burst"],
    )


def _usage(message: str) -> CommandError:
    return CommandError(message, returncode=int(ExitCode.USAGE))


def _reloads(asked: bool | None) -> bool:
    return asked if asked is not None else django_settings.DEBUG and sys.stdout.isatty()


def _on_signals(handler: Callable[[int, Any], None]) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, handler)


def _end(code: int, *, at_once: bool = False) -> None:
    """End the process; at once when a handler still runs, for Python would wait for its thread."""
    sys.stdout.flush()
    sys.stderr.flush()
    if at_once:
        os._exit(code)
    if code:
        sys.exit(code)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError
    return names


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0.001 <= number <= 3600:
        raise ValueError
    return number


_names.__name__ = "list of names such as A,B"
_count.__name__ = f"whole number from 1 to {MOST}"
_seconds.__name__ = "number of seconds from 0.001 to 3600"
