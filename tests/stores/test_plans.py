"""Each hot statement reads the index that was made for it, and a claim takes no more than it was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from dataqueue_django.domain.changes import Alternatives
from dataqueue_django.domain.filters import EVERYTHING, JobFilter, Order, TagMatch, TagMode
from dataqueue_django.domain.records import Claim, JobStatus, NewJob, Worker
from dataqueue_django.domain.tokens import waiting_for
from dataqueue_django.domain.transitions import complete
from dataqueue_django.stores.base import Store
from dataqueue_django.stores.orm import postgres
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.testing.contract.base import execution_of
from tests.stores.tables import emptied_store, real_transactions
from tests.variants import SQLITE, VARIANT

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROWS = 20_000

# Of twenty jobs one is running, two can be claimed, four are for later, the others are over.
FILL = f"""
INSERT INTO dataqueue_job (
    job_type, queue, status, stage, claim_seq, worker_id, run_at, ready_at, created_at, updated_at, finished_at,
    idempotency_key, priority
)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT
    CASE i % 3 WHEN 0 THEN 'send' WHEN 1 THEN 'build' ELSE 'tidy' END,
    CASE i % 7 WHEN 0 THEN 'mail' ELSE 'default' END,
    CASE WHEN i % 20 = 0 THEN 'processing' WHEN i % 20 <= 6 THEN 'pending' ELSE 'completed' END,
    CASE WHEN i % 20 = 0 THEN NULL WHEN i % 20 <= 2 THEN 'claimable' WHEN i % 20 <= 6 THEN 'later' END,
    CASE WHEN i % 20 = 0 THEN 1 WHEN i % 20 <= 6 THEN 0 ELSE 2 END,
    CASE WHEN i % 20 = 0 THEN i END,
    %(now)s,
    CASE WHEN i % 20 = 0 THEN NULL WHEN i % 20 <= 2 THEN %(now)s WHEN i % 20 <= 6 THEN %(later)s END,
    %(now)s, %(now)s,
    CASE WHEN i % 20 > 6 THEN %(now)s END,
    CASE WHEN i % 4 = 0 THEN 'key ' || i END,
    i % 5
FROM n
"""

FILL_TAGS = """
INSERT INTO dataqueue_jobtag (job_id, tag)
SELECT id, CASE WHEN id % 500 = 0 THEN 'rare' ELSE 'common' END FROM dataqueue_job WHERE id % 2 = 0
"""

# Of five hundred events one is old.
FILL_EVENTS = """
INSERT INTO dataqueue_jobevent (job_id, event_type, created_at)
SELECT id, 'added', CASE WHEN id %% 500 = 0 THEN %(long_ago)s ELSE %(now)s END FROM dataqueue_job
"""


# A token for each job, one of a thousand of them due; and one of a thousand jobs waits for its own.
FILL_TOKENS = """
INSERT INTO dataqueue_token (id, job_id, status, created_at, due_at, completed_by)
SELECT 'wp_' || id, id, 'waiting', %(now)s, CASE WHEN id %% 1000 = 0 THEN %(now)s END, '' FROM dataqueue_job
"""
FILL_WAITS = """
UPDATE dataqueue_job SET status = 'waiting', wait_token_id = 'wp_' || id, stage = NULL, ready_at = NULL
WHERE id %% 1000 = 3 AND status = 'pending'
"""
# Of five hundred lines and ticks one is old.
FILL_LOGS = """
INSERT INTO dataqueue_joblog (job_id, created_at, level, message)
SELECT id, CASE WHEN id %% 500 = 0 THEN %(long_ago)s ELSE %(now)s END, 'info', 'x' FROM dataqueue_job
"""
FILL_TICKS = """
INSERT INTO dataqueue_crontick (schedule_id, tick_at, outcome, created_at)
SELECT id, %(now)s, 'skipped', CASE WHEN id %% 500 = 0 THEN %(long_ago)s ELSE %(now)s END FROM dataqueue_job
"""
FILL_STEPS = """
INSERT INTO dataqueue_step (job_id, kind, name, created_at) SELECT id, 'step', 'a', %(now)s FROM dataqueue_job
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a statement reads, and how."""

    statement: str
    indexes: frozenset[str]
    scanned: frozenset[str]


@pytest.fixture
def filled(request: pytest.FixtureRequest) -> PortableStore:
    """The store of the alias that the class names, with many jobs and statistics about them."""
    alias = request.cls.alias
    store = emptied_store(alias)
    with connections[alias].cursor() as cursor, transaction.atomic(using=alias):
        cursor.execute(FILL.replace("% 3", "%% 3").replace("% 7", "%% 7").replace("% 20", "%% 20")
                       .replace("% 4", "%% 4").replace("% 5", "%% 5"), PARAMS)  # fmt: skip
        cursor.execute(FILL_TAGS)
        for text in (FILL_EVENTS, FILL_LOGS, FILL_TICKS):
            cursor.execute(text, {**PARAMS, "long_ago": LONG_AGO})
        for text in (FILL_TOKENS, FILL_WAITS, FILL_STEPS):
            cursor.execute(text, PARAMS if "now" in text else {})
        for table in ("job", "jobevent", "jobtag", "joblog", "crontick", "token", "step", "worker"):
            cursor.execute(f"ANALYZE dataqueue_{table}")
    return store


DONE = JobStatus.COMPLETED
LONG_AGO = NOW - timedelta(days=90)
PARAMS = {"now": NOW, "later": NOW + timedelta(hours=1)}


def claim(store: Store, limit: int = 5, **filters: Any) -> Claim:
    """Return a claim by a new worker."""
    worker = store.put(Worker(label="w"), now=NOW)
    return Claim(limit=limit, worker_id=worker.id, locked_by="w", **filters)


def some_ids(store: Store) -> tuple[int, ...]:
    """Return the ids of two hundred jobs."""
    return tuple(job.id for job in store.query(EVERYTHING, limit=200))


@contextmanager
def undone(alias: str) -> Iterator[None]:
    """Roll back what is written inside."""
    with transaction.atomic(using=alias):
        yield
        transaction.set_rollback(True, using=alias)


class PlansOfPostgres:
    """How PostgreSQL would run what is sent."""

    alias = "postgres"

    def plan_of(self, store: PortableStore, words: str, act: Callable[[], Any]) -> Plan:
        """Return the generic plan of the last prepared statement that `act` sends and that holds `words`."""
        with store.private_session(), undone(self.alias), store.connection.cursor() as cursor:
            act()
            cursor.execute(
                "SELECT name, statement, parameter_types::text[] FROM pg_prepared_statements ORDER BY prepare_time"
            )
            texts = {"pick_queue": "queue = $", "pick_lanes": "AS lane(", "pick_ids": "id = ANY($"}
            wanted = texts.get(words, words)
            name, statement, types = [row for row in cursor.fetchall() if wanted in row[1]][-1]
            nothing = f"({', '.join(['NULL'] * len(types))})" if types else ""
            cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{nothing}")
            return plan(statement, cursor.fetchone()[0])

    def unprepared(self, store: PortableStore, act: Callable[[], Any]) -> list[Plan]:
        """Return the plans of the statements that `act` sends through Django's cursor."""
        sent: list[tuple[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if "SAVEPOINT" not in sql:
                sent.append((sql, params))
            return execute(sql, params, many, context)

        with undone(self.alias), store.connection.cursor() as cursor:
            with store.connection.execute_wrapper(note):
                act()
            plans = []
            for sql, params in sent:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
                plans.append(plan(sql, cursor.fetchone()[0]))
            return plans

    @staticmethod
    def reads(plan: Plan, *indexes: str) -> None:
        """Assert that a plan uses the indexes and reads the table of jobs in no other way."""
        assert plan.indexes >= set(indexes)
        assert "dataqueue_job" not in plan.scanned


class PlansOfSqlite:
    """How SQLite would run what is sent."""

    alias = SQLITE

    def plans(self, store: PortableStore, words: str, act: Callable[[], Any]) -> list[str]:
        """Return the plans of the SELECTs that `act` sends and that hold `words`, values included."""
        sent: list[tuple[str, Any]] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            sent.append((sql, params))
            return execute(sql, params, many, context)

        with undone(self.alias), store.connection.cursor() as cursor:
            with store.connection.execute_wrapper(note):
                act()
            found = []
            for sql, params in sent:
                shown = sql + "".join(f" {value!r}" for value in params or ())
                if words in shown and sql.lstrip().startswith(("SELECT", "WITH")):
                    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                    found.append("\n".join(row[3] for row in cursor.fetchall()))
            return found


@pytest.mark.skipif(VARIANT == "pgbouncer", reason="nothing is prepared behind PgBouncer")
@real_transactions("postgres")
class TestPostgresPlans(PlansOfPostgres):
    """With generic plans, as on a worker's connection."""

    def test_claiming_from_one_queue(self, filled: PortableStore) -> None:
        plan = self.plan_of(filled, "pick_queue", lambda: filled.claim(claim(filled, queues=("mail",)), now=NOW))
        self.reads(plan, "dataqueue_job_claimable", "dataqueue_job_pkey")

    def test_claiming_from_lanes(self, filled: PortableStore) -> None:
        some = claim(filled, job_types=("send", "tidy"))
        plan = self.plan_of(filled, "pick_lanes", lambda: filled.claim(some, now=NOW))
        self.reads(plan, "dataqueue_job_lane", "dataqueue_job_pkey")

    def test_claiming_named_jobs(self, filled: PortableStore) -> None:
        plan = self.plan_of(filled, "pick_ids", lambda: filled.claim(claim(filled, ids=some_ids(filled)), now=NOW))
        self.reads(plan, "dataqueue_job_pkey")

    def test_claiming_crashed_jobs(self, filled: PortableStore) -> None:
        plan = self.plan_of(filled, "crash_count > 0", lambda: filled.claim(claim(filled, crashed=True), now=NOW))
        self.reads(plan, "dataqueue_job_pkey")

    def test_finishing_and_claiming(self, filled: PortableStore) -> None:
        def act() -> None:
            some = claim(filled, queues=("mail",))
            items: list[Alternatives] = [(complete(execution_of(job)),) for job in filled.claim(some, now=NOW)]
            filled.exchange(items, some, now=NOW)

        plan = self.plan_of(filled, "held", act)
        self.reads(plan, "dataqueue_job_claimable", "dataqueue_job_pkey")

    def test_finishing(self, filled: PortableStore) -> None:
        def act() -> None:
            jobs = filled.claim(claim(filled), now=NOW)
            filled.exchange([(complete(execution_of(job)),) for job in jobs], None, now=NOW)

        plan = self.plan_of(filled, "held", act)
        self.reads(plan, "dataqueue_job_pkey")

    def test_staging(self, filled: PortableStore) -> None:
        later = NOW + timedelta(hours=2)
        plan = self.plan_of(filled, "SET stage = 'claimable'", lambda: filled.claim(claim(filled), now=later))
        self.reads(plan, "dataqueue_job_later", "dataqueue_job_pkey")

    def test_finding_the_lanes(self, filled: PortableStore) -> None:
        plan = self.plan_of(filled, "RECURSIVE", lambda: filled.claim(claim(filled), now=NOW))
        assert plan.indexes <= {"dataqueue_job_lane", "dataqueue_job_claimable", "dataqueue_job_turn"}
        self.reads(plan, "dataqueue_job_lane", "dataqueue_job_turn")

    @pytest.mark.parametrize(
        ("index", "table", "act"),
        [
            (
                "dataqueue_job_worker",
                "dataqueue_job",
                lambda s: s.query(JobFilter(worker_ids=(20,), statuses=(JobStatus.PROCESSING,)), limit=1000),
            ),
            ("dataqueue_job_pkey", "dataqueue_job", lambda s: s.get([5, 6])),
            ("dataqueue_job_later", "dataqueue_job", lambda s: s.next_ready_in(claim(s), now=NOW)),
            (
                "dataqueue_job_idempotency",
                "idempotency_key",
                lambda s: s.insert([NewJob(job_type="t", idempotency_key="key 4")], now=NOW),
            ),
            (
                "dataqueue_job_finished",
                "finished_at",
                lambda s: s.delete_ended(JobStatus.COMPLETED, before=NOW + timedelta(days=1), limit=100),
            ),
            (
                "dataqueue_job_finished",
                "finished_at",
                lambda s: s.delete_ended(DONE, before=NOW + timedelta(days=1), since=NOW, job_types=("send",), limit=9),
            ),
            (
                "dataqueue_job_finished",
                "finished_at",
                lambda s: s.delete_ended(
                    DONE, before=NOW + timedelta(days=1), since=NOW, exclude_job_types=("send",), limit=9
                ),
            ),
            ("dataqueue_jobevent_created", "created_at", lambda s: s.delete_events(before=NOW - timedelta(days=30))),
            ("dataqueue_joblog_created", "created_at", lambda s: s.delete_logs(before=NOW - timedelta(days=30))),
            ("dataqueue_tick_created", "created_at", lambda s: s.delete_ticks(before=NOW - timedelta(days=30))),
            (
                "dataqueue_jobtag_unique",
                "tag",
                lambda s: s.query(JobFilter(tags=TagMatch(("rare",)), statuses=(JobStatus.PENDING,)), limit=100),
            ),
            ("dataqueue_job_pkey", "ORDER BY", lambda s: s.query(EVERYTHING, limit=100, after=10_000)),
            (
                "dataqueue_job_wait_token",
                "wait_token_id",
                lambda s: s.values(waiting_for(["wp_1003"]), ("id",), order=Order.OLDEST, limit=1000),
            ),
            ("dataqueue_token_due", "due_at", lambda s: s.due_tokens(now=NOW)),
            ("dataqueue_step_unique", "dataqueue_step", lambda s: s.steps(7)),
        ],
        ids=[
            "jobs of a worker",
            "jobs by id",
            "next job due",
            "taken keys",
            "what has ended",
            "what has ended of a type",
            "what has ended but of a type",
            "old events",
            "old lines of log",
            "old ticks",
            "jobs by tag",
            "a deep page",
            "who waits for a token",
            "tokens that are due",
            "a handler's history",
        ],
    )
    def test_other_statements(self, filled: PortableStore, index: str, table: str, act: Callable[[Store], Any]) -> None:
        plans = [p for p in self.unprepared(filled, lambda: act(filled)) if p.statement.startswith("SELECT")]
        plan = next(p for p in plans if table in p.statement)
        self.reads(plan, index)

    def test_a_batch_of_pending_jobs(self, filled: PortableStore) -> None:
        """By the primary key or by status, whichever the statistics favour; never the whole table."""
        pending = JobFilter(statuses=(JobStatus.PENDING,))
        [plan] = self.unprepared(filled, lambda: filled.values(pending, ("id", "priority"), order=Order.OLDEST))
        assert plan.indexes <= {"dataqueue_job_pkey", "dataqueue_job_status"}
        self.reads(plan)

    def test_inserting_asks_the_index_of_keys(self, filled: PortableStore) -> None:
        def act() -> None:
            filled.insert([NewJob(job_type="t", idempotency_key="key 4")], now=NOW)

        plan = next(p for p in self.unprepared(filled, act) if "ON CONFLICT" in p.statement)
        self.reads(plan, "dataqueue_job_idempotency")

    @pytest.mark.parametrize("filters", [{"queues": ("mail",)}, {"job_types": ("send",)}, {"ids": ()}])
    @pytest.mark.parametrize("also", ["seqscan", "indexscan", "nestloop", "bitmapscan"])
    def test_a_claim_of_five_takes_five_whatever_the_plan(
        self, filled: PortableStore, filters: dict[str, Any], also: str
    ) -> None:
        with filled.private_session(), undone(self.alias), filled.connection.cursor() as cursor:
            for way in ("hashjoin", "mergejoin", "hashagg", "material", "sort", also):
                cursor.execute(f"SET LOCAL enable_{way} = off")
            before = filled.count(JobFilter(statuses=(JobStatus.PROCESSING,)))[()]
            if "ids" in filters:
                filters = {"ids": some_ids(filled)}
            jobs = filled.claim(claim(filled, 5, **filters), now=NOW)
            assert len(jobs) == 5
            assert filled.count(JobFilter(statuses=(JobStatus.PROCESSING,)))[()] == before + 5

    def test_a_busy_worker_sends_one_statement_for_a_batch(
        self, filled: PortableStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What came due and which lanes there are is asked for now and then: here, not again within the test."""
        monkeypatch.setattr(postgres, "STAGE_SECONDS", 3600.0)
        monkeypatch.setattr(postgres, "LANES_KNOWN_FOR", 3600.0)
        store = postgres.PostgresStore(filled.alias, filled.database)
        store.insert([NewJob(job_type="t", queue="q") for _ in range(60)])
        some = claim(store, 20, queues=("q",))
        sent: list[str] = []
        execute = psycopg.Cursor.execute

        def counted(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
            sent.append(str(query))
            return execute(cursor, query, *args, **options)

        with store.private_session():
            jobs = store.claim(some)
            monkeypatch.setattr(psycopg.Cursor, "execute", counted)
            for _ in range(2):
                results, jobs = store.exchange([(complete(execution_of(job)),) for job in jobs], some)
                assert (len(jobs), all(answer.applied for answer in results)) == (20, True)
        assert len(sent) == 2

    def test_what_is_ready(self, filled: PortableStore) -> None:
        [one] = self.unprepared(filled, lambda: filled.backlogs(now=NOW))
        self.reads(one, "dataqueue_job_later")
        assert one.indexes & {"dataqueue_job_lane", "dataqueue_job_claimable"}  # either holds just the claimable ones


@real_transactions(SQLITE)
class TestSqlitePlans(PlansOfSqlite):
    def test_picking_from_lanes(self, filled: PortableStore) -> None:
        [pick] = self.plans(filled, "SELECT * FROM (SELECT %s AS n, id", lambda: filled.claim(claim(filled), now=NOW))
        assert pick.count("dataqueue_job_lane") == 6
        assert "SCAN dataqueue_job" not in pick

    def test_finding_the_lanes(self, filled: PortableStore) -> None:
        [lanes] = self.plans(filled, "RECURSIVE", lambda: filled.claim(claim(filled), now=NOW))
        assert lanes.count("USING INDEX dataqueue_job_lane") == 2
        assert lanes.count("dataqueue_job_turn") >= 2
        assert "SCAN dataqueue_job" not in lanes
        assert "SCAN j" not in lanes

    def test_staging(self, filled: PortableStore) -> None:
        later = NOW + timedelta(hours=2)
        staged = self.plans(filled, "'later'", lambda: filled.claim(claim(filled), now=later))
        assert staged
        assert all("dataqueue_job_later" in plan for plan in staged)

    def test_the_jobs_of_a_worker(self, filled: PortableStore) -> None:
        where = JobFilter(worker_ids=(20,), statuses=(JobStatus.PROCESSING,))
        [jobs] = self.plans(filled, "worker_id", lambda: filled.query(where))
        assert "dataqueue_job_worker" in jobs

    def test_what_has_ended(self, filled: PortableStore) -> None:
        tomorrow = NOW + timedelta(days=1)
        first, again, *_ = self.plans(
            filled, "finished_at", lambda: filled.delete_ended(DONE, before=tomorrow, limit=9)
        )
        assert "dataqueue_job_finished" in first
        assert "SCAN dataqueue_job" not in first + again

    @pytest.mark.parametrize("types", [{}, {"job_types": ("send",)}, {"exclude_job_types": ("send",)}])
    def test_what_has_ended_since_a_moment(self, filled: PortableStore, types: dict[str, Any]) -> None:
        ended = {"before": NOW + timedelta(days=1), "since": NOW, "limit": 9, **types}
        first, *_ = self.plans(filled, "finished_at", lambda: filled.delete_ended(DONE, **ended))
        assert "dataqueue_job_finished (status=? AND finished_at>? AND finished_at<?)" in first

    @pytest.mark.parametrize(
        ("index", "delete"),
        [
            ("dataqueue_jobevent_created", "delete_events"),
            ("dataqueue_joblog_created", "delete_logs"),
            ("dataqueue_tick_created", "delete_ticks"),
        ],
    )
    def test_what_goes_by_its_age(self, filled: PortableStore, index: str, delete: str) -> None:
        first, *_ = self.plans(filled, "created_at", lambda: getattr(filled, delete)(before=NOW - timedelta(days=30)))
        assert f"{index} (created_at<?)" in first

    @pytest.mark.parametrize("mode", [TagMode.ALL, TagMode.ANY, TagMode.EXACT])
    def test_jobs_by_tag(self, filled: PortableStore, mode: TagMode) -> None:
        [jobs] = self.plans(filled, "tag", lambda: filled.query(JobFilter(tags=TagMatch(("rare",), mode))))
        assert "SCAN" not in jobs
        assert "(tag=?)" in jobs

    def test_what_waits(self, filled: PortableStore) -> None:
        [waiting] = self.plans(filled, "wp_1003", lambda: filled.values(waiting_for(["wp_1003"]), ("id",)))
        assert "dataqueue_job_wait_token" in waiting
        [due] = self.plans(filled, "due_at", lambda: filled.due_tokens(now=NOW))
        assert "dataqueue_token_due" in due
        [steps] = self.plans(filled, "dataqueue_step", lambda: filled.steps(7))
        assert "USING INDEX" in steps
        assert "SCAN" not in steps

    def test_what_is_ready(self, filled: PortableStore) -> None:
        [one] = self.plans(filled, "UNION ALL", lambda: filled.backlogs(now=NOW))
        assert one.count("USING INDEX dataqueue_job_la") == 2  # lane and later


def plan(statement: str, answer: Any) -> Plan:
    """Return what EXPLAIN said of a statement."""
    nodes = list(walk(json.loads(answer)[0]["Plan"] if isinstance(answer, str) else answer[0]["Plan"]))
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    arbiters = {name for node in nodes for name in node.get("Conflict Arbiter Indexes", ())}
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    return Plan(statement, frozenset(indexes | arbiters), frozenset(scanned))


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)
