"""Milliseconds the server needs for each list of the admin, and the statements it sends, with very many jobs.

`python -m benchmarks.admin_pages --store sqlite|postgres --jobs 1000000`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from .databases import run, scratch, versions
from .options import parser, positive

ABOUT = "Measure the lists of the admin, from the request to the last byte of the page, in one process."

LISTS = {
    "first page": "",
    "completed": "?status=completed",
    "failed": "?status=failed",
    "pending": "?status=pending",
    "running": "?status=processing",
    "a busy queue": "?queue=default",
    "a rare queue": "?queue=rare",
    "a busy type": "?job_type=type-1",
    "a rare type": "?job_type=rare",
    "failed of a type": "?status=failed&job_type=type-7",
    "by id": "?q=4711",
    "by key": "?q=key:order-1234",
    "by one letter of a key": "?q=key:o",
    "by a common tag": "?q=tag:common",
    "by a rare tag": "?q=tag:rare",
    "a page in the middle": "?after={middle}",
    "the last page": "?before=",
    "the last page of a type": "?before=&job_type=type-1",
}


def main() -> None:
    """Fill a database, ask it for each list, and print the medians."""
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(_measure(*map(int, sys.argv[2:]))))
        return
    options = parser(ABOUT, rounds=9)
    options.add_argument("--jobs", type=positive, default=200_000, help="jobs in the table (default: 200000)")
    given = options.parse_args()
    with scratch(given.store, given.url) as databases:
        found = json.loads(
            run(databases.template, "-m", "benchmarks.admin_pages", "measure", str(given.jobs), str(given.rounds))
        )
        facts = {"store": given.store, "jobs": given.jobs, "versions": versions(databases)}
    if given.json:
        print(json.dumps({**facts, "results": found}, indent=2))
        return
    print(f"{given.jobs} jobs, {given.rounds} rounds, {given.store}\n{facts['versions']}\n")
    print(f"{'':24}  {'ms, median (least – most)':>28}  CPU ms  statements  ms in them")
    for name, line in found.items():
        times = line["ms"]
        spread = f"{median(times):.1f} ({min(times):.1f} – {max(times):.1f})"
        numbers = f"{median(line['cpu_ms']):>6.1f}  {line['statements']:>10}  {line['statements_ms']:>10}"
        print(f"{name:24}  {spread:>28}  {numbers}")


def _measure(jobs: int, rounds: int) -> dict[str, Any]:
    """Return the times of each list and the number of its statements."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext, setup_test_environment

    from .many_jobs import fill

    fill("default", jobs)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # what it would do by itself some time later
    setup_test_environment()
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    found: dict[str, Any] = {}
    for name, query in LISTS.items():
        address = "/admin/dataqueue/job/" + query.format(middle=jobs // 2)
        with CaptureQueriesContext(connection) as sent:
            answer = browser.get(address)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answered {answer.status_code}")
        queries = [float(query["time"]) for query in sent]  # the next request empties the log
        found[name] = {
            "ms": [_time(browser, address, time.perf_counter) for _ in range(rounds)],
            "cpu_ms": [_time(browser, address, time.process_time) for _ in range(rounds)],
            "statements": len(queries),
            "statements_ms": round(sum(queries) * 1000, 1),
        }
    return found


def _time(browser: Any, address: str, clock: Callable[[], float]) -> float:
    started = clock()
    browser.get(address)
    return round((clock() - started) * 1000, 2)


if __name__ == "__main__":
    main()
