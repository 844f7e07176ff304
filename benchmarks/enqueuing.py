"""The process that enqueues, measured from inside; `benchmarks.drain` uses it to fill a queue.

`python -m benchmarks.enqueuing fill JOBS`, or `measure JOBS SINGLES`, which prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
import psutil
from django.db import connection, transaction

from .payloads import payloads

MEGABYTE = 1024 * 1024


def main() -> None:
    """Do what the arguments say."""
    django.setup()
    what, *numbers = sys.argv[1:]
    if what == "fill":
        _fill(int(numbers[0]))
    else:
        print(json.dumps(_measure(*map(int, numbers))))


def _fill(jobs: int) -> None:
    """Add jobs, and let PostgreSQL do the upkeep that it would do by itself some time later."""
    from .jobs import noop

    noop.enqueue_many(payloads(jobs))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _measure(jobs: int, singles: int) -> dict[str, float]:
    """Return jobs per second in three ways, and resident memory in megabytes before and at its peak."""
    from .jobs import noop

    noop.enqueue(n=0, text="warm")
    before = psutil.Process().memory_info().rss / MEGABYTE
    many = _per_second(jobs, lambda: noop.enqueue_many(payloads(jobs)))
    peak = _peak_rss() / MEGABYTE

    def one_by_one() -> None:
        for payload in payloads(singles):
            noop.enqueue(**payload)

    alone = _per_second(singles, one_by_one)
    with transaction.atomic():
        inside = _per_second(singles, one_by_one)
    return {"many": many, "alone": alone, "inside": inside, "before": before, "peak": peak}


def _per_second(count: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def _peak_rss() -> int:
    """The most memory this process ever held, in bytes.

    `getrusage` counts, on Linux, the parent's memory at the fork as well; the process' own mark is in /proc.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    main()
