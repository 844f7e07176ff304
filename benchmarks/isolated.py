"""Jobs per second of one worker with two warm child processes, beside a raw loop, and the memory that a child takes.

`python -m benchmarks.isolated --store sqlite|postgres`
"""

from __future__ import annotations

import json
import os
import time

import psutil

from . import report
from .databases import run, scratch, start, versions
from .drain import rounds_of
from .options import parser, positive

ABOUT = "Measure how fast one worker empties a queue of jobs that do nothing, each in one of its child processes."
CHILDREN = 2
MEGABYTE = 1024 * 1024


def main() -> None:
    """Run the rounds and print the result."""
    options = parser(ABOUT, rounds=5)
    options.add_argument("--jobs", type=positive, default=5_000, help="jobs per round (default: 5000)")
    given = options.parse_args()
    os.environ["BENCHMARK_WORKER"] = json.dumps({"ISOLATE": True, "CONCURRENCY": CHILDREN})
    memory: list[float] = []
    with scratch(given.store, given.url) as databases:
        run(databases.template, "-m", "benchmarks.enqueuing", "fill", str(given.jobs))
        worker, by_hand = rounds_of(
            databases, given.jobs, given.rounds, lambda url: _work(url, memory), since="completion"
        )
        notes = {"resident memory of a child": f"{max(memory, default=0):.0f} MB"}
        facts = {"store": given.store, "jobs": given.jobs, "versions": versions(databases), "notes": notes}
    lines = {f"isolated, {given.store}": report.compared(worker, by_hand)}
    title = f"{given.jobs} jobs in {CHILDREN} child processes, {given.rounds} rounds"
    report.show(title, lines, as_json=given.json, facts=facts)


def _work(url: str, memory: list[float]) -> None:
    """Let a worker drain the queue, and look at its children meanwhile."""
    process = start(url, "-m", "django", "dataqueue_worker", "--burst")
    while process.poll() is None:
        memory += _children(process.pid)
        time.sleep(0.2)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the worker ended with {process.returncode}: {errors}")


def _children(pid: int) -> list[float]:
    """Return the resident megabytes of a worker's child interpreters, without their guard."""
    try:
        return [
            child.memory_info().rss / MEGABYTE
            for child in psutil.Process(pid).children()
            if any("isolated import main" in word for word in child.cmdline())
        ]
    except psutil.Error:  # one that has ended meanwhile
        return []


if __name__ == "__main__":
    main()
