"""Statistics read their own indexes, and of jobs only what has not ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from dataqueue_django.domain.records import Resolution
from dataqueue_django.domain.statistics import FOUND_IN_EVENTS
from dataqueue_django.stores.base import Store
from dataqueue_django.stores.orm.portable import PortableStore
from tests.stores.tables import emptied_store, real_transactions
from tests.stores.test_plans import FILL, FILL_EVENTS, FILL_TOKENS, FILL_WAITS, NOW, PARAMS, ROWS, undone, walk
from tests.variants import SQLITE

MINUTE = Resolution.MINUTE
STATS = f"""
INSERT INTO dataqueue_queuestat (resolution, bucket, queue, job_type, writer, updated_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT CASE i %% 50 WHEN 0 THEN 'hour' ELSE 'minute' END,
    CASE WHEN i < {ROWS - 200} THEN %(long_ago)s ELSE %(now)s END, 'q', 't', i,
    CASE WHEN i < {ROWS - 200} THEN %(long_ago)s ELSE %(now)s END FROM n
"""
GAUGES = f"""
INSERT INTO dataqueue_queuegauge (bucket, queue)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT CASE WHEN i < {ROWS - 200} THEN %(long_ago)s ELSE %(now)s END, 'q' || i FROM n
"""
LATELY = NOW - timedelta(minutes=5)

ACTS: dict[str, tuple[str, Callable[[Store], Any]]] = {
    "rows of a window": ("dataqueue_stat_unique", lambda s: s.stats(MINUTE, since=LATELY)),
    "rows of a queue": ("dataqueue_stat_unique", lambda s: s.stats(MINUTE, since=LATELY, queue="q", job_type="t")),
    "buckets written": ("dataqueue_stat_updated", lambda s: s.stat_buckets(MINUTE, updated_since=LATELY)),
    "the last row": ("dataqueue_stat_updated", lambda s: s.stats_written_at(MINUTE)),
    "old rows": ("dataqueue_stat_unique", lambda s: s.delete_stats(MINUTE, before=NOW - timedelta(days=400))),
    "gauges of a window": ("dataqueue_gauge_unique", lambda s: s.gauges(since=LATELY)),
    "old gauges": ("dataqueue_gauge_unique", lambda s: s.delete_gauges(before=NOW - timedelta(days=400))),
    "the last event": ("", lambda s: s.last_event_id()),
    "what is ready": ("dataqueue_job_la", lambda s: s.backlogs(queue="mail", now=NOW)),
    "what has not ended": ("dataqueue_job_la", lambda s: s.measure(now=NOW)),
    "some events": ("", lambda s: s.count_events(FOUND_IN_EVENTS, after=100, upto=300)),
}


@pytest.fixture
def filled(request: pytest.FixtureRequest) -> PortableStore:
    """The store of the alias that the class names, with many rows of all that is read."""
    alias = request.cls.alias
    store: PortableStore = emptied_store(alias)
    params = {**PARAMS, "long_ago": NOW - timedelta(days=9)}
    with connections[alias].cursor() as cursor, transaction.atomic(using=alias):
        for text in (FILL.replace("%", "%%").replace("%%(", "%("), FILL_EVENTS, FILL_TOKENS, FILL_WAITS, STATS, GAUGES):
            cursor.execute(text, {name: value for name, value in params.items() if f"%({name})" in text})
        for table in ("job", "jobevent", "queuestat", "queuegauge"):
            cursor.execute(f"ANALYZE dataqueue_{table}")
    return store


def explained(store: PortableStore, act: Callable[[Store], Any], explain: str, *before: str) -> list[Any]:
    """Return what the database says of the first statement that `act` sends, once it was told what is `before`."""
    sent: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sent.append((sql, params))
        return execute(sql, params, many, context)

    with undone(store.database), store.connection.cursor() as cursor:
        with store.connection.execute_wrapper(note):
            act(store)
        sql, params = next((sql, params) for sql, params in sent if "dataqueue_" in sql and not sql.startswith("SAVE"))
        for statement in before:
            cursor.execute(statement)
        cursor.execute(f"{explain} {sql}", params)
        return list(cursor.fetchall())


@real_transactions("postgres")
class TestPostgresPlansOfStatistics:
    alias = "postgres"

    @pytest.mark.parametrize("what", ACTS)
    def test_the_index_is_used(self, filled: PortableStore, what: str) -> None:
        index, act = ACTS[what]
        # In a small table of which a fifth has not ended reading all of it is the cheapest, so it is made dear.
        dear = ["SET LOCAL enable_seqscan = off"] if what == "what has not ended" else []
        [[answer]] = explained(filled, act, "EXPLAIN (FORMAT JSON)", *dear)
        nodes = list(walk(json.loads(answer)[0]["Plan"] if isinstance(answer, str) else answer[0]["Plan"]))
        assert not [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
        assert any(index in node.get("Index Name", "") for node in nodes)


@real_transactions(SQLITE)
class TestSqlitePlansOfStatistics:
    alias = SQLITE

    @pytest.mark.parametrize("what", ACTS)
    def test_the_index_is_used(self, filled: PortableStore, what: str) -> None:
        index, act = ACTS[what]
        lines = [row[3] for row in explained(filled, act, "EXPLAIN QUERY PLAN")]
        scans = [line for line in lines if line.startswith("SCAN dataqueue_") and "USING" not in line]
        # The last id is the end of the table itself, which SQLite calls a scan as well.
        assert what == "the last event" or not scans
        named = "autoindex" if index.endswith("_unique") else index  # those of constraints have no name of their own
        assert named in "\n".join(lines)
