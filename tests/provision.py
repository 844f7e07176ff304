"""Give the test run its databases, before Django's settings are read.

Loaded by ``-p tests.provision``, since pytest-django reads the settings module before the first conftest.py.
What is found or started is handed to ``tests.settings`` (and to xdist's workers) in environment variables.

``DATABASE_URL`` names a PostgreSQL to use; without it a private one is started and ends with the run. If
there is none, tests on PostgreSQL are skipped, which the first and the last lines of the output say; where
services are required (``CI`` or ``REQUIRE_SERVICES=1`` is set) it is an error.

``TEST_DATABASE_VARIANT`` is the way the databases are set up (``tests.variants``).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import NoReturn

import pytest

from tests.pgbouncer import PgBouncer
from tests.postgres_binaries import Unavailable
from tests.postgres_server import PostgresServer
from tests.private_folder import PrivateFolder
from tests.variants import VARIANT

SQLITE_FILE = "TEST_SQLITE_FILE"
POSTGRES_URL = "TEST_POSTGRES_URL"
POSTGRES_MISSING = "TEST_POSTGRES_MISSING"

about = pytest.StashKey[str]()
OPTIONS_THAT_RUN_NOTHING = (
    "help",
    "version",
    "collectonly",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
)


def services_required() -> bool:
    """Whether a missing service is an error and no reason to skip."""
    return any(os.environ.get(name, "").lower() not in {"", "0", "false"} for name in ("CI", "REQUIRE_SERVICES"))


def miss(reason: str) -> NoReturn:
    """Skip the running test for want of a service, or fail it where services are required."""
    if services_required():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    _hear_interruptions()
    # A wrapper runs ahead of pytest-django's implementation, which imports the settings.
    options = early_config.known_args_namespace
    if not any(getattr(options, name, False) for name in OPTIONS_THAT_RUN_NOTHING):
        _provide(early_config)
    return (yield)


def pytest_report_header(config: pytest.Config) -> str | None:
    return config.stash.get(about, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if reason := os.environ.get(POSTGRES_MISSING):
        terminalreporter.section("PostgreSQL was not tested", red=True)
        terminalreporter.line(reason)


def _hear_interruptions() -> None:
    """Undo what a shell does to what it starts in the background: a process that ignores Ctrl+C hands that on.

    Tests interrupt the processes that they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _provide(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # the controller has provided, and its environment is inherited
    for name in (POSTGRES_URL, POSTGRES_MISSING):
        os.environ.pop(name, None)
    folder = PrivateFolder("dataqueue-tests-")
    config.add_cleanup(folder.remove)
    os.environ[SQLITE_FILE] = str(folder.path / "test.sqlite3")
    config.stash[about] = f"databases: {VARIANT}; PostgreSQL: {_provide_postgres(config)}"


def _provide_postgres(config: pytest.Config) -> str:
    """Put PostgreSQL's address, or why there is none, into the environment; return a description."""
    if url := os.environ.get("DATABASE_URL"):
        if not url.startswith(("postgresql://", "postgres://")):
            raise pytest.UsageError("DATABASE_URL must name a PostgreSQL: postgresql://user:password@host/database")
        if VARIANT == "pgbouncer":
            raise pytest.UsageError("the variant pgbouncer has a PostgreSQL of its own; unset DATABASE_URL")
        os.environ[POSTGRES_URL] = url
        return "given by DATABASE_URL"
    server = PostgresServer()
    config.add_cleanup(server.close)
    try:
        server.start()
        os.environ[POSTGRES_URL] = _bounced(config, server) if VARIANT == "pgbouncer" else server.url
    except Unavailable as error:
        if services_required():
            raise pytest.UsageError(f"PostgreSQL is required and could not be started: {error}") from None
        os.environ[POSTGRES_MISSING] = str(error)
        return f"MISSING, its tests are skipped: {error}"
    return server.about


def _bounced(config: pytest.Config, server: PostgresServer) -> str:
    """Put PgBouncer in front of the server and return the address."""
    bouncer = PgBouncer(server.url)
    bouncer.start()
    config.add_cleanup(bouncer.close)
    return bouncer.url
