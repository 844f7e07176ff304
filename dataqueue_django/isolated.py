"""Where a child interpreter begins: it sets the project up as its worker has it, and serves one handler at a time."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .queue import JobQueue


def main(fd: int, control_fd: int, parent: int) -> None:
    """Serve the worker at the other end of these pipes, whose process id is `parent`, until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the worker's business
    for descriptor in (fd, control_fd):
        os.set_inheritable(descriptor, False)
    from .worker.isolation.limits import die_with, limit_memory

    die_with(parent)
    connection = Connection(fd)
    told = _told(connection)
    limit_memory(told["memory"])
    try:
        queue = _queue(told)
    except BaseException as why:
        _tell(connection, say="broken", why=f"{type(why).__name__}: {why}"[:1000])
        sys.exit(1)
    from .worker.isolation.serving import Serving
    from .worker.isolation.wire import Line

    control = Line(Connection(control_fd, writable=False))
    Serving(Line(connection), control, queue, cpu=told["cpu"], job_logs=told["job_logs"]).run()


def _queue(told: dict[str, Any]) -> JobQueue:
    """Set Django up with the worker's settings and databases: in a test these are other ones than the settings say."""
    os.environ["DJANGO_SETTINGS_MODULE"] = told["settings"]
    import django
    from django.db import connections

    for alias, name in told["databases"].items():
        connections.settings[alias]["NAME"] = name
    django.setup()
    from .queue import get_queue

    return get_queue(told["alias"])


def _told(connection: Connection) -> dict[str, Any]:
    import json

    told: dict[str, Any] = json.loads(connection.recv_bytes())
    return told


def _tell(connection: Connection, **message: str) -> None:
    import json

    connection.send_bytes(json.dumps(message).encode())
