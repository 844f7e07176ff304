"""Very many rows, written by one statement per table: what a queue looks like after some months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connections

BUSY, QUIET = ("default", "type-1"), ("rare", "rare")
"""A queue and a job type that many jobs have, and those that two have, the oldest."""
COMMON_TAG, RARE_TAG = "common", "rare"

# Of a thousand jobs 970 are completed, 20 failed, 4 wait for their next attempt, the rest is everything else.
JOBS = """
INSERT INTO dataqueue_job (
    job_type, queue, status, stage, claim_seq, worker_id, payload, run_at, ready_at, created_at, updated_at,
    finished_at, idempotency_key, tags, priority, attempts
)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %(rows)s)
SELECT
    CASE WHEN i <= 2 THEN 'rare' ELSE 'type-' || (i %% 40) END,
    CASE WHEN i <= 2 THEN 'rare' WHEN i %% 10 < 7 THEN 'default' WHEN i %% 10 = 7 THEN 'mail' WHEN i %% 10 = 8
         THEN 'reports' ELSE 'import' END,
    CASE WHEN i %% 1000 >= 30 THEN 'completed' WHEN i %% 1000 >= 6 THEN 'failed' WHEN i %% 1000 = 5 THEN 'processing'
         WHEN i %% 1000 = 4 THEN 'cancelled' WHEN i %% 1000 = 3 THEN 'waiting' ELSE 'pending' END,
    CASE WHEN i %% 1000 IN (0, 1, 2, 6, 7, 8, 9) THEN 'later' END,
    CASE WHEN i %% 1000 = 5 THEN 1 WHEN i %% 1000 <= 2 THEN 0 ELSE 2 END,
    CASE WHEN i %% 1000 = 5 THEN i END,
    '{"order_id": ' || i || '}',
    %(now)s,
    CASE WHEN i %% 1000 IN (0, 1, 2, 6, 7, 8, 9) THEN %(later)s END,
    %(now)s, %(now)s,
    CASE WHEN i %% 1000 >= 10 OR i %% 1000 = 4 THEN %(now)s END,
    CASE WHEN i %% 4 = 0 THEN 'order-' || i END,
    CASE WHEN i %% 10 = 0 THEN '["common"]' WHEN i %% 50000 = 1 THEN '["rare"]' END,
    i %% 5, 1
FROM n
"""
TAGS = """
INSERT INTO dataqueue_jobtag (job_id, tag)
SELECT id, CASE WHEN tags LIKE '%%common%%' THEN 'common' ELSE 'rare' END FROM dataqueue_job WHERE tags IS NOT NULL
"""
EVENTS = """
INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt)
SELECT id, 'added', created_at, 0, 0 FROM dataqueue_job
"""


def fill(database: str, rows: int) -> None:
    """Add `rows` jobs with their tags and first events, and let the database look at them."""
    now = datetime.now(UTC)
    connection = connections[database]
    postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        values = {"rows": rows, "now": now, "later": now + timedelta(days=30)}
        cursor.execute(_cast(JOBS) if postgres else JOBS, values)
        cursor.execute(TAGS.replace("tags LIKE", "tags::text LIKE") if postgres else TAGS, [])
        cursor.execute(EVENTS)
        for table in ("job", "jobtag", "jobevent"):
            cursor.execute(f"ANALYZE dataqueue_{table}")


def _cast(statement: str) -> str:
    """PostgreSQL wants to be told that these texts are JSON."""
    return (
        statement.replace("'{\"order_id\": ' || i || '}'", "('{\"order_id\": ' || i || '}')::jsonb")
        .replace("'[\"common\"]'", "'[\"common\"]'::jsonb")
        .replace("'[\"rare\"]'", "'[\"rare\"]'::jsonb")
    )
