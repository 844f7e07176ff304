"""The DATAQUEUE setting: what is wrong with it is said in one sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections

from dataqueue_django import conf
from dataqueue_django.exceptions import ConfigurationError
from dataqueue_django.queue import get_queue
from dataqueue_django.routers import QueueRouter
from dataqueue_django.stores import stores


def test_nothing_needs_to_be_set(settings: Any) -> None:
    del settings.DATAQUEUE
    conf.settings_for.cache_clear()
    settings_of_default = conf.settings_for("default")
    assert settings_of_default.options == {"DATABASE": "default"}
    assert settings_of_default.worker.concurrency == 3
    assert get_queue().alias == "default"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ([], r"DATAQUEUE is \[\]; expected a Mapping"),
        ({"default": 3}, r"DATAQUEUE\['default'\] is 3; expected a Mapping"),
        ({"default": {"STORE": "x"}}, r"DATAQUEUE\['default'\] has the unknown key 'STORE'"),
        ({"default": {"WORKR": {}}}, r"unknown key 'WORKR'. Did you mean 'WORKER'\?"),
        ({"default": {"WORKER": {"CONCURENCY": 3}}}, r"Did you mean 'CONCURRENCY'\?"),
        ({"default": {"WORKER": {"LEASE": "30"}}}, r"\['WORKER'\]\['LEASE'\] is '30'; expected a number"),
        ({"default": {"WORKER": {"LEASE": True}}}, r"\['LEASE'\] is True; expected a number"),
        ({"default": {"WORKER": {"WAL": 1}}}, r"\['WAL'\] is 1; expected True or False"),
        ({"default": {"WORKER": {"ISOLATE_QUEUES": "uploads"}}}, r"is 'uploads'; expected a list of names"),
        ({"default": {"WORKER": {"ISOLATE_QUEUES": [1]}}}, r"\['ISOLATE_QUEUES'\] is \[1\]; expected a list of names"),
        ({"default": {"WORKER": {"ISOLATE_MEMORY": 1}}}, r"is 1; expected a whole number of at least 64"),
        ({"default": {"WORKER": {"ISOLATE_CPU": "1"}}}, r"\['ISOLATE_CPU'\] is '1'; expected a number"),
        ({"default": {"WORKER": {"HEARTBEAT": 20}}}, r"HEARTBEAT must be at most half of LEASE"),
        ({"default": {"WORKER": {"REAP_EVERY": 31}}}, r"REAP_EVERY must not exceed LEASE"),
        ({"default": {"WORKER": {"CONCURRENCY": 0}}}, r"\['CONCURRENCY'\] is 0; expected a whole number of at least 1"),
        ({"default": {"WORKER": {"CONCURRENCY": 2.5}}}, r"is 2.5; expected a whole number"),
        ({"default": {"WORKER": {"LEASE": float("inf")}}}, r"\['LEASE'\] is inf; expected a number of at least 0.5"),
        ({"default": {"WORKER": {"HOLD": 0}}}, r"\['HOLD'\] is 0; expected a number of at least 0.05"),
        ({"default": {"JOB_DEFAULTS": {"MAX_ATTEMPTS": 0}}}, r"JOB_DEFAULTS'\]: max_attempts is 0"),
        ({"default": {"JOB_DEFAULTS": {"IDEMPOTENCY_KEY": "k"}}}, r"idempotency_key cannot be a default"),
        ({5: {}}, r"The alias of a queue is 5; expected a string"),
        ({"default": {"JOB_DEFAULTS": {"QUEU": "a"}}}, r"Did you mean 'QUEUE'\?"),
        ({"default": {"WORKER": []}}, r"\['WORKER'\] is \[\]; expected a Mapping"),
        ({"default": {"WORKER": {"DRAIN": -1}}}, r"\['DRAIN'\] is -1; expected a number of at least 0"),
        ({"default": {"BACKEND": 3}}, r"\['BACKEND'\] is 3; expected a str"),
        ({"default": {"STRICT": 1}}, r"\['STRICT'\] is 1; expected a bool"),
        ({"default": {"STRIKT": True}}, r"Did you mean 'STRICT'\?"),
        ({"default": {"RETENTION": {"FAILURES": 3}}}, r"\['RETENTION'\] has the unknown key 'FAILURES'"),
        ({"default": {"RETENTION": {"COMPLETED": 0}}}, r"\['COMPLETED'\] is 0; expected a number of at least 0.01"),
        ({"default": {"RETENTION": {"EVENTS": "30"}}}, r"\['EVENTS'\] is '30'; expected a number"),
        ({"default": {"RETENTION": {"CANCELLED": -1}}}, r"\['CANCELLED'\] is -1; expected a number"),
        ({"default": {"OUTSIDE_TRANSACTION": "refused"}}, r"one of 'allow', 'warn', 'refuse'. Did you mean 'refuse'\?"),
        ({"default": {"OUTSIDE_TRANSACTION": True}}, r"\['OUTSIDE_TRANSACTION'\] is True; expected one of"),
        ({"default": {"OUTSIDE_TRANSACTION": ["warn"]}}, r"is \['warn'\]; expected one of"),
        ({"default": {"OPTIONS": {"SERIALIZER": "pickle"}}}, r"\['OPTIONS'\] has the unknown key 'SERIALIZER'"),
    ],
)
def test_mistakes_are_named(settings: Any, setting: Any, message: str) -> None:
    settings.DATAQUEUE = setting
    (error,) = run_checks(tags=["dataqueue"], databases=[])
    assert re.search(message, error.msg)
    assert error.id == "dataqueue.E001"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"BACKEND": "no.such.Store"}, r"\['BACKEND'\] is 'no.such.Store', which cannot be imported"),
        ({"BACKEND": "dataqueue_django.domain.retry.LONGEST"}, r"LONGEST', which is not a store"),
        ({"OPTIONS": {"DATABASE": None}}, r"\['DATABASE'\] is None; expected a string"),
        ({"OPTIONS": {"DATABSE": "default"}}, r"unknown key 'DATABSE'. Did you mean 'DATABASE'\?"),
        ({"OPTIONS": {"DATABASE": "defalt"}}, r"is 'defalt', which DATABASES does not have. Did you mean 'default'\?"),
    ],
)
def test_a_store_that_cannot_be_made_says_why(settings: Any, setting: Any, message: str) -> None:
    settings.DATAQUEUE = {"default": setting}
    with pytest.raises(ConfigurationError, match=message):
        _ = stores["default"]
    (error,) = run_checks(tags=["dataqueue"], databases=[])
    assert re.search(message, error.msg)


def test_how_long_things_are_kept(settings: Any) -> None:
    settings.DATAQUEUE = {"default": {"RETENTION": {"COMPLETED": 7, "CANCELLED": None, "FAILED": 0.5}}}
    kept = conf.settings_for("default").retention
    assert (kept.completed, kept.cancelled, kept.failed, kept.events, kept.workers) == (7, None, 0.5, 30, 1)
    settings.DATAQUEUE = conf.DEFAULT
    kept = conf.settings_for("default").retention
    assert (kept.completed, kept.cancelled, kept.failed, kept.events, kept.workers) == (30, 30, None, 30, 1)


@pytest.mark.parametrize("word", [None, *conf.Outside])
def test_what_to_do_outside_the_transaction(settings: Any, word: str | None) -> None:
    settings.DATAQUEUE = {"default": {"OUTSIDE_TRANSACTION": word}}
    assert conf.settings_for("default").outside_transaction == word


def test_local_times_are_refused(settings: Any) -> None:
    settings.USE_TZ = False
    errors = [said.id for said in run_checks(tags=["dataqueue"], databases=[]) if said.is_serious()]
    assert errors == ["dataqueue.E002"]


def test_an_unknown_alias_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="DATAQUEUE has no alias 'defaut'. Did you mean 'default'"):
        get_queue("defaut")


def test_the_router_keeps_the_tables_where_the_queue_is(settings: Any) -> None:
    settings.DATAQUEUE = {"default": {"OPTIONS": {"DATABASE": "jobs"}}}
    router = QueueRouter()
    assert router.allow_migrate("jobs", "dataqueue") is True
    assert router.allow_migrate("default", "dataqueue") is False
    assert router.allow_migrate("jobs", "auth") is None


@pytest.mark.django_db(databases="__all__")
def test_the_tables_are_where_the_queues_are_and_nowhere_else(settings: Any) -> None:
    found = {alias: "dataqueue_job" in connections[alias].introspection.table_names() for alias in settings.DATABASES}
    assert found == {alias: alias in conf.queue_databases() for alias in settings.DATABASES}


def test_the_settings_of_the_project(settings: Any) -> None:
    assert conf.project() == conf.ProjectSettings()
    settings.DATAQUEUE_CRON_SECRET = "s"
    settings.DATAQUEUE_CONTEXT = ["a.B"]
    assert conf.project() == conf.ProjectSettings(cron_secret="s", context=("a.B",))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CRON_SECRET", None, "DATAQUEUE_CRON_SECRET is a NoneType; expected a string."),
        ("CRON_SECRET", b"secret", "DATAQUEUE_CRON_SECRET is a bytes; expected a string."),
        ("CRON_SECONDS", 0.5, "DATAQUEUE_CRON_SECONDS is 0.5; expected a number of at least 1."),
        ("CRON_SECONDS", float("nan"), "DATAQUEUE_CRON_SECONDS is nan; expected a number of at least 1."),
        ("CONTEXT", "a.B", "DATAQUEUE_CONTEXT is 'a.B'; expected a list of names."),
        ("RUNSERVER", 1, "DATAQUEUE_RUNSERVER is 1; expected True or False."),
    ],
)
def test_settings_of_the_project_that_make_no_sense(settings: Any, name: str, value: Any, message: str) -> None:
    setattr(settings, f"DATAQUEUE_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        conf.project()
    assert str(caught.value) == message
