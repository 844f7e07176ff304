"""Fixtures for all tests: the databases they run on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
from django.conf import settings

from tests.postgres_binaries import Unavailable
from tests.postgres_server import PostgresServer
from tests.provision import POSTGRES_MISSING, miss
from tests.variants import ALIASES, VARIANT

# A busy machine is no failure: an example may take as long as it takes.
hypothesis.settings.register_profile("dataqueue", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("dataqueue")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Open every database to the tests that ask for ``any_alias``, whatever else their ``django_db`` says.

    And, where the queue is kept apart from the database ``default``, to each test that uses a database.
    """
    for item in items:
        given = item.get_closest_marker("django_db")
        if "any_alias" in getattr(item, "fixturenames", ()) or (given and VARIANT == "separate"):
            options = {"databases": "__all__", **(given.kwargs if given else {})}
            item.add_marker(pytest.mark.django_db(**options), append=False)


@pytest.fixture(params=ALIASES)
def any_alias(request: pytest.FixtureRequest) -> str:
    """Run the test on each database in turn; the value is the alias of the database and of the queue in it."""
    alias: str = request.param
    if alias not in settings.DATABASES:
        miss(f"PostgreSQL is missing: {os.environ.get(POSTGRES_MISSING)}")
    return alias


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Leave the test database to the end of its server where PgBouncer holds connections to it."""
    return django_db_keepdb or VARIANT == "pgbouncer"


@pytest.fixture
def second_postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL of the test's own, to stop, kill, pause and start again."""
    server = PostgresServer()
    try:
        server.start()
    except Unavailable as error:
        miss(f"PostgreSQL is missing: {error}")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def forget_handlers() -> Iterator[None]:
    """Forget the handlers that a test defined, so that the next may use the names again."""
    from dataqueue_django.handlers import registry  # once Django is set up

    known = set(registry.types())
    yield
    for added in set(registry.types()) - known:
        registry.remove(added)
