"""PostgreSQL: insert, claim, and complete-then-claim as one statement each; the rest is the portable path.

On a worker's own connection these statements are prepared and planned once. The `ANY(ARRAY(...))` form is the one that
a generic plan suits.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from django.db import Error, OperationalError, models
from django.db.models import Func

from ... import conf
from ...domain.admission import Candidate
from ...domain.changes import Alternatives, Change, Committed, Verb, Verdict, only_read, targets
from ...domain.controls import Controls
from ...domain.records import Claim, ClaimedJob, EventType, Inserted, JobStatus, Kind, NewJob
from ...logs import worker as logger
from ..base import PrivateSession
from . import rows
from .admitting import open_to, rules
from .lanes import Lane
from .portable import STAGE_LOT, STAGE_SECONDS, PortableStore
from .session import PrivateConnection
from .sql import load

LANES_KNOWN_FOR = 1.0
"""Seconds for which the lanes that a claim found are taken to be the ones that exist; an idle worker looks again."""

TRIES = 3
"""How often a claim that came back short looks again."""

REPORTED = ("progress", "progress_message", "progress_data")
COMPLETE_SETS = frozenset(
    {
        "status",
        "claim_seq",
        "ready_at",
        "updated_at",
        "worker_id",
        "locked_by",
        "locked_at",
        "finished_at",
        "resuming",
        "failure_reason",
    }
)
"""The fields that `finish.sql` always writes, beside an output and a report; other completions are not for it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """One of the looks that a claim takes; a locking one passes by rows that others hold."""

    limit: int
    now: datetime | None
    stamp: str
    locking: bool = False


CRASHED = {None: "crash_count >= 0", False: "crash_count = 0", True: "crash_count > 0"}


class PostgresStore(PortableStore):
    """See Store for what each method guarantees."""

    def __init__(self, alias: str, database: str) -> None:
        super().__init__(alias, database)
        self._seen: list[Lane] = []
        self._seen_under = Controls()
        self._seen_at = -LANES_KNOWN_FOR
        self._ahead = timedelta()
        self._staged_at = -STAGE_SECONDS

    def insert(self, jobs: Sequence[NewJob], *, now: datetime | None = None, bounded: bool = False) -> list[Inserted]:
        """See Store.insert."""
        if bounded and any(job.group_id is not None for job in jobs):
            return super().insert(jobs, now=now, bounded=True)
        return self._insert(jobs, now)

    def _insert(self, jobs: Sequence[NewJob], now: datetime | None) -> list[Inserted]:
        answers: dict[int, Inserted] = {}
        while left := [n for n in range(len(jobs)) if n not in answers]:
            tried = [jobs[n] for n in left]
            found = self._insert_lot(tried, now)
            pairs = zip(tried, found, strict=True)
            taken = self._ids_by_key([str(job.idempotency_key) for job, (_, is_new, _) in pairs if not is_new])
            for n, job, (fresh_id, is_new, at) in zip(left, tried, found, strict=True):
                if is_new:
                    answers[n] = Inserted(id=fresh_id, existed=False, at=at)
                elif job.idempotency_key in taken:  # else it was deleted in between: the key is free again
                    answers[n] = Inserted(id=taken[job.idempotency_key], existed=True, at=at)
        return [answers[n] for n in range(len(jobs))]

    def _insert_lot(self, jobs: Sequence[NewJob], now: datetime | None) -> list[tuple[int, bool, datetime]]:
        document = json.dumps([_document(n, job) for n, job in enumerate(jobs)], ensure_ascii=False)
        try:
            return self._insert_document(document, now)
        except OperationalError as why:
            if (
                not isinstance(why.__cause__, psycopg.errors.SerializationFailure)
                or not self.connection.get_autocommit()
            ):
                raise  # the caller has to repeat the transaction
        # The project's statements are REPEATABLE READ, and a key was taken while this one ran.
        with self._write():
            return self._insert_document(document, now)

    def _insert_document(self, document: str, now: datetime | None) -> list[tuple[int, bool, datetime]]:
        with self.connection.cursor() as cursor:
            cursor.execute(load("postgres/insert"), {"jobs": document, "now": now})
            return list(cursor.fetchall())

    def claim(self, claim: Claim, *, now: datetime | None = None) -> list[ClaimedJob]:
        """See Store.claim."""
        return self._exchange([], claim, now)[1]

    def exchange(
        self, items: Sequence[Alternatives], claim: Claim | None, *, now: datetime | None = None
    ) -> tuple[list[Committed], list[ClaimedJob]]:
        """See Store.exchange: plain completions and the claim are one statement, the rest goes before it."""
        self._closed.ended([item[0].id for item in items])
        if not _name_each_job_once(items):
            return super().exchange(items, claim, now=now)
        hot = [n for n, item in enumerate(items) if _is_plain_completion(item)]
        cold = sorted(set(range(len(items))) - set(hot))
        results: dict[int, Committed] = {}
        if cold:
            answers = self.commit([items[n] for n in cold], now=now, wait=False)
            results.update(zip(cold, answers, strict=True))
        done, jobs = self._exchange([items[n][0] for n in hot], claim, now)
        results.update(zip(hot, done, strict=True))
        return [results[n] for n in range(len(items))], jobs

    def private_session(self) -> PrivateSession:
        """See Store.private_session."""
        settings = conf.settings_for(self.alias).worker
        return _PostgresSession(self.database, settings.prepared_statements, settings.lease)

    # -- what vendors differ in

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction of the store's own."""
        with self._read_committed(), super()._write():
            yield

    @contextmanager
    def transaction(self, *, with_users_code: bool = False) -> Iterator[None]:
        """See Store.transaction."""
        with nullcontext() if with_users_code else self._read_committed(), super().transaction():
            yield

    @contextmanager
    def _read_committed(self) -> Iterator[None]:
        """Let a transaction that begins here be READ COMMITTED, whatever the project's are.

        It waits for rows and then looks at them again; at a higher level that is an error.
        """
        connection = self.connection
        connection.ensure_connection()
        raw: Any = connection.connection
        level = raw.isolation_level
        if not connection.get_autocommit() or level is psycopg.IsolationLevel.READ_COMMITTED:
            yield
            return
        raw.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            yield
        finally:
            if not raw.closed:
                raw.isolation_level = level

    def _clock_column(self, now: datetime | None) -> Any:
        if now is not None:
            return super()._clock_column(now)
        return Func(function="clock_timestamp", output_field=models.DateTimeField())

    def _at(self, now: datetime | None) -> datetime:
        if now is not None:
            return now
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")
            at: datetime = cursor.fetchone()[0]
            return at

    def _locked(self, found: models.QuerySet[Any], *, wait: bool = True) -> models.QuerySet[Any]:
        return found.select_for_update(no_key=True, skip_locked=not wait)

    # -- claim

    def _exchange(
        self, completions: Sequence[Change], claim: Claim | None, now: datetime | None
    ) -> tuple[list[Committed], list[ClaimedJob]]:
        """Complete and claim in one statement; look again for jobs while a claim comes back short of its limit."""
        if claim is None:
            return (self._complete(completions, now) if completions else []), []
        self._stage_when_due(now)
        lanes = self._wanted(claim, now, fresh=now is not None)
        if now is None:
            lanes = self._closed.without(lanes, claim, self._seen_under)
        if not lanes or self._has_rules(lanes):
            results = self._complete(completions, now) if completions else []
            return results, self._look_again(claim, claim.limit, now, lanes)
        done, jobs = self._run(completions, claim, lanes, _Look(claim.limit, now, self._seen_under.stamp))
        results = self._verdicts(completions, done)
        return results, jobs + self._look_again(claim, claim.limit - len(jobs), now)

    def _look_again(
        self, claim: Claim, short: int, now: datetime | None, lanes: Sequence[Lane] = ()
    ) -> list[ClaimedJob]:
        """Claim what a first look missed: new lanes, what other claimers were quicker with, rows behind locked ones."""
        jobs: list[ClaimedJob] = []
        try:
            for _ in range(TRIES):
                if len(jobs) == short:
                    break
                fresh, lanes = not lanes, lanes or self._wanted(claim, now, fresh=True)
                found = self._claim_from(lanes, replace(claim, limit=short - len(jobs)), self._seen_under, now)
                if not found and fresh:
                    break  # else pauses and limits may have changed since the lanes were looked at
                jobs, lanes = jobs + found, ()
        except Error:
            # What is known must not be forgotten for it; a broken connection shows again at the next call.
            logger.warning("a claim was cut short", exc_info=True)
        return jobs

    def _claim_plain(
        self, lanes: Sequence[Lane], claim: Claim, controls: Controls, now: datetime | None
    ) -> list[ClaimedJob]:
        return self._run((), claim, lanes, _Look(claim.limit, now, controls.stamp, True))[1]

    def _has_rules(self, lanes: Sequence[Lane]) -> bool:
        return any(rules(self._seen_under, lane) for lane in lanes)

    def _begin(self, ids: Sequence[int], claim: Claim, controls: Controls, now: datetime | None) -> list[ClaimedJob]:
        if not ids:
            return []
        mine = replace(claim, ids=tuple(ids), limit=len(ids))
        look = _Look(len(ids), now, controls.stamp)
        started = {job.id: job for job in self._answer("chosen", {"ids": list(ids)}, (), mine, look)[1]}
        return [started[id] for id in ids if id in started]

    def _run(
        self, completions: Sequence[Change], claim: Claim, lanes: Sequence[Lane], look: _Look
    ) -> tuple[set[int], list[ClaimedJob]]:
        """One round trip: the ids that were completed, and the jobs that were claimed, in claim order."""
        pick, params = self._pick_statement(claim, lanes, look)
        return self._answer(pick, params, completions, claim, look)

    def _answer(
        self, pick: str, params: dict[str, Any], completions: Sequence[Change], claim: Claim, look: _Look
    ) -> tuple[set[int], list[ClaimedJob]]:
        params |= {"now": look.now, "limit": look.limit, "worker": claim.worker_id, "label": claim.locked_by}
        params["stamp"] = look.stamp
        if completions:
            params |= _completion_arrays(completions)
        answer = self._hot(_statement(pick, claim.crashed, bool(completions)), params)
        done = {row[1] for row in answer if row[0] == 0}
        started = sorted((row for row in answer if row[0] == 1), key=lambda row: row[-1])
        return done, [_claimed(row[1:-1]) for row in started]

    def _pick_statement(self, claim: Claim, lanes: Sequence[Lane], look: _Look) -> tuple[str, dict[str, Any]]:
        """The way to find the jobs that looks at the fewest rows, and its parameters."""
        queues = sorted({lane.queue for lane in lanes})
        types = sorted({lane.job_type for lane in lanes})
        pairs = {"queues": [lane.queue for lane in lanes], "types": [lane.job_type for lane in lanes]}
        if claim.ids:
            return "ids", {"ids": list(claim.ids), **pairs}
        unwanted = any(lane.queue == queues[0] and lane.job_type not in types for lane in self._seen)
        if len(queues) == 1 and not unwanted:
            return "queue", {"queue": queues[0], "types": types}
        pick = "lanes_locking" if look.locking else "lanes"
        return pick, pairs

    def _wanted(self, claim: Claim, now: datetime | None, *, fresh: bool) -> list[Lane]:
        """The lanes that have work for a claim and that nobody has paused, as far as is known; `fresh` looks."""
        if fresh or time.monotonic() - self._seen_at > LANES_KNOWN_FOR:
            self._seen_at = time.monotonic()
            self._seen_under = self.controls()
            self._seen = self._lanes()
        return open_to(claim, self._seen, self._seen_under, now or datetime.now(UTC) + self._ahead)

    def _rows(self, name: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """See PortableStore._rows. Claims under limits send these each time: they are planned once, as the claim is."""
        return list(self._hot(load(name), params))

    def _lanes(self) -> list[Lane]:
        found = self._hot(load("portable/lanes"), {})
        return [Lane(queue, job_type, bool(of_groups)) for queue, job_type, of_groups in found]

    def _as_of(self, stamp: str) -> Controls:
        """See ControlTables. How far the server's clock is ahead decides when a pause has ended."""
        if stamp != self._known.stamp:
            self._ahead = self._at(None) - datetime.now(UTC)
        return super()._as_of(stamp)

    def _heads(self, rows: Sequence[tuple[str, str, str | None]], claim: Claim, limit: int) -> list[list[Candidate]]:
        found: list[list[Candidate]] = [[] for _ in rows]
        for pick, mine in (("heads", [n for n, row in enumerate(rows) if row[2] is None]),
                           ("heads_of_groups", [n for n, row in enumerate(rows) if row[2] is not None])):  # fmt: skip
            if mine:
                text = load(f"postgres/{pick}").replace("{crashed}", CRASHED[claim.crashed])
                columns = zip(*((n, *rows[n]) for n in mine), strict=True)
                params = dict(zip(("numbers", "queues", "types", "groups"), map(list, columns), strict=True))
                for n, *candidate in self._hot(text, {**params, "limit": limit}):
                    found[n].append(Candidate(*candidate))
        return found

    def _stage_when_due(self, now: datetime | None) -> None:
        """Stage what has come due; a busy worker asks at most every 50 ms."""
        if now is None and time.monotonic() - self._staged_at < STAGE_SECONDS:
            return
        until = time.monotonic() + STAGE_SECONDS
        while self._hot(load("postgres/stage"), {"now": now}) == STAGE_LOT and time.monotonic() < until:
            pass
        self._staged_at = time.monotonic()

    # -- finish

    def _complete(self, completions: Sequence[Change], now: datetime | None) -> list[Committed]:
        answer = self._hot(_statement(None, None, True), {"now": now, **_completion_arrays(completions)})
        return self._verdicts(completions, {row[1] for row in answer})

    def _verdicts(self, completions: Sequence[Change], done: set[int]) -> list[Committed]:
        """Tell apart, among the completions that were not applied, what is lost from what another session holds."""
        missed = [change.id for change in completions if change.id not in done]
        current = dict(self._jobs().filter(id__in=missed).values_list("id", "claim_seq")) if missed else {}
        return [_verdict(change, done, current) for change in completions]

    def _hot(self, statement: str, params: dict[str, Any] | Sequence[Any]) -> Any:
        """Run a statement of our own and return its rows, or the number of rows where it returns none.

        On a worker's connection it goes to psycopg directly, prepared; elsewhere through Django's cursor.
        """
        connection = self.connection
        connection.ensure_connection()
        if not getattr(connection, "dataqueue_prepared", False):
            with connection.cursor() as cursor:
                cursor.execute(statement, params)
                return cursor.fetchall() if cursor.description else cursor.rowcount
        with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(statement, params, prepare=True)
            return cursor.fetchall() if cursor.description else cursor.rowcount


class _PostgresSession(PrivateConnection):
    """Adds what a worker's connection needs: bounded waits for a dead server, and plans made once."""

    def __init__(self, database: str, prepared: bool, lease: float) -> None:
        bounded = {
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(max(lease, 5.0) * 1000),
            "application_name": "dataqueue worker",
        }
        super().__init__(database, bounded, removed=("pool",))
        self._prepared = prepared

    def open(self) -> None:
        """See PrivateConnection.open."""
        super().open()
        from django.db import connections

        connections[self._database].dataqueue_prepared = self._prepared  # type: ignore[attr-defined]

    def _forced(self, given: dict[str, Any]) -> dict[str, Any]:
        forced: dict[str, Any] = {"isolation_level": psycopg.IsolationLevel.READ_COMMITTED}
        if self._prepared:
            # As start-up parameters they hold after every reconnection; PgBouncer would refuse them. psycopg's level
            # is for transactions, the parameter for statements outside of them.
            level = "-c default_transaction_isolation=read\\ committed"
            planner = "-c plan_cache_mode=force_generic_plan -c jit=off"
            forced["options"] = f"{given.get('options', '')} {level} {planner}".strip()
            # Django's own value, None, forbids even what asks for it; this one prepares nothing else.
            forced["prepare_threshold"] = sys.maxsize
        return forced


@cache
def _statement(pick: str | None, crashed: bool | None, completes: bool) -> str:
    """Return the statement that completes and claims, either or both."""
    parts = ["clock AS (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS at)"]
    selects = []
    if completes:
        parts.append(load("postgres/finish"))
        nothing = ", ".join(["NULL"] * (len(CLAIM_COLUMNS) + 1))
        selects.append(f"SELECT 0, f.id, {nothing} FROM finished f" if pick else "SELECT 0, f.id FROM finished f")
    if pick:
        chosen = load(f"postgres/pick_{pick}").replace("{crashed}", CRASHED[crashed])
        parts.append(load("postgres/start").replace("{pick}", chosen))
        selects.append(f"SELECT 1, s.id, {', '.join(f's.{name}' for name in (*CLAIM_COLUMNS, 'place'))} FROM started s")
    return f"WITH {', '.join(parts)} {' UNION ALL '.join(reversed(selects))}"


CLAIM_COLUMNS = tuple(name for name in rows.SLIM_FIELDS if name != "id")


def _claimed(row: tuple[Any, ...]) -> ClaimedJob:
    values = dict(zip(("id", *CLAIM_COLUMNS), row, strict=True))
    values["payload"] = _parsed(values["payload"])
    values["context"] = _parsed(values["context"])
    values["tags"] = tuple(_parsed(values["tags"]) or ())
    return ClaimedJob(**values)


def _parsed(value: Any) -> Any:
    """Django's connections hand over jsonb as text."""
    return json.loads(value) if isinstance(value, str) else value


def _document(n: int, job: NewJob) -> dict[str, Any]:
    document = {name: getattr(job, name) for name in rows.NEW_FIELDS}
    document["n"] = n
    document["tags"] = list(job.tags) or None
    for name in ("run_at", "scheduled_for"):
        moment = document[name]
        document[name] = moment.isoformat() if moment else None
    return document


def _is_plain_completion(item: Alternatives) -> bool:
    change = item[0]
    reported = change.set.keys() & set(REPORTED)
    return (
        len(item) == 1
        and change.verb is Verb.COMPLETE
        and change.kind is Kind.JOB
        and change.event is EventType.COMPLETED
        and change.set.get("status") is JobStatus.COMPLETED
        and change.set.keys() - reported - {"output"} == COMPLETE_SETS
        and len(reported) in (0, len(REPORTED))
        and change.guard.keys() == {"claim_seq"}
        and len(change.guard["claim_seq"]) == 1
        and not (change.then or change.spawn or change.link or change.needs or change.put)
        and not (change.actor or change.metadata or change.withdraw or change.unlocked)
    )


def _name_each_job_once(items: Sequence[Alternatives]) -> bool:
    """Whether no two items are about one job, so that the order in which they are applied cannot matter."""
    named = [id for item in items for id in (*targets([item], Kind.JOB), *only_read([item], Kind.JOB))]
    return len(named) == len(set(named))


def _completion_arrays(completions: Sequence[Change]) -> dict[str, list[Any]]:
    sets = [change.set for change in completions]
    return {
        "ids": [change.id for change in completions],
        "seqs": [next(iter(change.guard["claim_seq"])) for change in completions],
        "outputs": [json.dumps(s["output"]) if "output" in s else None for s in sets],
        "reported": ["progress" in s for s in sets],
        "progress": [s.get("progress") for s in sets],
        "messages": [s.get("progress_message") for s in sets],
        "datas": [json.dumps(s["progress_data"]) if s.get("progress_data") is not None else None for s in sets],
    }


def _verdict(change: Change, done: set[int], current: dict[int, int]) -> Committed:
    if change.id in done:
        return Committed(verdict=Verdict.APPLIED, choice=0)
    still_ours = current.get(int(change.id)) in change.guard["claim_seq"]
    return Committed(verdict=Verdict.BUSY if still_ours else Verdict.LOST)
