"""`manage.py dataqueue_worker`: run jobs until told to stop."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandError, CommandParser
from django.utils.autoreload import get_child_arguments

from ... import conf
from ...exceptions import ConfigurationError
from ...logs import show_on_console
from ...queue import JobQueue
from ...worker.loop import WorkerLoop
from ...worker.mail import ExitCode
from ...worker.options import GIVEN, READ, ProcessorOptions, check_job_types, options_from, whole
from ...worker.reload import ChangedFiles
from ...worker.supervisor import Lifeline, Supervisor, inherited
from ..base import HelpfulCommand, accept_any_character, let_go_of_stdout, queue_of, refuse_unusable, usage

MOST_PROCESSES = 1_000
SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread keeps the interpreter (Python: 0.005) where others wait for what child processes say."""


class Command(HelpfulCommand):
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
        parser.add_argument(
            "--group-concurrency",
            type=_number("group_concurrency"),
            metavar="N",
            help="begin no job of a group of which N run, anywhere",
        )
        parser.add_argument(
            "--concurrency", type=_number("concurrency"), help="jobs run at once per process (default: 3)"
        )
        parser.add_argument(
            "--processes", type=_processes, default=1, help="worker processes, restarted when they die (default: 1)"
        )
        parser.add_argument(
            "--batch-size", type=_number("batch_size"), help="most jobs per claim (default: automatic, 10 with --once)"
        )
        parser.add_argument(
            "--poll-interval",
            type=_number("poll_interval", float),
            metavar="SECONDS",
            help="pause of an idle worker (default: automatic)",
        )
        parser.add_argument(
            "--isolate", action="store_true", default=None, help="run every handler in a process that can be killed"
        )
        parser.add_argument("--burst", action="store_true", help="end when nothing is left to do")
        parser.add_argument("--once", action="store_true", help="work on one batch, then end")
        parser.add_argument(
            "--max-jobs", type=_number("max_jobs"), metavar="N", help="end after N jobs; of each process by itself"
        )
        parser.add_argument(
            "--no-wait", action="store_false", dest="wait", help="fail if the database cannot be reached at the start"
        )
        parser.add_argument("--worker-id", metavar="LABEL", help="what to call this worker (default: host-pid)")
        parser.add_argument("--alias", default=conf.DEFAULT_ALIAS, help="alias in the DATAQUEUE setting")
        parser.add_argument("--reload", action="store_true", default=None, help="restart when code changes")
        parser.add_argument(
            "--no-reload", action="store_false", dest="reload", help="do not (default: only with DEBUG on a terminal)"
        )

    def handle(self, *_: Any, **given: Any) -> None:
        """Run, and end the process with the worker's exit code."""
        show_on_console(given["verbosity"])
        accept_any_character()
        queue = queue_of(given["alias"], misconfigured=ExitCode.USAGE)
        options = _options(queue, given)
        parent = inherited()
        _check_store(queue, wait=given["wait"] or parent is not None)
        if parent is None and (given["processes"] > 1 or _reloads(given)):
            self._supervise(queue, given)
        else:
            self._work(queue, options, parent)

    def _work(self, queue: JobQueue, options: ProcessorOptions, parent: Any) -> None:
        loop = WorkerLoop(queue, options, begun=parent[1] if parent else None)
        if loop.settings.isolate:
            sys.setswitchinterval(SWITCH_INTERVAL)
        asked: list[int] = []

        def on_signal(signum: int, _frame: Any) -> None:
            asked.append(signum)
            if len(asked) == 1:
                loop.stop()
            else:
                loop.give_back(ExitCode(128 + signum))

        _on_signals(on_signal)
        if parent is not None:
            Lifeline(parent[0], lambda code: loop.give_back(code)).watch()
        else:
            self._say(f"Worker {loop.label} is ready; press Ctrl+C to stop it.")
        code = loop.run()
        _end(int(code), at_once=loop.busy)

    def _supervise(self, queue: JobQueue, given: dict[str, Any]) -> None:
        changed = ChangedFiles() if _reloads(given) else None
        finite = given["burst"] or given["once"] or given["max_jobs"] is not None
        supervisor = Supervisor(
            queue, lambda _: get_child_arguments(), given["processes"], finite=finite, changed_files=changed
        )
        _on_signals(lambda signum, _frame: supervisor.signal(signum))
        self._say(f"Supervising {given['processes']} worker process(es); press Ctrl+C to stop.")
        _end(supervisor.run())

    def _say(self, text: str) -> None:
        """Print a line; a reader that is gone is no reason to stop working."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except BrokenPipeError:
            let_go_of_stdout()


def _options(queue: JobQueue, given: dict[str, Any]) -> ProcessorOptions:
    _check_combination(given)
    most = given["max_jobs"]
    try:
        options = options_from({option: given[option] for option in GIVEN if option in given}, _flag)
        most = None if most is None else READ["max_jobs"]("--max-jobs", most)
        check_job_types(options.job_types, queue.handlers, _flag)
    except ConfigurationError as why:
        raise usage(str(why)) from None
    return replace(options, burst=given["burst"], once=given["once"], max_jobs=most)


def _check_combination(given: dict[str, Any]) -> None:
    """One batch is the work of one process, which nothing else ends."""
    if not given["once"]:
        return
    for option, clashes in (
        ("--burst", given["burst"]),
        ("--max-jobs", given["max_jobs"] is not None),
        ("--processes", given["processes"] > 1),
        ("--reload", given["reload"] is True),
    ):
        if clashes:
            raise usage(f"--once cannot be combined with {option}.")


def _check_store(queue: JobQueue, *, wait: bool) -> None:
    refuse_unusable(queue)
    if wait:
        return
    try:
        queue.get_job(0)
    except Exception as error:
        text = f"The queue {queue.alias!r} cannot be reached: {str(error).strip()}"
        raise CommandError(text, returncode=int(ExitCode.FAILED)) from None


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _reloads(given: dict[str, Any]) -> bool:
    asked: bool | None = given["reload"]
    return asked if asked is not None else django_settings.DEBUG and sys.stdout.isatty() and not given["once"]


def _on_signals(handler: Callable[[int, Any], None]) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, handler)


def _end(code: int, *, at_once: bool = False) -> None:
    """End the process; at once when a handler still runs, for Python would wait for its thread."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_stdout()
    sys.stderr.flush()
    if at_once:
        os._exit(code)
    if code:
        sys.exit(code)


def _names(text: str) -> tuple[str, ...]:
    return _argument("queues", tuple(name.strip() for name in text.split(",")))  # type: ignore[no-any-return]


def _number(option: str, kind: type[int] | type[float] = int) -> Callable[[str], Any]:
    return lambda text: _argument(option, _converted(text, kind))


def _processes(text: str) -> int:
    try:
        return whole(MOST_PROCESSES)("it", _converted(text, int))
    except ConfigurationError as why:
        raise ArgumentTypeError(str(why)) from None


def _argument(option: str, value: Any) -> Any:
    """Read what was given for an option; argparse says which one it was."""
    try:
        return READ[option]("it", value)
    except ConfigurationError as why:
        raise ArgumentTypeError(str(why)) from None


def _converted(text: str, kind: type[int] | type[float]) -> Any:
    """Return the number that a text stands for, or the text itself for the reader to refuse."""
    try:
        return kind(text)
    except ValueError:
        return text
