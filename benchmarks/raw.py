"""The same work by hand: what the database and its driver allow, with no framework, no threads and no records.

Each is written for speed: one process, one connection, prepared statements, 50 jobs a transaction, and the same rows
in the same tables with the same indexes as the queue writes, events included.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol
from urllib.parse import unquote

import psycopg

BATCH = 50
LOT = 1000
JOB_TYPE = "noop"


COMPLETED = {
    "claim": "SELECT count(*), min(started_at), max(finished_at) FROM dataqueue_job WHERE status = 'completed'",
    "completion": "SELECT count(*), min(finished_at), max(finished_at) FROM dataqueue_job WHERE status = 'completed'",
}


class Raw(Protocol):
    """The raw loops on one database."""

    def drain(self) -> None:
        """Claim 50 and complete 50, two commits, until nothing is left."""

    def insert_one(self, payload: dict[str, Any]) -> None:
        """Insert one job with its event, and commit unless in a transaction."""

    def insert_many(self, payloads: Iterable[dict[str, Any]]) -> None:
        """Insert jobs with their events, a thousand at a time, in one transaction."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context in which everything is committed together."""

    def completed(self, since: str = "claim") -> tuple[int, float]:
        """Return how many jobs are completed, and the seconds from the first claim, or completion, to the last one."""

    def close(self) -> None:
        """Close the connection."""


def connect(url: str) -> Raw:
    """Return the raw loops for a scratch database."""
    return RawSqlite(unquote(url.removeprefix("sqlite:///"))) if url.startswith("sqlite:") else RawPostgres(url)


class RawPostgres:
    """psycopg in autocommit: one statement is one transaction; events by CTE."""

    CLAIM = f"""
        WITH claimed AS (
            UPDATE dataqueue_job SET
                status = 'processing', stage = NULL, ready_at = NULL, claim_seq = claim_seq + 1,
                attempts = attempts + 1, worker_id = 1, locked_by = 'raw', locked_at = now(), started_at = now(),
                last_started_at = now(), updated_at = now()
            WHERE id = ANY(ARRAY(
                SELECT id FROM dataqueue_job WHERE stage = 'claimable' AND queue = 'default'
                ORDER BY priority DESC, position, ready_at, id LIMIT {BATCH} FOR NO KEY UPDATE SKIP LOCKED
            ))
            RETURNING id, payload, claim_seq, attempts
        ), logged AS (
            INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt, worker_id)
            SELECT id, 'processing', now(), claim_seq, attempts, 1 FROM claimed
        )
        SELECT id, claim_seq, payload FROM claimed
    """
    COMPLETE = """
        WITH completed AS (
            UPDATE dataqueue_job j SET
                status = 'completed', claim_seq = j.claim_seq + 1, finished_at = now(), updated_at = now(),
                worker_id = NULL, locked_by = NULL, locked_at = NULL
            FROM unnest(%s::bigint[], %s::bigint[]) AS g(id, claim_seq)
            WHERE j.id = g.id AND j.claim_seq = g.claim_seq
            RETURNING j.id, g.claim_seq, j.attempts
        )
        INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt)
        SELECT id, 'completed', now(), claim_seq, attempts FROM completed
    """
    INSERT = f"""
        WITH fresh AS (
            INSERT INTO dataqueue_job (job_type, payload, run_at, ready_at, stage, created_at, updated_at)
            VALUES ('{JOB_TYPE}', %s, now(), now(), 'claimable', now(), now()) RETURNING id
        )
        INSERT INTO dataqueue_jobevent (job_id, event_type, created_at) SELECT id, 'added', now() FROM fresh
    """
    IDS = "SELECT nextval(pg_get_serial_sequence('dataqueue_job', 'id')) FROM generate_series(1, %s)"
    COPY_JOBS = "COPY dataqueue_job (id, job_type, payload, run_at, ready_at, stage, created_at, updated_at) FROM STDIN"
    COPY_EVENTS = "COPY dataqueue_jobevent (job_id, event_type, created_at) FROM STDIN"

    def __init__(self, url: str) -> None:
        planned_once = "-c plan_cache_mode=force_generic_plan -c jit=off"
        self._connection = psycopg.connect(url, autocommit=True, options=planned_once, prepare_threshold=0)

    def drain(self) -> None:
        """See Raw.drain."""
        execute = self._connection.execute
        while jobs := execute(self.CLAIM).fetchall():
            execute(self.COMPLETE, [[job[0] for job in jobs], [job[1] for job in jobs]])

    def insert_one(self, payload: dict[str, Any]) -> None:
        """See Raw.insert_one."""
        self._connection.execute(self.INSERT, [json.dumps(payload)])

    def insert_many(self, payloads: Iterable[dict[str, Any]]) -> None:
        """See Raw.insert_many: ids drawn first, then COPY."""
        with self.transaction(), self._connection.cursor() as cursor:
            for lot in _lots(payloads):
                ids = [row[0] for row in cursor.execute(self.IDS, [len(lot)]).fetchall()]
                now = datetime.now(UTC)
                with cursor.copy(self.COPY_JOBS) as copy:
                    for id, payload in zip(ids, lot, strict=True):
                        copy.write_row((id, JOB_TYPE, json.dumps(payload), now, now, "claimable", now, now))
                with cursor.copy(self.COPY_EVENTS) as copy:
                    for id in ids:
                        copy.write_row((id, "added", now))

    def transaction(self) -> AbstractContextManager[object]:
        """See Raw.transaction."""
        return self._connection.transaction()

    def completed(self, since: str = "claim") -> tuple[int, float]:
        """See Raw.completed."""
        count, first, last = self._connection.execute(COMPLETED[since]).fetchone() or (0, None, None)
        return count, (last - first).total_seconds() if count else 0.0

    def close(self) -> None:
        """See Raw.close."""
        self._connection.close()


class RawSqlite:
    """The sqlite3 module: BEGIN IMMEDIATE, WAL, Django's default of a full sync at each commit."""

    CLAIM = f"""
        UPDATE dataqueue_job SET
            status = 'processing', stage = NULL, ready_at = NULL, claim_seq = claim_seq + 1, attempts = attempts + 1,
            worker_id = 1, locked_by = 'raw', locked_at = :now, started_at = :now, last_started_at = :now,
            updated_at = :now
        WHERE id IN (
            SELECT id FROM dataqueue_job WHERE stage = 'claimable' AND queue = 'default'
            ORDER BY priority DESC, position, ready_at, id LIMIT {BATCH}
        )
        RETURNING id, claim_seq, attempts, payload
    """
    COMPLETE = """
        UPDATE dataqueue_job SET
            status = 'completed', claim_seq = claim_seq + 1, finished_at = ?, updated_at = ?,
            worker_id = NULL, locked_by = NULL, locked_at = NULL
        WHERE id = ? AND claim_seq = ?
    """
    EVENT = """
        INSERT INTO dataqueue_jobevent (job_id, event_type, created_at, claim_seq, attempt, worker_id)
        VALUES (?, ?, ?, ?, ?, ?)
    """
    INSERT = f"""
        INSERT INTO dataqueue_job (job_type, payload, run_at, ready_at, stage, created_at, updated_at)
        VALUES ('{JOB_TYPE}', ?, ?, ?, 'claimable', ?, ?)
    """
    INSERT_WITH_ID = f"""
        INSERT INTO dataqueue_job (id, job_type, payload, run_at, ready_at, stage, created_at, updated_at)
        VALUES (?, '{JOB_TYPE}', ?, ?, ?, 'claimable', ?, ?)
    """

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=20)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute("PRAGMA journal_mode = WAL")

    def drain(self) -> None:
        """See Raw.drain."""
        while jobs := self._claim():
            self._complete(jobs)

    def insert_one(self, payload: dict[str, Any]) -> None:
        """See Raw.insert_one."""
        now = _now()
        with nullcontext() if self._connection.in_transaction else self.transaction():
            id = self._connection.execute(self.INSERT, [json.dumps(payload), now, now, now, now]).lastrowid
            self._connection.execute(self.EVENT, [id, "added", now, 0, 0, None])

    def insert_many(self, payloads: Iterable[dict[str, Any]]) -> None:
        """See Raw.insert_many: executemany of plain tuples."""
        with self.transaction():
            last = self._connection.execute("SELECT coalesce(max(id), 0) FROM dataqueue_job").fetchone()[0]
            for lot in _lots(payloads):
                now = _now()
                jobs = [(last + n, json.dumps(payload), now, now, now, now) for n, payload in enumerate(lot, 1)]
                self._connection.executemany(self.INSERT_WITH_ID, jobs)
                self._connection.executemany(self.EVENT, [(job[0], "added", now, 0, 0, None) for job in jobs])
                last += len(lot)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See Raw.transaction: the write lock from the first moment."""
        self._connection.execute("BEGIN IMMEDIATE")
        yield
        self._connection.execute("COMMIT")

    def completed(self, since: str = "claim") -> tuple[int, float]:
        """See Raw.completed."""
        count, first, last = self._connection.execute(COMPLETED[since]).fetchone()
        return count, (_moment(last) - _moment(first)).total_seconds() if count else 0.0

    def close(self) -> None:
        """See Raw.close."""
        self._connection.close()

    def _claim(self) -> list[tuple[Any, ...]]:
        with self.transaction():
            now = _now()
            jobs = self._connection.execute(self.CLAIM, {"now": now}).fetchall()
            events = [(id, "processing", now, claim_seq, attempts, 1) for id, claim_seq, attempts, _ in jobs]
            self._connection.executemany(self.EVENT, events)
        return jobs

    def _complete(self, jobs: list[tuple[Any, ...]]) -> None:
        with self.transaction():
            now = _now()
            self._connection.executemany(self.COMPLETE, [(now, now, id, claim_seq) for id, claim_seq, _, _ in jobs])
            events = [(id, "completed", now, claim_seq, attempts, None) for id, claim_seq, attempts, _ in jobs]
            self._connection.executemany(self.EVENT, events)


def _lots(payloads: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(payloads)
    while lot := list(islice(left, LOT)):
        yield lot


def _now() -> str:
    """The time as Django writes it."""
    return str(datetime.now(UTC).replace(tzinfo=None))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
