"""What pauses, limits and groups have a claim read is little, however many jobs they keep back; and little is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from dataqueue_django.domain.controls import limit_id, scope_id
from dataqueue_django.domain.records import Kind, Limit, NewJob, Pause
from dataqueue_django.domain.transitions import complete
from dataqueue_django.stores.base import Store
from dataqueue_django.stores.orm import postgres
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.testing.contract.base import execution_of
from tests.stores.tables import emptied_store, real_transactions
from tests.stores.test_plans import NOW, Plan, PlansOfPostgres, PlansOfSqlite, claim
from tests.variants import SQLITE, VARIANT

MANY = 200_000
FILL = """
INSERT INTO dataqueue_job (
    job_type, queue, status, stage, claim_seq, worker_id, run_at, ready_at, created_at, updated_at, priority, group_id
)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %(many)s)
SELECT
    %(type)s, 'default', CASE WHEN i = 1 THEN 'processing' ELSE 'pending' END, CASE WHEN i > 1 THEN 'claimable' END,
    CASE WHEN i = 1 THEN 1 ELSE 0 END, CASE WHEN i = 1 THEN 1 END, %(now)s, CASE WHEN i > 1 THEN %(now)s END, %(now)s,
    %(now)s, 5, CASE WHEN %(groups)s > 0 THEN 'group ' || (i %% %(groups)s) END
FROM n
"""


def filled(alias: str, *, groups: int) -> PortableStore:
    """Return a store with many jobs, one of which runs, in front of some others of another type."""
    store: PortableStore = emptied_store(alias)
    with connections[alias].cursor() as cursor, transaction.atomic(using=alias):
        cursor.execute(FILL, {"many": MANY, "type": "front", "now": NOW, "groups": groups})
    store.insert([NewJob(job_type="other") for _ in range(50)], now=NOW)
    with connections[alias].cursor() as cursor:
        cursor.execute("ANALYZE dataqueue_job")
    return store


def limit(store: Store, queue: str = "", job_type: str = "", *, per_group: bool = False, **most: int) -> None:
    """Set a limit."""
    id = limit_id(queue, job_type, per_group=per_group)
    store.put(Limit(id=id, queue=queue, job_type=job_type, per_group=per_group, **most), now=NOW)  # type: ignore[arg-type]


def bounded(store: Store) -> list[Any]:
    """Add a job where its group has room."""
    return store.insert([NewJob(job_type="front", group_id="group 1")], now=NOW, bounded=True)


@pytest.mark.skipif(VARIANT == "pgbouncer", reason="nothing is prepared behind PgBouncer")
@real_transactions("postgres")
class TestPostgresPlansOfLimits(PlansOfPostgres):
    def test_behind_jobs_of_groups(self) -> None:
        store = filled(self.alias, groups=500)
        limit(store, job_type="front", per_group=True, concurrency=3, max_size=MANY)
        some = claim(store, job_types=("front",))

        def act() -> None:
            assert len(store.claim(some, now=NOW)) == 5

        self.reads(self.plan_of(store, "AS lane(number, queue, job_type, group_id)", act), "dataqueue_job_turn")
        self.reads(self.plan_of(store, "id = ANY", act), "dataqueue_job_pkey")
        sent = self.unprepared(store, act)
        self.reads(_with(sent, "RECURSIVE turns"), "dataqueue_job_turn")
        self.reads(_with(sent, "count(*)"), "dataqueue_job_worker")
        for counting in (lambda: store.group_counts("group 1"), lambda: bounded(store)):
            plan = _with(self.unprepared(store, counting), "COUNT(*)")  # type: ignore[arg-type]
            self.reads(plan, "dataqueue_job_group")

    def test_behind_jobs_of_a_type(self) -> None:
        """The others are few, so that the statistics may know of none of them."""
        store = filled(self.alias, groups=0)
        store.put(Pause(id=scope_id("", "front"), job_type="front"), now=NOW)

        def act() -> None:
            assert {job.job_type for job in store.claim(claim(store), now=NOW)} == {"other"}

        plan = self.plan_of(store, "pick_lanes", act)
        self.reads(plan, "dataqueue_job_lane", "dataqueue_job_pkey")
        assert "dataqueue_job_claimable" not in plan.indexes
        store.remove(Kind.PAUSE, [scope_id("", "front")])
        limit(store, job_type="front", rate=5, per_ms=1000)
        limit(store, job_type="other", concurrency=9)

        def act_by_rate() -> None:
            assert {job.job_type for job in store.claim(claim(store), now=NOW)} == {"front"}
            assert {job.job_type for job in store.claim(claim(store), now=NOW)} == {"other"}

        plan = self.plan_of(store, "AS lane(number, queue, job_type)", act_by_rate)
        self.reads(plan, "dataqueue_job_lane")
        assert "dataqueue_job_claimable" not in plan.indexes


@real_transactions(SQLITE)
class TestSqlitePlansOfLimits(PlansOfSqlite):
    @pytest.mark.parametrize("analyzed", [True, False])
    def test_behind_jobs_of_groups(self, analyzed: bool) -> None:
        """With statistics and without: a project may never run ANALYZE."""
        store = filled(self.alias, groups=500)
        if not analyzed:
            with connections[self.alias].cursor() as cursor:
                cursor.execute("DELETE FROM sqlite_stat1")
                cursor.execute("ANALYZE sqlite_master")  # reads the statistics anew
        limit(store, job_type="front", per_group=True, concurrency=3, max_size=MANY)
        some = claim(store, job_types=("front",))

        def act() -> None:
            assert len(store.claim(some, now=NOW)) == 5

        self.all_read(store, "RECURSIVE turns", act, "dataqueue_job_turn")
        self.all_read(store, "AS n, id, queue", act, "dataqueue_job_turn")
        self.all_read(store, "count(*)", act, "dataqueue_job_worker")
        for counting in (lambda: store.group_counts("group 1"), lambda: bounded(store)):
            self.all_read(store, "COUNT(*)", counting, "dataqueue_job_group")  # type: ignore[arg-type]

    def test_behind_jobs_of_a_type(self) -> None:
        store = filled(self.alias, groups=0)
        store.put(Pause(id=scope_id("", "front"), job_type="front"), now=NOW)

        def act() -> None:
            assert {job.job_type for job in store.claim(claim(store), now=NOW)} == {"other"}

        self.all_read(store, "AS n, id, queue", act, "dataqueue_job_lane")

    def all_read(self, store: PortableStore, words: str, act: Callable[[], Any], index: str) -> None:
        """Assert that the statements with these words read by an index, and nothing as a whole."""
        found = self.plans(store, words, act)
        assert found
        for plan in found:
            assert index in plan
            assert "SCAN dataqueue_job" not in plan
            assert "SCAN j" not in plan


def _with(plans: list[Plan], words: str) -> Plan:
    return next(plan for plan in plans if words in plan.statement)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that are sent to PostgreSQL; what is asked now and then is not asked again within the test."""
    monkeypatch.setattr(postgres, "STAGE_SECONDS", 3600.0)
    monkeypatch.setattr(postgres, "LANES_KNOWN_FOR", 3600.0)
    found: list[str] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
        found.append(str(query))
        return execute(cursor, query, *args, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    return found


@pytest.mark.skipif(VARIANT == "pgbouncer", reason="nothing is prepared behind PgBouncer")
@real_transactions("postgres")
class TestStatements:
    """What a busy worker sends."""

    def test_limits_that_nobody_is_under_cost_no_statement(self, sent: list[str]) -> None:
        store = self.store()
        limit(store, "nobody", concurrency=1)
        store.put(Pause(id=scope_id("nothing"), queue="nothing"), now=NOW)
        assert self.sent_by_three_exchanges(store, sent, {}) == 3

    @pytest.mark.parametrize(("groups", "limits"), [(1, 1), (30, 1), (30, 4)])
    def test_claims_under_limits_send_a_bounded_number(self, sent: list[str], groups: int, limits: int) -> None:
        """As many for many jobs, groups and limits as for few; each limit on a rate writes its row."""
        store = self.store()
        scopes = [("q", "t", True), ("q", "", False), ("", "t", False), ("", "", False)]
        for queue, job_type, per_group in scopes[:limits]:
            limit(store, queue, job_type, per_group=per_group, concurrency=10_000)
        names = [f"group {n % groups}" for n in range(100)]
        store.insert([NewJob(job_type="t", queue="q", group_id=name) for name in names])
        assert self.sent_by_three_exchanges(store, sent, {"group_id": "group 0"}) <= 3 * 20

    def store(self) -> PortableStore:
        """Return an empty store that has not asked for anything yet."""
        found = emptied_store("postgres")
        return postgres.PostgresStore(found.alias, found.database)

    def sent_by_three_exchanges(self, store: PortableStore, sent: list[str], options: dict[str, Any]) -> int:
        """Return how many statements a worker sends that finishes 20 jobs and claims 20, three times over."""
        store.insert([NewJob(job_type="t", queue="q", **options) for _ in range(80)])
        some = claim(store, 20, queues=("q",))
        with store.private_session():
            jobs = store.claim(some)
            sent.clear()
            for _ in range(3):
                results, jobs = store.exchange([(complete(execution_of(job)),) for job in jobs], some)
                assert (len(jobs), all(answer.applied for answer in results)) == (20, True)
        return len(sent)
