"""What a worker process costs while there is nothing to do.

`python -m benchmarks.idle --store sqlite|postgres --seconds 20`
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg

from .databases import Databases, scratch, start, versions
from .options import parser, positive

ABOUT = "Measure the resident memory and the CPU share of a worker process without jobs."
MEGABYTE = 1024 * 1024
SETTLE = 2.0
"""Seconds after the worker has said that it is ready before the measurement begins."""


def main() -> None:
    """Watch a worker, and print what it took."""
    options = parser(ABOUT)
    options.add_argument("--seconds", type=positive, default=20, help="how long to watch (default: 20)")
    given = options.parse_args()
    with scratch(given.store, given.url) as databases, databases.copy() as url, _worker(url) as process:
        time.sleep(SETTLE)
        facts = {"store": given.store, "seconds": given.seconds, "versions": versions(databases)}
        with _transactions(databases, url, facts):
            facts |= _watch(psutil.Process(process.pid), given.seconds)
    print(json.dumps(facts, indent=2) if given.json else _text(facts))


@contextlib.contextmanager
def _worker(url: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process that has said it is ready; ended with its own consent."""
    process = start(url, "-m", "django", "dataqueue_worker")
    try:
        if not process.stdout or "ready" not in process.stdout.readline():
            raise RuntimeError(f"the worker did not start: {process.communicate()[1]}")
        yield process
    finally:
        process.terminate()
        process.communicate()


def _watch(process: psutil.Process, seconds: int) -> dict[str, Any]:
    """Return resident megabytes and the share of one core."""
    used, started = _cpu(process), time.perf_counter()
    time.sleep(seconds)
    share = (_cpu(process) - used) / (time.perf_counter() - started)
    return {
        "rss_mb": round(process.memory_info().rss / MEGABYTE, 1),
        "share_of_a_core": round(share, 5),
        "threads": process.num_threads(),
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def _transactions(databases: Databases, url: str, facts: dict[str, Any]) -> Iterator[None]:
    """Note how many transactions a minute the block's database saw, where the server counts them."""
    if databases.store != "postgres":
        yield
        return
    with psycopg.connect(databases.template, autocommit=True) as connection:  # beside the database that is counted
        name, started = url.rpartition("/")[2], time.perf_counter()
        before = _counted(connection, name)
        yield
        passed = time.perf_counter() - started
        facts["transactions_per_minute"] = round((_counted(connection, name) - before) / passed * 60)


def _counted(connection: psycopg.Connection[Any], database: str) -> int:
    row = connection.execute(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s", [database]
    ).fetchone()
    return int(row[0]) if row else 0


def _text(facts: dict[str, Any]) -> str:
    lines = [
        f"One idle worker process, watched for {facts['seconds']} s",
        facts["versions"],
        "",
        f"resident memory          {facts['rss_mb']:.1f} MB",
        f"ratio of CPU to a core   {facts['share_of_a_core']:.5f}",
        f"threads                  {facts['threads']}",
    ]
    if "transactions_per_minute" in facts:
        lines.append(f"transactions a minute    {facts['transactions_per_minute']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
