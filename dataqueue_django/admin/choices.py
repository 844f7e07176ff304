"""The different values of an indexed column, found without reading the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections, models

MOST = 200
"""How many values of one column are offered."""

# Steps from value to value through an index that begins with the column: the cost grows with the number of values, not
# of rows. DISTINCT would read them all.
STEPS = """
    {name}(value) AS (
        SELECT min({column}) FROM {table}
        UNION ALL
        SELECT (SELECT min(t.{column}) FROM {table} t WHERE t.{column} > {name}.value)
        FROM {name} WHERE {name}.value IS NOT NULL
    )"""
PICK = "SELECT * FROM (SELECT %s AS kind, value FROM {name} WHERE value IS NOT NULL LIMIT %s) AS only_{name}"


def values_of(model: type[models.Model], database: str, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return up to MOST values of each column, in order, in one statement.

    Each column needs an index that begins with it. Names come from the model alone, so nothing of a request reaches
    the statement.
    """
    connection = connections[database]
    quote = connection.ops.quote_name
    parts = [
        {
            "name": f"found_{n}",
            "column": quote(_column(model, column)),
            "table": quote(model._meta.db_table),
        }
        for n, column in enumerate(columns)
    ]
    steps = ",".join(STEPS.format(**part) for part in parts)
    picks = " UNION ALL ".join(PICK.format(**part) for part in parts)
    found: dict[str, list[str]] = {column: [] for column in columns}
    with connection.cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {steps} {picks}", [x for column in columns for x in (column, MOST)])
        for column, value in cursor.fetchall():
            found[column].append(value)
    return found


def _column(model: type[models.Model], name: str) -> str:
    field: Any = model._meta.get_field(name)
    return str(field.column)
