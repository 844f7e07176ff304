"""What stands in the database beside the columns: migrations in step, storage options, the fence as a constraint."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction

from dataqueue_django import get_queue
from dataqueue_django.domain.records import NewJob
from dataqueue_django.domain.transitions import Execution, write_progress
from dataqueue_django.migrations._storage import OPTIONS
from dataqueue_django.models import Job
from tests.provision import miss
from tests.variants import POSTGRES

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_job(**fields: object) -> Job:
    """Return an unsaved row."""
    return Job(job_type="t", run_at=NOW, created_at=NOW, updated_at=NOW, **fields)


@pytest.mark.django_db(databases="__all__")
def test_the_migrations_are_in_step_with_the_models() -> None:
    call_command("makemigrations", "dataqueue", check=True, dry_run=True, stdout=StringIO())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "claim_seq", "allowed"),
    [
        ("processing", 0, False),
        ("processing", 1, True),
        ("processing", 2, False),
        ("processing", 2**40 + 1, True),
        ("pending", 0, True),
        ("pending", 1, False),
        ("completed", 3, False),
        ("completed", 4, True),
    ],
)
def test_claim_seq_is_odd_exactly_while_processing(any_alias: str, status: str, claim_seq: int, allowed: bool) -> None:
    row = a_job(status=status, claim_seq=claim_seq)
    if allowed:
        row.save(using=any_alias)
        return
    with pytest.raises(IntegrityError, match="dataqueue_job_fence"), transaction.atomic(using=any_alias):
        row.save(using=any_alias)


@pytest.mark.django_db
def test_keys_are_unique_where_there_are_any(any_alias: str) -> None:
    for key in (None, None, "k", "K"):
        a_job(idempotency_key=key).save(using=any_alias)
    with pytest.raises(IntegrityError), transaction.atomic(using=any_alias):
        a_job(idempotency_key="k").save(using=any_alias)


@pytest.mark.django_db
@pytest.mark.parametrize("table", OPTIONS)
def test_storage_options_on_postgresql(any_alias: str, table: str) -> None:
    connection = connections[any_alias]
    if connection.vendor != "postgresql":
        return  # nothing to set elsewhere
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [table])
        [options] = cursor.fetchone()
    assert options == [option.replace(" ", "") for option in OPTIONS[table].split(", ")]


@pytest.mark.django_db(databases="__all__")
def test_progress_touches_no_index() -> None:
    """Its columns stand in none, so PostgreSQL updates the row on its page and no index hears of it."""
    if POSTGRES not in connections:
        miss("PostgreSQL is missing")
    connection = connections[POSTGRES]
    store = get_queue(POSTGRES).store
    [job] = store.insert([NewJob(job_type="t")])
    report = {"progress": 5, "progress_message": "m" * 100, "progress_data": {"done": 1, "total": 20}}

    def updated() -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_stat_get_xact_tuples_updated('dataqueue_job'::regclass), "
                "pg_stat_get_xact_tuples_hot_updated('dataqueue_job'::regclass)"
            )
            return list(cursor.fetchone())

    before = updated()
    [answer] = store.commit([(write_progress(Execution(job.id, 0, 0, 3), report),)])
    assert answer.applied
    assert [after - earlier for after, earlier in zip(updated(), before, strict=True)] == [1, 1]
