"""What the test run gives itself: databases, processes that share them, servers to maltreat."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connections

from tests.app.models import BusinessRow
from tests.database_urls import url_of
from tests.postgres_server import PostgresServer
from tests.variants import POSTGRES, SQLITE

ROOT = Path(__file__).parents[1]
READ_THE_ROW = """
import django
django.setup()
from tests.app.models import BusinessRow
from dataqueue_django.conf import queue_databases
[database] = queue_databases()
print(BusinessRow.objects.using(database).get())
"""
START_A_SERVER = """
from tests.postgres_server import PostgresServer
server = PostgresServer()
server.start()
print(server.folder, flush=True)
input()
"""


def test_each_alias_has_its_database(any_alias: str) -> None:
    Group.objects.using(any_alias).create(name="crew")
    assert Group.objects.using(any_alias).get().name == "crew"
    assert connections[any_alias].vendor == {SQLITE: "sqlite", POSTGRES: "postgresql"}[any_alias]


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_the_test_database(any_alias: str) -> None:
    BusinessRow.objects.using(any_alias).create(note="crew")
    done = subprocess.run(
        [sys.executable, "-c", READ_THE_ROW],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings_process",
            "TEST_DATABASE_URL": url_of(any_alias),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "crew"


def test_a_server_keeps_commits_and_address_whatever_ends_it(second_postgres: PostgresServer) -> None:
    address = second_postgres.url
    ends: list[Callable[[], None]] = [
        lambda: second_postgres.stop("smart"),
        lambda: second_postgres.stop("fast"),
        lambda: second_postgres.stop("immediate"),
        second_postgres.kill,
    ]
    for number, end in enumerate(ends):
        with psycopg.connect(address) as connection:
            connection.execute(f"CREATE TABLE fact_{number} ()")
        end()
        assert not second_postgres.running
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address)
        second_postgres.start()
        assert second_postgres.url == address
        with psycopg.connect(address) as connection:
            connection.execute(f"TABLE fact_{number}")


def test_a_paused_server_is_silent_until_it_resumes(second_postgres: PostgresServer) -> None:
    with psycopg.connect(second_postgres.url) as connection:
        with second_postgres.paused(), pytest.raises(psycopg.OperationalError):
            psycopg.connect(second_postgres.url, connect_timeout=2)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_takes_settings_and_is_durable_on_request() -> None:
    with PostgresServer(durable=True, settings={"work_mem": "5MB"}) as server:
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert server.running
    assert not server.running


def test_a_server_ends_with_its_killed_process() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", START_A_SERVER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        server = psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))
        owner.kill()
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
