"""The tables behind an ORM store: emptying them, and what must be true of their rows at all times."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import pytest
from django.conf import settings
from django.db import connections, transaction

from dataqueue_django import models
from dataqueue_django.stores import stores
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.stores.orm.tables import TABLES
from tests.provision import POSTGRES_MISSING

WRONG_ROWS = """
    SELECT 'mark', id FROM dataqueue_job
    WHERE (stage IS NULL) <> (ready_at IS NULL) OR (stage = 'claimable' AND ready_at > %s)
        OR stage NOT IN ('claimable', 'later')
    UNION ALL
    SELECT 'tag of no job', job_id FROM dataqueue_jobtag
    WHERE job_id NOT IN (SELECT id FROM dataqueue_job WHERE tags IS NOT NULL)
    UNION ALL
    SELECT 'event of no job', job_id FROM dataqueue_jobevent WHERE job_id NOT IN (SELECT id FROM dataqueue_job)
    UNION ALL
    SELECT 'step of no job', job_id FROM dataqueue_step WHERE job_id NOT IN (SELECT id FROM dataqueue_job)
    UNION ALL
    SELECT 'log of no job', job_id FROM dataqueue_joblog WHERE job_id NOT IN (SELECT id FROM dataqueue_job)
    UNION ALL
    SELECT 'request of no job', id FROM dataqueue_cancelrequest WHERE id NOT IN (SELECT id FROM dataqueue_job)
    UNION ALL
    SELECT 'open token of no job', job_id FROM dataqueue_token
    WHERE status = 'waiting' AND job_id IS NOT NULL AND job_id NOT IN (SELECT id FROM dataqueue_job)
"""


def real_transactions(*aliases: str) -> pytest.MarkDecorator:
    """Return the mark of tests that commit on these databases.

    Without applications to flush: that would cost more than most of these tests. They empty the tables before, and
    a fixture of this folder after the last of a class.
    """
    if set(aliases) <= set(settings.DATABASES):
        return pytest.mark.django_db(transaction=True, databases=("default", *aliases), available_apps=[])
    return pytest.mark.skip(reason=f"PostgreSQL is missing: {os.environ.get(POSTGRES_MISSING)}")


def emptied_store(alias: str) -> Any:
    """Return the store of an alias, holding nothing; ids go on from where they were."""
    empty(alias)
    return stores[alias]


def empty(alias: str) -> None:
    """Delete every row of the queue in a database."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "sqlite":
            cursor.execute("PRAGMA synchronous = OFF")  # these tests do not pull the plug
        with transaction.atomic(using=alias):
            for model in TABLES:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")


def check_rows(store: PortableStore, now: datetime) -> None:
    """Assert what the ORM stores promise beyond the contract: the mark of each job, and no row without its job."""
    with store.connection.cursor() as cursor:
        cursor.execute(WRONG_ROWS, [now])
        assert cursor.fetchall() == []
    listed = {(id, tag) for id, tags in store._jobs().values_list("id", "tags") for tag in tags or ()}
    indexed = list(store._table(models.JobTag).values_list("job_id", "tag"))
    assert listed == set(indexed), "the index of tags says what the jobs' own lists say"
    assert len(listed) == len(indexed)
