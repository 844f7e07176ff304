"""Lists of very many jobs: few statements, none of which reads the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.utils import quote
from django.db import connections
from django.test import Client
from pytest_django import DjangoDbBlocker

from benchmarks.many_jobs import fill
from dataqueue_django import get_queue
from dataqueue_django.models import CronSchedule, Job, Token
from tests.admin.pages import LIST, ids_in, staff, statements
from tests.provision import miss
from tests.stores.tables import empty

ROWS = {"default": 20_000, "postgres": 200_000}
MOST_STATEMENTS = 8
NOW = datetime(2030, 1, 1, tzinfo=UTC)

LISTS = {
    "first page": "",
    **{f"status {word}": f"?status={word}" for word in (
        "pending", "processing", "waiting", "completed", "failed", "cancelled")},
    "busy queue": "?queue=default",
    "rare queue": "?queue=rare",
    "no such queue": "?queue=none",
    "busy type": "?job_type=type-1",
    "rare type": "?job_type=rare",
    "status of a queue": "?status=failed&queue=mail",
    "status of a type": "?status=failed&job_type=type-7",
    "id": "?q=4711",
    "typed type": "?q=type-1",
    "rare typed type": "?q=type:rare",
    "key": "?q=key:order-1234",
    "short key": "?q=o",
    "common tag": "?q=tag:common",
    "rare tag": "?q=tag:rare",
    "deep page": "?after=10000",
    "deep page of a status": "?after=10000&status=failed",
    "page before": "?before=10000",
    "last page": "?before=",
    "last page of a queue": "?before=&queue=mail",
    "last page of a tag": "?before=&q=tag:common",
}  # fmt: skip


UNLIMITED = {f"SCAN dataqueue_{table}" for table in ("job", "jobevent", "step", "joblog", "crontick")}

LEFT_BY_HANDLERS = (
    "INSERT INTO dataqueue_step (job_id, kind, name, created_at, claim_seq, attempt) "
    "SELECT id, 'step', 'charge', created_at, 1, 1 FROM dataqueue_job",
    "INSERT INTO dataqueue_joblog (job_id, created_at, level, logger, message, claim_seq, attempt) "
    "SELECT id, created_at, 'INFO', 'shop', 'paid', 1, 1 FROM dataqueue_job",
    "INSERT INTO dataqueue_token (id, job_id, status, created_at, completed_by) "
    "SELECT 'wp_' || id, id, 'waiting', created_at, '' FROM dataqueue_job",
    "INSERT INTO dataqueue_crontick (schedule_id, tick_at, outcome, job_id, actor, created_at) "
    "SELECT id % 7, created_at, 'by_hand', id, '', created_at FROM dataqueue_job",
)
TABLES = ("job", "jobtag", "jobevent", "step", "joblog", "token", "crontick")


@pytest.fixture(scope="module", params=["default", "postgres"])
def full(request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The alias of a database with very many jobs; gone again after this module."""
    alias: str = request.param
    if alias not in django_settings.DATABASES:
        miss("PostgreSQL is missing")
    with django_db_blocker.unblock():
        empty(alias)
        fill(alias, ROWS[alias])
        with connections[alias].cursor() as cursor:
            for statement in LEFT_BY_HANDLERS:
                cursor.execute(statement)
            for table in TABLES:
                cursor.execute(f"ANALYZE dataqueue_{table}")
        yield alias
        empty(alias)
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(f"VACUUM ANALYZE {', '.join(f'dataqueue_{table}' for table in TABLES)}")


@pytest.fixture
def browser(full: str, db: None, settings: Any) -> Client:
    """A browser of somebody with every permission by name, which costs more statements than being a superuser."""
    settings.DATAQUEUE = {"default": {"OPTIONS": {"DATABASE": full}}}
    found = Client()
    seen = ("view_job", "view_jobevent", "view_step", "view_joblog", "view_token", "view_crontick", "view_cronschedule")
    found.force_login(staff(*seen, "retry_job", "cancel_job", "pause_job", "delete_job"))
    return found


pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.mark.parametrize("query", LISTS.values(), ids=LISTS)
def test_a_list_is_cheap(browser: Client, full: str, query: str) -> None:
    with statements() as sent:
        answer = browser.get(LIST + query)
    assert answer.status_code == 200
    assert len(sent) <= MOST_STATEMENTS
    for sql, params in [(sql, params) for alias, sql, params in sent if "dataqueue_job" in sql]:
        assert scans(full, sql, params) == set(), sql


@pytest.mark.parametrize("query", ["", "?job=4711", "?q=4711", "?after=10000", "?before="])
def test_a_list_of_events_is_cheap(browser: Client, full: str, query: str) -> None:
    with statements() as sent:
        answer = browser.get(f"/admin/dataqueue/jobevent/{query}")
    assert answer.status_code == 200
    assert len(sent) <= MOST_STATEMENTS
    for sql, params in [(sql, params) for alias, sql, params in sent if "dataqueue_jobevent" in sql]:
        assert scans(full, sql, params) == set(), sql


@pytest.mark.parametrize("query", ["", "?job=4711", "?q=4711", "?after=10000", "?before="])
@pytest.mark.parametrize("name", ["step", "joblog", "token"])
def test_a_list_of_what_handlers_left_is_cheap(browser: Client, full: str, name: str, query: str) -> None:
    with statements() as sent:
        answer = browser.get(f"/admin/dataqueue/{name}/{query}")
    assert answer.status_code == 200
    assert_cheap(full, sent)


@pytest.mark.parametrize("query", ["?q=wp_4711", "?after=wp_2"])
def test_a_list_of_tokens_is_cheap(browser: Client, full: str, query: str) -> None:
    with statements() as sent:
        answer = browser.get(f"/admin/dataqueue/token/{query}")
    assert answer.status_code == 200
    assert_cheap(full, sent)


@pytest.mark.parametrize("query", ["", "?schedule=3", "?after=10000", "?before=", "?schedule=3&before="])
def test_a_list_of_ticks_is_cheap(browser: Client, full: str, query: str) -> None:
    with statements() as sent:
        answer = browser.get(f"/admin/dataqueue/crontick/{query}")
    assert answer.status_code == 200
    assert len(ids_in(answer)) == 50
    assert_cheap(full, sent)


def test_a_page_of_a_schedule_is_cheap(browser: Client, full: str) -> None:
    CronSchedule.objects.using(full).create(
        pk=3, schedule_name="s", job_type="t", every_ms=60_000, created_at=NOW, updated_at=NOW
    )
    with statements() as sent:
        answer = browser.get("/admin/dataqueue/cronschedule/3/change/")
    assert "All ticks, there are more" in answer.content.decode()
    assert_cheap(full, sent)


@pytest.mark.parametrize("name", ["job", "token"])
def test_a_page_is_cheap(browser: Client, full: str, name: str) -> None:
    job_id = get_queue().get_jobs(limit=1)[0].id
    token = Token.objects.using(full).get(job_id=job_id).pk
    Job.objects.using(full).filter(pk=job_id).update(
        status="waiting", wait_token_id=token, ready_at=None, stage=None, finished_at=None
    )
    with statements() as sent:
        answer = browser.get(f"/admin/dataqueue/{name}/{quote(job_id if name == 'job' else token)}/change/")
    assert answer.status_code == 200
    assert str(job_id) in answer.content.decode()
    assert_cheap(full, sent, most=14)


def assert_cheap(full: str, sent: list[tuple[str, str, Any]], most: int = MOST_STATEMENTS) -> None:
    assert len(sent) <= most
    for sql, params in [(sql, params) for alias, sql, params in sent if "dataqueue_" in sql]:
        assert scans(full, sql, params) - {"dataqueue_worker", "dataqueue_cronschedule"} == set(), sql


def test_rows_are_counted_to_ten_thousand(browser: Client) -> None:
    assert "10\u00a0000+ jobs" in browser.get(LIST).content.decode()
    assert ">2 jobs<" in browser.get(f"{LIST}?queue=rare").content.decode()


def test_following_next_to_the_end_meets_every_job_once(browser: Client) -> None:
    seen: list[int] = []
    query: str | None = "?status=failed&queue=mail"
    while query is not None:
        answer = browser.get(LIST + query)
        seen += ids_in(answer)
        query = answer.context["cl"].older
    assert len(seen) > 50
    assert seen == sorted(set(seen), reverse=True)
    last = browser.get(f"{LIST}?status=failed&queue=mail&before=")
    assert ids_in(last) == seen[-50:]
    before = browser.get(LIST + last.context["cl"].newer)
    assert ids_in(before) == seen[-100:-50]


def scans(alias: str, sql: str, params: Any) -> set[str]:
    """Return the tables that a statement reads from one end to the other."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            answer = cursor.fetchone()[0]
            [plan] = json.loads(answer) if isinstance(answer, str) else answer
            return {
                node["Relation Name"]
                for node in walk(plan["Plan"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("dataqueue_")
            }
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        lines = {row[3] for row in cursor.fetchall()}
        # Without a condition this is SQLite's word for walking the primary key, which a limit ends.
        return {line for line in lines if line in UNLIMITED and "WHERE" in sql}


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)
