"""Storage options of the PostgreSQL tables: room for updates on the page, and vacuum by count instead of by share.

And what the planner is to think of columns. Options are no part of Django's model state, so they are set by the
migration that creates the tables; other vendors have none.
"""

from __future__ import annotations

from typing import Any

CHURN = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0"
)
OPTIONS = {
    "dataqueue_job": f"fillfactor = 70, {CHURN}",
    "dataqueue_worker": "fillfactor = 50",
    "dataqueue_ratebucket": "fillfactor = 50",
}

# Where all jobs but some are of one type, the statistics know of no other. Then the index of a queue looks as good for
# the first jobs of a type as the index of types, and is read over all those that a pause keeps back: 200,000 in 90 ms.
COLUMNS = {("dataqueue_job", "job_type"): "n_distinct = 100"}


def set_storage_options(apps: Any, schema_editor: Any) -> None:
    """Set the options on PostgreSQL; nothing happens elsewhere."""
    if schema_editor.connection.vendor == "postgresql":
        for table, options in OPTIONS.items():
            schema_editor.execute(f"ALTER TABLE {table} SET ({options})")
        for (table, column), options in COLUMNS.items():
            schema_editor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET ({options})")
