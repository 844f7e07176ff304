"""`manage.py demo`: the site alive in one command."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from example_project.demo import site
from example_project.demo.check import Check
from example_project.demo.children import DemoError


class Command(BaseCommand):
    """Options in, the demo or its check out."""

    help = (
        "Make the tables and the login demo/demo, start the development server and a worker, and stop both on Ctrl+C. "
        "Needs DEBUG. With --check: play the whole scenario in a private folder and exit 0 or 1."
    )
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--port", type=int, help="the server's port; 0 is a free one (default: 8000 if that is free)"
        )
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--check", action="store_true", help="check everything from outside, then exit")
        only.add_argument("--prepare", action="store_true", help="only make the folder, the tables and the login")

    def handle(self, *_: Any, **given: Any) -> None:
        """Run what was asked for; a failure is the exit code 1."""
        try:
            if given["check"]:
                self._check()
            elif given["prepare"]:
                site.prepare()
            else:
                site.run(given["port"], self._say)
        except DemoError as why:
            raise CommandError(str(why)) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=130) from None

    def _check(self) -> None:
        if not Check(self._say).run():
            raise CommandError("The demo does not work as it should.")

    def _say(self, line: str) -> None:
        """Write a line at once, whatever the terminal's encoding."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        self.stdout.write(line.encode(encoding, "replace").decode(encoding))
        self.stdout.flush()
