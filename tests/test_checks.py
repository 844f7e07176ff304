"""System checks: each mistake of the first hour and of the settings is named, with the line that cures it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connections
from django.test.utils import override_settings
from django.utils import timezone

from dataqueue_django import get_queue, job
from dataqueue_django.checks import code, databases
from dataqueue_django.conf import DEFAULT
from dataqueue_django.domain.records import Worker
from dataqueue_django.stores.orm import facts
from tests.harness.workers import PATIENCE, ROOT

ORM = "dataqueue_django.stores.orm.OrmStore"
PAGE = ROOT / "docs" / "checks.md"


@job("checks.known")
def known() -> None: ...


def messages(id: str, alias: str | None = None) -> list[CheckMessage]:
    """The messages with an id; those that read databases run only with an alias."""
    found = run_checks(tags=["dataqueue"], databases=[alias] if alias else [])
    return [message for message in found if message.id == f"dataqueue.{id}"]


def the(id: str, alias: str | None = None) -> CheckMessage:
    """The one message with an id."""
    [message] = messages(id, alias)
    assert message.hint
    return message


@pytest.fixture
def options(any_alias: str) -> Iterator[dict[str, Any]]:
    """What DATABASES says of the alias, to be changed; put back after the test."""
    connection = connections[any_alias]
    before = connection.settings_dict
    connection.settings_dict = {**before, "OPTIONS": dict(before.get("OPTIONS", {}))}
    yield connection.settings_dict
    connection.settings_dict = before


def only(alias: str, settings: Any, **keys: Any) -> None:
    """Make DATAQUEUE one queue in the database `alias`."""
    settings.DATAQUEUE = {"default": {"OPTIONS": {"DATABASE": alias}, "OUTSIDE_TRANSACTION": "warn", **keys}}


@pytest.mark.django_db(databases="__all__")
def test_a_project_without_mistakes_hears_nothing(settings: Any) -> None:
    assert run_checks(tags=["dataqueue"], databases=list(settings.DATABASES)) == []
    settings.DATAQUEUE = DEFAULT
    assert run_checks(tags=["dataqueue"], databases=[]) == []


def test_no_check_asks_a_database_unless_told_to() -> None:
    """pytest-django raises for any query here."""
    run_checks(tags=["dataqueue"], databases=[])


# -- settings


class Elsewhere:
    """A router that makes the queue's tables nowhere."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return False if app_label == "dataqueue" else None


class ReadsElsewhere:
    """A router that reads the queue's models from a database that holds no queue."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "other" if model._meta.app_label == "dataqueue" else None


@pytest.mark.parametrize(
    ("router", "text"),
    [
        (Elsewhere, r"keep the queue's tables out of 'default', where DATAQUEUE\['default'\] has them"),
        (ReadsElsewhere, r"read from 'other', but DATAQUEUE\['default'\] has its tables in 'default'"),
    ],
)
def test_routers_that_send_the_tables_elsewhere(settings: Any, router: type, text: str) -> None:
    settings.DATAQUEUE = DEFAULT
    settings.DATABASE_ROUTERS = [router()]
    message = the("E003")
    assert re.search(text, message.msg)
    assert "dataqueue_django.routers.QueueRouter" in str(message.hint)


def test_our_router_is_fine(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["dataqueue_django.routers.QueueRouter"]
    assert messages("E003") == []


def test_a_queue_in_another_database_has_to_be_chosen(settings: Any) -> None:
    other = next((alias for alias in settings.DATABASES if alias != "default"), None)
    if other is None:
        pytest.skip("there is only one database")
    settings.DATAQUEUE = {"default": {"OPTIONS": {"DATABASE": other}}}
    settings.DATABASE_ROUTERS = ["dataqueue_django.routers.QueueRouter"]
    message = the("W010")
    assert "OUTSIDE_TRANSACTION" in str(message.hint)
    assert "ATOMIC_REQUESTS" not in message.msg
    changed = {**connections.settings["default"], "ATOMIC_REQUESTS": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connections.settings, "default", changed)
        assert "ATOMIC_REQUESTS" in the("W010").msg
    for word in ("allow", "warn", "refuse"):
        only(other, settings, OUTSIDE_TRANSACTION=word)
        assert messages("W010") == []


@pytest.mark.parametrize("mode", [None, "DEFERRED", "deferred"])
def test_sqlite_transactions_that_begin_deferred(options: dict[str, Any], any_alias: str, mode: str | None) -> None:
    options["OPTIONS"]["transaction_mode"] = mode
    found = messages("W001")
    assert len(found) == (connections[any_alias].vendor == "sqlite")
    if found:
        assert 'DATABASES[\'default\']["OPTIONS"]["transaction_mode"] = "IMMEDIATE"' in str(found[0].hint)
    options["OPTIONS"]["transaction_mode"] = "immediate"
    assert messages("W001") == []


@pytest.mark.parametrize("any_alias", ["default"], indirect=True)
def test_sqlite_with_a_short_timeout(options: dict[str, Any]) -> None:
    options["OPTIONS"]["timeout"] = 4.5
    assert "wait only 4.5 s" in the("W002").msg
    options["OPTIONS"]["timeout"] = 5
    assert messages("W002") == []


@pytest.mark.parametrize("any_alias", ["default"], indirect=True)
@pytest.mark.parametrize("name", [":memory:", "file:mine?mode=memory&cache=shared"])
def test_sqlite_in_memory(options: dict[str, Any], name: str) -> None:
    options["NAME"] = name
    assert "DATABASES['default'][\"NAME\"]" in str(the("W004").hint)


@pytest.mark.parametrize("any_alias", ["default"], indirect=True)
def test_the_databases_of_test_runs_may_be_in_memory(options: dict[str, Any]) -> None:
    options["NAME"] = "file:memorydb_default?mode=memory&cache=shared"
    assert messages("W004") == []


@pytest.mark.parametrize("any_alias", ["postgres"], indirect=True)
@pytest.mark.parametrize("sign", [{"PORT": "6432"}, {"PORT": 6432}, {"DISABLE_SERVER_SIDE_CURSORS": True}])
def test_pgbouncer_with_listen_or_prepared_statements(options: dict[str, Any], settings: Any, sign: Any) -> None:
    options.update(sign)
    only("postgres", settings)
    assert '{"LISTEN": False, "PREPARED_STATEMENTS": False}' in str(the("W005").hint)
    only("postgres", settings, WORKER={"LISTEN": False})
    assert messages("W005")
    only("postgres", settings, WORKER={"LISTEN": False, "PREPARED_STATEMENTS": False})
    assert messages("W005") == []


@pytest.mark.parametrize("any_alias", ["postgres"], indirect=True)
def test_isolation_above_read_committed(options: dict[str, Any]) -> None:
    from psycopg import IsolationLevel

    for level in (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE, 4):
        options["OPTIONS"]["isolation_level"] = level
        assert "isolation_level" in str(the("W006").hint)
    options["OPTIONS"]["isolation_level"] = IsolationLevel.READ_COMMITTED
    assert messages("W006") == []


@pytest.mark.parametrize("any_alias", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("pool", "size"), [(True, 4), ({"min_size": 2}, 2), ({"max_size": 7}, 7), ({"min_size": 2, "max_size": 3}, 3)]
)
def test_a_pool_smaller_than_the_concurrency(options: dict[str, Any], settings: Any, pool: Any, size: int) -> None:
    options["OPTIONS"]["pool"] = pool
    only("postgres", settings, WORKER={"CONCURRENCY": 8})
    assert f"has {size} connections: {8 - size} handlers" in the("W008").msg
    only("postgres", settings, WORKER={"CONCURRENCY": size})
    assert messages("W008") == []


def test_templates_that_are_not_found_in_apps(settings: Any) -> None:
    [engine] = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "APP_DIRS": False}]
    assert "APP_DIRS" in str(the("W014").hint)
    loaders = [("django.template.loaders.cached.Loader", ["django.template.loaders.app_directories.Loader"])]
    settings.TEMPLATES = [{**engine, "APP_DIRS": False, "OPTIONS": {**engine["OPTIONS"], "loaders": loaders}}]
    assert messages("W014") == []


def test_handlers_that_cannot_be_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    @job("checks.local", isolate=True)
    def local() -> None: ...

    assert messages("W015") == []
    found = run_checks(tags=["dataqueue"], include_deployment_checks=True, databases=[])
    [message] = [message for message in found if message.id == "dataqueue.W015" and "'checks.local'" in message.msg]
    assert "jobs.py" in str(message.hint)
    monkeypatch.setattr(local.handler.function, "__module__", "__main__")
    assert "program that was started" in messages("W015")[0].msg


def test_without_the_admin(settings: Any) -> None:
    with override_settings(INSTALLED_APPS=[a for a in settings.INSTALLED_APPS if a != "django.contrib.admin"]):
        message = the("I001")
        assert messages("W014") == []
    assert not message.is_serious(20 + 1)
    assert messages("I001") == []


def test_messages_can_be_silenced(settings: Any) -> None:
    settings.SILENCED_SYSTEM_CHECKS = ["dataqueue.I001"]
    with override_settings(INSTALLED_APPS=[a for a in settings.INSTALLED_APPS if a != "django.contrib.admin"]):
        assert the("I001").is_silenced()


# -- code


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from dataqueue_django import job\n@job\ndef a(): ...\n@job('x')\nasync def b(): ...", ["a", "b"]),
        ("from dataqueue_django import job as work\n@work\ndef a(): ...", ["a"]),
        ("import dataqueue_django\n@dataqueue_django.job(priority=3)\ndef a(): ...", ["a"]),
        ("import dataqueue_django as d\n@d.job\ndef a(): ...", ["a"]),
        ("from dataqueue_django.queue import job\n@job\ndef a(): ...", ["a"]),
        ("from elsewhere import job  # not dataqueue_django\n@job\ndef a(): ...", []),
        ("from dataqueue_django import job, get_queue\ndef a(): job", []),
        ("import dataqueue_django\n@@", []),
        ("import dataqueue_django \x00", []),
        ("", []),
    ],
)
def test_handlers_are_seen_without_running_anything(tmp_path: Path, text: str, names: list[str]) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(text)
    assert code.handlers_in(file) == names
    assert code.handlers_in(tmp_path) == code.handlers_in(tmp_path / "missing.py") == []


SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
INSTALLED_APPS = ["dataqueue_django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
SILENCED_SYSTEM_CHECKS = ["dataqueue.I001"]
"""
HANDLER = "from dataqueue_django import job\n\n@job\ndef send(): ...\n"


def check(folder: Path, files: dict[str, str], *, settings: str = SETTINGS) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check` in a fresh project that consists of these files."""
    for name, text in {"site1/__init__.py": "", "site1/settings.py": settings, "shop/__init__.py": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "check", "--settings", "site1.settings"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("file", "module", "cure"),
    [
        ("shop/tasks.py", "shop.tasks", "Move them to shop/jobs.py"),
        ("shop/handlers.py", "shop.handlers", "Move them to shop/jobs.py"),
        ("shop/jobs/mail.py", "shop.jobs.mail", "Import the module in shop/jobs/__init__.py"),
        ("site1/jobs.py", "site1.jobs", "add 'site1' to INSTALLED_APPS"),
    ],
)
def test_handlers_that_nobody_imports(tmp_path: Path, file: str, module: str, cure: str) -> None:
    files = {file: HANDLER, **({"shop/jobs/__init__.py": ""} if "/jobs/" in file else {})}
    done = check(tmp_path, files)
    assert "dataqueue.W011" in done.stderr, done
    assert f"{module} has handlers (send)" in done.stderr
    assert cure in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    "files",
    [
        {"shop/jobs.py": HANDLER},
        {"shop/jobs.py": "from . import tasks", "shop/tasks.py": HANDLER},
        {"shop/jobs/__init__.py": "from . import mail", "shop/jobs/mail.py": HANDLER},
        {"shop/tasks.py": "def send(): ..."},
    ],
)
def test_handlers_that_are_imported(tmp_path: Path, files: dict[str, str]) -> None:
    done = check(tmp_path, files)
    assert "no issues" in done.stdout, done


def test_a_jobs_module_that_fails_says_so_itself(tmp_path: Path) -> None:
    done = check(tmp_path, {"shop/jobs.py": "import no_such_module"})
    assert done.returncode == 1
    assert "No module named 'no_such_module'" in done.stderr


def test_the_app_named_twice(tmp_path: Path) -> None:
    twice = SETTINGS.replace('"shop"', '"dataqueue_django.apps.DataQueueConfig"')
    done = check(tmp_path, {}, settings=twice)
    assert done.returncode == 1
    assert "aren't unique" in done.stderr


def test_the_app_not_installed(tmp_path: Path) -> None:
    missing = SETTINGS.replace('"dataqueue_django", ', "")
    text = "from django.apps import AppConfig\nclass Shop(AppConfig):\n    name = 'shop'\n    def ready(self):\n"
    text += "        from dataqueue_django import get_queue\n        get_queue()\n"
    done = check(tmp_path, {"shop/apps.py": text}, settings=missing)
    assert done.returncode == 1
    assert "add 'dataqueue_django' to INSTALLED_APPS" in done.stderr


# -- databases


@pytest.fixture
def waiting(any_alias: str, settings: Any) -> str:
    """A queue in the database of the alias, in which a job has waited for ten minutes."""
    only(any_alias, settings)
    get_queue().add_job("checks.known", run_at=timezone.now() - timedelta(minutes=10))
    return any_alias


def worker(**given: Any) -> Worker:
    """Register a worker that is alive."""
    return get_queue().store.put(Worker(label="w", **{"job_types": ("checks.known",), **given}))


def test_ready_jobs_and_no_worker(waiting: str) -> None:
    message = the("W012", waiting)
    assert re.search(r"1 job has been ready for up to 10 min in DATAQUEUE\['default'\]", message.msg)
    assert "manage.py dataqueue_worker" in str(message.hint)
    assert messages("W012") == []
    worker()
    assert messages("W012", waiting) == []


def test_a_worker_that_fell_silent_is_none(waiting: str) -> None:
    worker()
    store = get_queue().store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "now", lambda: timezone.now() + timedelta(minutes=1))
        assert the("W012", waiting)


def test_jobs_that_wait_for_a_moment_are_no_trouble(any_alias: str, settings: Any) -> None:
    only(any_alias, settings)
    get_queue().add_job("checks.known")
    assert messages("W012", any_alias) == []


def test_a_queue_that_no_worker_takes(waiting: str) -> None:
    worker(queues=("mail",))
    assert "'default'" in the("W012", waiting).msg


def test_a_job_type_that_no_worker_knows(waiting: str) -> None:
    worker(job_types=("other",))
    message = the("W013", waiting)
    assert "'checks.known'" in message.msg
    assert "restart the workers" in str(message.hint)
    get_queue().add_job("nobody.knows", run_at=timezone.now() - timedelta(minutes=2), allow_unknown=True)
    assert "jobs.py" in str(the("W013", waiting).hint)
    assert "'nobody.knows'" in the("W013", waiting).msg


def test_tables_that_are_not_there_are_the_business_of_migrate(waiting: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(type(get_queue().store), "problem", lambda self: "no table")
    assert messages("W012", waiting) == []


def test_a_database_that_is_away_is_no_check_s_business(waiting: str, monkeypatch: Any) -> None:
    from django.db import OperationalError

    def gone(self: Any, **_: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(type(get_queue().store), "backlogs", gone)
    assert messages("W012", waiting) == []


@pytest.mark.django_db
def test_sqlite_without_wal(settings: Any, monkeypatch: Any) -> None:
    only("default", settings)
    monkeypatch.setattr(databases, "journal_mode", lambda connection: "delete")
    assert messages("W003", "default") == []  # the first worker will switch it
    worker()
    assert "network share" in str(the("W003", "default").hint)
    only("default", settings, WORKER={"WAL": False})
    assert "journal_mode=WAL" in str(the("W003", "default").hint)
    monkeypatch.setattr(databases, "journal_mode", lambda connection: "wal")
    assert messages("W003", "default") == []


@pytest.mark.django_db
def test_the_journal_mode_is_read() -> None:
    assert facts.journal_mode(connections["default"]) in ("delete", "wal")


@pytest.mark.parametrize("any_alias", ["postgres"], indirect=True)
def test_what_a_server_says_about_itself(any_alias: str) -> None:
    with connections[any_alias].cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute("SET LOCAL default_transaction_isolation = 'serializable'")
    assert "synchronous_commit is off" in the("W007", any_alias).msg
    assert "default_transaction_isolation" in str(the("W006", any_alias).hint)
    assert facts.server_facts(connections[any_alias]).connections > 5


@pytest.mark.parametrize("any_alias", ["postgres"], indirect=True)
def test_more_connections_than_the_server_allows(any_alias: str, settings: Any, monkeypatch: Any) -> None:
    only(any_alias, settings)
    given = facts.server_facts(connections[any_alias])
    monkeypatch.setattr(databases, "server_facts", lambda connection: replace(given, connections=22))
    for _ in range(2):
        worker(concurrency=8)
    assert messages("W009", any_alias) == []  # 2 * (8 + 2) + 1
    worker(concurrency=8)
    message = the("W009", any_alias)
    assert "allows 22 connections, but 3 worker processes use up to 30" in message.msg
    assert "31 with only one of those" in message.msg


# -- the settings beside DATAQUEUE


def test_flat_settings_that_make_no_sense(settings: Any) -> None:
    settings.DATAQUEUE_CRON_SECONDS = "soon"
    [message] = messages("E005")
    assert message.msg == "DATAQUEUE_CRON_SECONDS is 'soon'; expected a number of at least 1."


@pytest.mark.parametrize(("secret", "told"), [("short", 1), ("x" * 15 + "\n", 1), ("x" * 16, 0), ("", 0), ("  ", 0)])
def test_a_secret_that_can_be_guessed(settings: Any, secret: str, told: int) -> None:
    settings.DATAQUEUE_CRON_SECRET = secret
    found = messages("W020")
    assert len(found) == told
    assert all(secret.strip() not in f"{message.msg}{message.hint}" for message in found)


def test_a_worker_in_runserver_is_for_development(settings: Any) -> None:
    settings.DATAQUEUE_RUNSERVER = True
    settings.DEBUG = False
    assert "DEBUG" in the("W021").msg
    settings.DEBUG = True
    assert messages("W021") == []


# -- the page


def test_the_page_lists_every_check() -> None:
    source = "".join(p.read_text() for p in sorted((ROOT / "dataqueue_django" / "checks").glob("*.py")))
    in_code = set(re.findall(r'id="dataqueue\.([EWI]\d{3})"', source))
    rows = re.findall(r"^\| `dataqueue\.([EWI]\d{3})` \| (.+) \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(in_code) == [id for id, *_ in sorted(rows)]
    assert all(meaning.strip() and cure.strip() for _, meaning, cure in rows)


def test_every_check_is_tested() -> None:
    tests = Path(__file__).read_text() + (Path(__file__).parent / "test_conf.py").read_text()
    ids = set(re.findall(r"`dataqueue\.([EWI]\d{3})`", PAGE.read_text()))
    assert {id for id in ids if f'"{id}"' not in tests and f"dataqueue.{id}" not in tests} == set()


def test_a_schedule_that_is_declared_wrongly() -> None:
    def found(said: dict[str, Any]) -> list[str]:
        with override_settings(DATAQUEUE={"default": {"SCHEDULES": {"nightly": said}}}):
            return [message.msg for message in messages("E004")]

    [unknown] = found({"job_type": "no.such", "cron": "@daily"})
    assert "The schedule 'nightly' of 'default' is declared wrongly" in unknown
    [incomplete] = found({"job_type": "harness.act", "cron": "@daily"})
    assert "payload.acts is missing" in incomplete
    assert found({"job_type": "harness.act", "cron": "@daily", "payload": {"acts": ["ok"]}}) == []
