"""A private PgBouncer in transaction mode, in front of a PostgreSQL of the test run's own.

``TEST_PGBOUNCER`` names the program; without it the PATH and the folder of system programs are searched.
``.ci/pgbouncer`` fetches one on a machine that has none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.postgres_binaries import Account, Unavailable, server_account
from tests.postgres_server import START_TIMEOUT, STOP_TIMEOUT, free_port
from tests.private_folder import PrivateFolder

PROGRAM = "TEST_PGBOUNCER"

# Few connections to the server, so that clients do share them, and one that was just given back is handed out next.
CONFIGURATION = """\
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
pidfile = {folder}/pgbouncer.pid
auth_type = scram-sha-256
auth_file = {folder}/accounts
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
"""


class PgBouncer:
    """One PgBouncer and its private folder; ``close`` ends both."""

    def __init__(self, server_url: str) -> None:
        self._server = urlsplit(server_url)
        self._account: Account = {}
        self._private: PrivateFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The server's address by way of PgBouncer."""
        return self._server._replace(netloc=f"{self._server.netloc.rpartition(':')[0]}:{self.port}").geturl()

    def start(self) -> None:
        """Start it and wait until it answers; raises ``Unavailable`` when it cannot be started."""
        program = find_pgbouncer()
        self._account = server_account()  # like PostgreSQL it refuses to run as root
        self._private = PrivateFolder("dataqueue-pgbouncer-", pid_file="pgbouncer.pid")
        self.port = free_port()
        folder = self._private.path
        self._hand_over(folder)
        self._write("accounts", f'"{self._server.username}" "{self._server.password}"\n')
        self._write(
            "pgbouncer.ini",
            CONFIGURATION.format(host=self._server.hostname, port=self._server.port, own_port=self.port, folder=folder),
        )
        with (folder / "log").open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    [program, folder / "pgbouncer.ini"],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **self._account,
                )
            except (OSError, subprocess.SubprocessError) as error:
                self.close()
                raise Unavailable(f"PgBouncer: {error}") from None
        self._wait_for_an_answer(folder / "log")

    def close(self) -> None:
        """End it and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT)
        if self._private is not None:
            self._private.remove()
        self._process = self._private = None

    def _wait_for_an_answer(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        said = log.read_text(errors="replace")[-600:].strip()
        self.close()
        raise Unavailable(f"PgBouncer did not come up: {said}")

    def _write(self, name: str, text: str) -> None:
        assert self._private is not None
        path = self._private.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        self._hand_over(path)

    def _hand_over(self, path: Path) -> None:
        if "user" in self._account:
            shutil.chown(path, self._account["user"], self._account["group"])


def find_pgbouncer() -> Path:
    """Return the program; raises ``Unavailable`` when there is none."""
    given = os.environ.get(PROGRAM)
    found: Any = given or shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if not found or not os.access(found, os.X_OK):
        where = (
            f"{PROGRAM} names {given}, which is no program" if given else f"it is not installed; {PROGRAM} names one"
        )
        raise Unavailable(f"PgBouncer is missing: {where}")
    return Path(found)
