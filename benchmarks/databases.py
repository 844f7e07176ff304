"""Scratch databases: one that is made ready once, and copies of it, each used for one measurement and thrown away.

So the worker and the raw loop begin with the same bytes on disk, indexes and storage options included.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from tests.postgres_server import PostgresServer
from tests.private_folder import PrivateFolder

from .raw import connect

ROOT = Path(__file__).resolve().parent.parent
STORES = ("sqlite", "postgres")
LONGEST = 600
"""Seconds after which a process that is measured is taken to be stuck."""


class Databases(Protocol):
    """The scratch databases of one store."""

    store: str
    template: str
    """The address of the database that is copied."""

    def about(self) -> str:
        """Return what is measured, for people to read."""

    def copy(self) -> contextlib.AbstractContextManager[str]:
        """Return a context whose value is the address of a fresh copy of the template."""


@contextlib.contextmanager
def scratch(store: str, url: str | None = None) -> Iterator[Databases]:
    """Provide migrated scratch databases, and remove them in the end.

    PostgreSQL is a private server with its own safe settings, or the one at `url`, where only databases made here are
    touched.
    """
    with contextlib.ExitStack() as stack:
        if store == "sqlite":
            databases: Databases = stack.enter_context(_sqlite())
        else:
            server = url or stack.enter_context(PostgresServer(durable=True)).url
            databases = stack.enter_context(_postgres(server))
        run(databases.template, "-m", "django", "migrate", "--verbosity", "0")
        if store == "sqlite":
            connect(databases.template).close()  # leaves it in the mode in which every worker leaves its file: WAL
        yield databases


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python process on a database, as from the command line; the caller reads its output and ends it."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "BENCHMARK_DATABASE_URL": url,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(url: str, *arguments: str) -> str:
    """Run a Python process on a database and return what it printed; raises RuntimeError when it fails."""
    process = start(url, *arguments)
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"{' '.join(arguments)} took over {LONGEST} s:\n{process.communicate()[1]}") from None
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}:\n{out}{err}")
    return out


def versions(databases: Databases) -> str:
    """Return one line on everything that matters for the figures."""
    names = (
        ("dataqueue-django", "django", "psycopg") if databases.store == "postgres" else ("dataqueue-django", "django")
    )
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{databases.about()}; Python {platform.python_version()}, {packages}; {os.cpu_count()} cores"


@contextlib.contextmanager
def _sqlite() -> Iterator[Databases]:
    folder = PrivateFolder("dataqueue-benchmark-")
    try:
        yield _Sqlite(folder.path)
    finally:
        folder.remove()


class _Sqlite:
    store = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._path = folder / "template.sqlite3"
        self.template = f"sqlite:///{quote(str(self._path))}"

    def about(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}, WAL"

    @contextlib.contextmanager
    def copy(self) -> Iterator[str]:
        path = self._folder / f"copy-{next(self._numbers)}.sqlite3"
        shutil.copyfile(self._path, path)
        try:
            yield f"sqlite:///{quote(str(path))}"
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()


@contextlib.contextmanager
def _postgres(server: str) -> Iterator[Databases]:
    databases = _Postgres(server)
    databases.make(databases.name)
    try:
        yield databases
    finally:
        databases.drop(databases.name)


class _Postgres:
    store = "postgres"

    def __init__(self, server: str) -> None:
        self._server = server
        self._numbers = itertools.count()
        self.name = f"dataqueue_benchmark_{secrets.token_hex(4)}"
        self.template = self._url(self.name)

    def about(self) -> str:
        with psycopg.connect(self._server) as connection:
            names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
            release, *rest = [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]  # type: ignore[index]
            return f"PostgreSQL {release}, " + ", ".join(f"{k} {v}" for k, v in zip(names[1:], rest, strict=True))

    @contextlib.contextmanager
    def copy(self) -> Iterator[str]:
        name = f"{self.name}_{next(self._numbers)}"
        self.make(name, template=self.name)
        try:
            yield self._url(name)
        finally:
            self.drop(name)

    def make(self, name: str, template: str = "template1") -> None:
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))

    def drop(self, name: str) -> None:
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement)

    def _url(self, name: str) -> str:
        return urlsplit(self._server)._replace(path=f"/{name}").geturl()
