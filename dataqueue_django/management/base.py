"""What the commands that ask or order something have in common: options, streams, and one exit code per kind of end.

0 done, 1 the queue could not be reached or used, 2 wrong usage (nothing was done), 130 interrupted by Ctrl+C (what was
done stays), 141 nobody reads the output any more. Trouble is one sentence on stderr, never a traceback.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from .. import conf
from ..exceptions import DataQueueError, did_you_mean
from ..queue import JobQueue, get_queue
from ..worker.mail import ExitCode

CLOSED_PIPE = 141


class HelpfulCommand(BaseCommand):
    """A command whose options have to be spelled out, and which knows what was meant by those that are not."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return a parser that takes no abbreviations, and that names the nearest option for an unknown one."""
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        refuse = parser.error

        def error(message: str) -> Any:
            unknown = message.partition("unrecognized arguments: ")[2].partition("=")[0].split()
            return refuse(message + (did_you_mean(unknown[0], parser._option_string_actions) if unknown else ""))

        parser.error = error  # type: ignore[method-assign]
        return parser


class QueueCommand(HelpfulCommand):
    """A command about one alias. Subclasses say `add_options` and `run`; the latter returns what `--json` prints."""

    requires_system_checks: Any = []  # those are for starting up, not for every line of a crontab

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options beyond --alias and --json."""

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do the work and return its facts, in camelCase and fit for JSON."""
        raise NotImplementedError

    def tell(self, facts: Mapping[str, Any]) -> str:
        """Return what people read instead of the JSON."""
        raise NotImplementedError

    def exit_code(self, facts: Mapping[str, Any]) -> int:
        """Return the code to end with when nothing went wrong, but the facts themselves are to be told by one."""
        return 0

    def so_far(self) -> str:
        """Return a sentence about what was done before an interruption; empty when there is nothing to say."""
        return ""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        self.add_options(parser)
        parser.add_argument("--alias", default=conf.DEFAULT_ALIAS, help="alias in the DATAQUEUE setting")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *_: Any, **given: Any) -> None:
        """Run, print, and turn whatever goes wrong into a sentence and an exit code."""
        accept_any_character()
        try:
            queue = queue_of(given["alias"], misconfigured=ExitCode.FAILED)
            refuse_unusable(queue)
            facts = self.run(queue, given)
            self.stdout.write(json.dumps(facts) if given["json"] else self.tell(facts))
            self.stdout.flush()
            code = self.exit_code(facts)
        except BrokenPipeError:
            let_go_of_stdout()
            sys.exit(CLOSED_PIPE)
        except KeyboardInterrupt as why:
            text = f"Interrupted. {self.so_far()} {why}"
            raise CommandError(text.strip(), returncode=int(ExitCode.INTERRUPTED)) from None
        except DataQueueError as why:
            raise usage(str(why)) from None
        except (Error, ConnectionError) as why:
            first = (str(why).strip() or type(why).__name__).splitlines()[0]
            text = f"The store of DATAQUEUE[{given['alias']!r}] failed: {first} {self.so_far()}"
            raise CommandError(text.strip(), returncode=int(ExitCode.FAILED)) from None
        if code:
            sys.exit(code)


def queue_of(alias: str, *, misconfigured: ExitCode) -> JobQueue:
    """Return the queue of an alias; raises CommandError for one that DATAQUEUE does not have, or not rightly."""
    try:
        known = conf.aliases()
        if alias not in known:
            hint = did_you_mean(alias, known) or f" Known: {', '.join(map(repr, known)) or 'none'}."
            raise usage(f"--alias: DATAQUEUE has no alias {alias!r}.{hint}")
        return get_queue(alias)
    except DataQueueError as why:
        raise CommandError(str(why), returncode=int(misconfigured)) from None


def refuse_unusable(queue: JobQueue) -> None:
    """Raise CommandError when the store says that it cannot hold jobs as it is."""
    if problem := queue.store.problem():
        raise CommandError(problem, returncode=int(ExitCode.FAILED))


def usage(message: str) -> CommandError:
    """Return the error for wrong usage: nothing was done."""
    return CommandError(message, returncode=int(ExitCode.USAGE))


def accept_any_character() -> None:
    """Let a terminal that cannot show a character get an escape for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def let_go_of_stdout() -> None:
    """Point standard output at nothing, so that Python does not fail over what it still holds when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
