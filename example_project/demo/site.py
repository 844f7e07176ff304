"""The demo itself: tables and a login, a server and a worker, until Ctrl+C."""

from __future__ import annotations

from collections.abc import Callable
from urllib.error import URLError

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

from example_project.webhooks.jobs import limit_hosts
from example_project.webhooks.receiver import Receiver, receiving

from .children import (
    Child,
    Children,
    DemoError,
    environment,
    free_port,
    interruptible,
    is_free,
    stop,
    wait_until,
)
from .visitor import Visitor

LOGIN = "demo"
USUAL_PORT = 8000
PACE = {
    "FIELDBOOK_ROWS_PER_SECOND": "300",
    "FIELDBOOK_STEP_SECONDS": "2",
    "REFUND_APPROVAL_TIMEOUT": "90s",
    "DRIP_DAY_SECONDS": "10",
}
"""Slow enough to watch, and fast enough to see the end of; what the environment says is taken instead."""


def prepare() -> None:
    """Make the folder, the tables and the login; what is there already stays. Raises DemoError without DEBUG."""
    if not settings.DEBUG:
        raise DemoError("The demo's login is known to everybody, so the demo runs with DEBUG only.")
    settings.DEMO_FOLDER.mkdir(parents=True, exist_ok=True)
    call_command("migrate", interactive=False, verbosity=0)
    users = get_user_model()._default_manager
    if not users.filter(username=LOGIN).exists():
        users.create_superuser(LOGIN, "demo@example.com", LOGIN)
    limit_hosts()


def run(port: int | None, say: Callable[[str], None]) -> None:
    """Show the site until Ctrl+C; raises DemoError when the server or the worker does not live."""
    with interruptible():
        children = Children()
        try:
            prepare()
            with receiving(settings.WEBHOOK_SECRET) as receivers:
                _start(_port(port), children, receivers, say)
                wait_until(lambda: False, "", alive=children, within=float("inf"))
        except KeyboardInterrupt:
            say("Stopping; running jobs may finish. Press Ctrl+C again to hurry.")
        finally:
            stop(children)
    say("Both have ended.")


def answers(address: str) -> bool:
    """Whether the site's first page can be opened."""
    try:
        return Visitor(address).get("/").status == 200
    except (URLError, OSError):
        return False


def worker_is_ready(worker: Child) -> bool:
    """Whether the worker has said that it is ready."""
    return worker.has_said("is ready")


def _port(asked: int | None) -> int:
    if asked is None and is_free(USUAL_PORT):
        return USUAL_PORT
    if not asked:
        return free_port()
    if not is_free(asked):
        raise DemoError(f"Port {asked} is taken; leave --port out to get a free one.")
    return asked


def _start(port: int, children: Children, receivers: list[Receiver], say: Callable[[str], None]) -> None:
    address = f"http://127.0.0.1:{port}/"
    hosts = ",".join(receiver.url for receiver in receivers)
    variables = {**PACE, "SITE_URL": address, "WEBHOOK_RECEIVERS": hosts, **environment()}
    server = children.start_server(port, variables, settings.DEMO_FOLDER)
    worker = children.start_worker(variables, settings.DEMO_FOLDER)
    wait_until(lambda: answers(address), "the server does not answer", alive=children)
    wait_until(lambda: worker_is_ready(worker), "the worker is not ready", alive=children)
    say(f"Fieldbook   {address}")
    say(f"Admin       {address}admin/   login {LOGIN}, password {LOGIN}")
    say(f"Receivers   {'  '.join(receiver.url for receiver in receivers)}")
    say(f"Logs        {server.log}  {worker.log}")
    say("Press Ctrl+C to stop the server and the worker.")
