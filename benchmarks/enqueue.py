"""Jobs per second into the queue, in bulk and one by one, beside raw inserts; and the memory that bulk takes.

`python -m benchmarks.enqueue --jobs 100000`
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from . import raw, report
from .databases import STORES, Databases, run, scratch, versions
from .options import parser, positive
from .payloads import payloads

ABOUT = "Measure how fast jobs are added, and how much memory adding many from a generator takes."
SINGLES = 50
"""For so many jobs in bulk one is added by itself."""


def main() -> None:
    """Run the rounds on each store and print the results."""
    options = parser(ABOUT, stores=(*STORES, "both"), rounds=3)
    options.add_argument("--jobs", type=positive, default=100_000, help="jobs in bulk (default: 100000)")
    given = options.parse_args()
    for store in STORES if given.store == "both" else (given.store,):
        with scratch(store, given.url) as databases:
            _measure(databases, given.jobs, given.rounds, given.json)


def _measure(databases: Databases, jobs: int, rounds: int, as_json: bool) -> None:
    singles = max(1, jobs // SINGLES)
    queue, by_hand = [], []
    for _ in range(rounds):
        with databases.copy() as url:
            queue.append(json.loads(run(url, "-m", "benchmarks.enqueuing", "measure", str(jobs), str(singles))))
        with databases.copy() as url:
            by_hand.append(_by_hand(url, jobs, singles))
    ways = {"many": "enqueue_many", "alone": "enqueue, autocommit", "inside": "enqueue, inside atomic()"}
    lines = {
        f"{name}, {databases.store}": report.compared([q[way] for q in queue], [r[way] for r in by_hand])
        for way, name in ways.items()
    }
    before, peak = max((q["before"], q["peak"]) for q in queue)
    notes = {"Resident memory of the enqueuing process": f"{before:.1f} MB before, {peak:.1f} MB at its peak"}
    memory = {"before_mb": round(before, 1), "peak_mb": round(peak, 1), "growth_mb": round(peak - before, 1)}
    facts = {"store": databases.store, "jobs": jobs, "singles": singles, "versions": versions(databases)}
    title = f"{jobs} jobs in bulk, {singles} one by one, {rounds} rounds"
    report.show(title, lines, as_json=as_json, facts={**facts, "memory": memory, "notes": notes})


def _by_hand(url: str, jobs: int, singles: int) -> dict[str, float]:
    """Jobs per second of raw inserts, in the same three ways."""
    loop = raw.connect(url)

    def one_by_one() -> None:
        for payload in payloads(singles):
            loop.insert_one(payload)

    loop.insert_one({"n": 0})
    many = _per_second(jobs, lambda: loop.insert_many(payloads(jobs)))
    alone = _per_second(singles, one_by_one)
    with loop.transaction():
        inside = _per_second(singles, one_by_one)
    loop.close()
    return {"many": many, "alone": alone, "inside": inside}


def _per_second(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
