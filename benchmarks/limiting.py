"""The process that sets limits, fills a queue with jobs that they keep back and claims others, for `benchmarks.limits`.

`python -m benchmarks.limiting fill JOBS`, `set CASE`, `front CASE JOBS`, or `measure JOBS`, which prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import django
from django.db import connection

if TYPE_CHECKING:
    from dataqueue_django.stores.orm.portable import PortableStore

NOTHING, UNUSED = "nothing", "unused"
GROUP, PAUSED, RATE = "a full group", "a paused type", "an empty rate"
KEPT_BACK = (GROUP, PAUSED, RATE)
FRONT, LIMIT = "front", 20

# In front of all others: of a higher priority, and due for longer.
JOBS = """
INSERT INTO dataqueue_job (
    job_type, queue, status, stage, claim_seq, payload, run_at, ready_at, created_at, updated_at, priority, attempts,
    group_id
)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %(rows)s)
SELECT 'front', 'default', 'pending', 'claimable', 0, '{}', %(now)s, %(now)s, %(now)s, %(now)s, 5, 0, %(group)s FROM n
"""


def main() -> None:
    """Do what the arguments say."""
    django.setup()
    what, *given = sys.argv[1:]
    match what:
        case "fill":
            _add(int(given[0]))
            _settle()
        case "set":
            _set(given[0])
        case "front":
            _front(given[0], int(given[1]))
        case _:
            print(json.dumps(_measure(int(given[0]))))


def _store() -> PortableStore:
    from dataqueue_django import get_queue
    from dataqueue_django.stores.orm.portable import PortableStore

    store = get_queue().store
    if not isinstance(store, PortableStore):
        raise TypeError(store)
    return store


def _add(jobs: int) -> None:
    from .jobs import noop
    from .payloads import payloads

    noop.enqueue_many(payloads(jobs))


def _settle() -> None:
    """Do the upkeep that PostgreSQL would do by itself some time later."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _set(case: str) -> None:
    """Set what keeps back the jobs of a case, and use it up."""
    from dataqueue_django.domain.controls import limit_id, scope_id
    from dataqueue_django.domain.records import Limit, Pause

    store = _store()
    hour = timedelta(hours=1) // timedelta(milliseconds=1)
    match case:
        case "unused":
            store.put(Limit(id=limit_id("nobody"), queue="nobody", concurrency=1))
            store.put(Pause(id=scope_id("nothing"), queue="nothing"))
        case "a full group":
            limit = limit_id(job_type=FRONT, per_group=True)
            store.put(Limit(id=limit, job_type=FRONT, per_group=True, concurrency=1))
        case "a paused type":
            store.put(Pause(id=scope_id(job_type=FRONT), job_type=FRONT))
        case "an empty rate":
            store.put(Limit(id=limit_id(job_type=FRONT), job_type=FRONT, rate=1, per_ms=hour))


def _front(case: str, jobs: int) -> None:
    """Add jobs that are kept back, and let as many of them begin as may."""
    from dataqueue_django.domain.records import Claim, Worker

    _set(case)
    store = _store()
    if case != NOTHING:
        values: dict[str, Any] = {"rows": jobs, "now": datetime.now(UTC), "group": "g" if case == GROUP else None}
        with connection.cursor() as cursor:
            cursor.execute(JOBS.replace("'{}'", "'{}'::jsonb") if connection.vendor == "postgresql" else JOBS, values)
    worker = store.put(Worker(label="front"))
    begun = store.claim(Claim(limit=5, worker_id=worker.id, locked_by="front"))
    if len(begun) != (case in (GROUP, RATE)):
        raise RuntimeError(f"{len(begun)} jobs began behind {case}")
    _settle()


def _measure(jobs: int) -> dict[str, float]:
    """Return the milliseconds of a claim, and the jobs per second of claiming and completing, as a worker does both."""
    from dataqueue_django.domain.changes import Change
    from dataqueue_django.domain.records import Claim, ClaimedJob, Worker
    from dataqueue_django.domain.transitions import Execution, complete

    _add(2 * jobs)
    _settle()
    store = _store()
    worker = store.put(Worker(label="measured"))
    claim = Claim(limit=LIMIT, worker_id=worker.id, locked_by="measured")
    claims, claimed, exchanged = [], 0, 0

    def ended(found: list[ClaimedJob]) -> list[tuple[Change, ...]]:
        return [(complete(Execution.of(job)),) for job in found]

    with store.private_session():
        while claimed < jobs:
            asked = time.perf_counter()
            found = store.claim(claim)
            claims.append(time.perf_counter() - asked)
            claimed += len(found)
            store.exchange(ended(found), None)
        began, found = time.perf_counter(), store.claim(claim)
        while found:
            exchanged += len(found)
            _, found = store.exchange(ended(found), claim)
        took = time.perf_counter() - began
    if claimed + exchanged != 2 * jobs:
        raise RuntimeError(f"{claimed} and {exchanged} of {2 * jobs} jobs were claimed")
    return {"ms": 1000 * median(claims), "per_second": exchanged / took}


if __name__ == "__main__":
    main()
