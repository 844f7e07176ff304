"""Jobs per second of one worker process on jobs that do nothing, beside a raw loop on the same server.

`python -m benchmarks.drain --store sqlite|postgres`
"""

from __future__ import annotations

from collections.abc import Callable

from . import raw, report
from .databases import Databases, run, scratch, versions
from .options import parser, positive

ABOUT = "Measure how fast one worker process, with default settings, empties a queue of jobs that do nothing."


def main() -> None:
    """Run the rounds and print the result."""
    options = parser(ABOUT, rounds=5)
    options.add_argument("--jobs", type=positive, default=10_000, help="jobs per round (default: 10000)")
    given = options.parse_args()
    with scratch(given.store, given.url) as databases:
        run(databases.template, "-m", "benchmarks.enqueuing", "fill", str(given.jobs))
        worker, by_hand = rounds_of(databases, given.jobs, given.rounds, _work)
        facts = {"store": given.store, "jobs": given.jobs, "versions": versions(databases)}
    lines = {f"drain, {given.store}": report.compared(worker, by_hand)}
    report.show(f"{given.jobs} jobs, {given.rounds} rounds", lines, as_json=given.json, facts=facts)


def rounds_of(
    databases: Databases, jobs: int, rounds: int, work_on: Callable[[str], None], since: str = "claim"
) -> tuple[list[float], list[float]]:
    """Return jobs per second of `work_on` and of the raw loop, each since its first claim, or completion.

    Which of them goes first alternates.
    """
    worker: list[float] = []
    by_hand: list[float] = []
    for n in range(rounds):
        order: list[tuple[list[float], Callable[[str], None]]] = [(worker, work_on), (by_hand, _work_by_hand)]
        for found, work in order if n % 2 == 0 else reversed(order):
            with databases.copy() as url:
                work(url)
                found.append(_speed(url, jobs, since))
    return worker, by_hand


def _work(url: str) -> None:
    run(url, "-m", "django", "dataqueue_worker", "--burst")


def _work_by_hand(url: str) -> None:
    loop = raw.connect(url)
    loop.drain()
    loop.close()


def _speed(url: str, jobs: int, since: str) -> float:
    """Jobs per second until the last completion, by the times in the rows."""
    loop = raw.connect(url)
    completed, seconds = loop.completed(since)
    loop.close()
    if completed != jobs:
        raise RuntimeError(f"{completed} of {jobs} jobs were completed")
    return jobs / seconds


if __name__ == "__main__":
    main()
