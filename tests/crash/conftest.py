"""Fixtures of the crash tests."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.crash.forkserver import ForkServer
from tests.database_urls import url_of
from tests.harness.fixtures import alias, ledger, store, workers

__all__ = ["alias", "fork_server", "fork_servers", "ledger", "store", "workers"]


@pytest.fixture
def chance(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Random choices whose seed is printed; CRASH_SEED repeats those of a run."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    with capsys.disabled():
        print(f"\nCRASH_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def fork_servers(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], ForkServer]]:
    """Starts a fork server for a database, once: that takes seconds, a fork milliseconds."""
    with ExitStack() as stack:
        yield cache(lambda alias: stack.enter_context(ForkServer(url_of(alias), tmp_path_factory.mktemp("forks"))))


@pytest.fixture
def fork_server(fork_servers: Callable[[str], ForkServer], alias: str) -> ForkServer:
    """A server for the test's database, with an empty ledger."""
    server = fork_servers(alias)
    server.begin_anew()
    return server
