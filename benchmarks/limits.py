"""What pauses and limits cost: those that nobody is under, and jobs in front that they keep back.

`python -m benchmarks.limits --store sqlite|postgres`
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from . import raw, report
from .databases import Databases, run, scratch, versions
from .limiting import KEPT_BACK, NOTHING, UNUSED
from .options import parser, positive

ABOUT = "Measure what pauses and limits cost the jobs that they are not about."


def main() -> None:
    """Run the rounds and print the results."""
    options = parser(ABOUT, rounds=5)
    options.add_argument("--jobs", type=positive, default=5_000, help="jobs per round (default: 5000)")
    options.add_argument("--in-front", type=positive, default=200_000, help="jobs kept back (default: 200000)")
    given = options.parse_args()
    with scratch(given.store, given.url) as databases:
        lines = {
            **_in_front(databases, given.jobs, given.in_front, given.rounds),
            **_unused(databases, given.jobs, given.rounds),
        }
        facts = {"store": given.store, "jobs": given.jobs, "in_front": given.in_front, "versions": versions(databases)}
    if given.json:
        print(json.dumps({**facts, "results": lines}, indent=2))
        return
    print(f"{given.store}, {given.jobs} jobs, {given.in_front} in front, {given.rounds} rounds\n{facts['versions']}\n")
    width = max(map(len, lines))
    print(f"{'':{width}}  {'with':>10}  {'without':>10}  ratio")
    for name, line in lines.items():
        ratio = line["ratio"]
        shown = f"{ratio['median']:.3f} ({min(ratio['rounds']):.3f} – {max(ratio['rounds']):.3f})"
        print(f"{name:{width}}  {line['with']['median']:>10.4g}  {line['without']['median']:>10.4g}  {shown}")
    print("\nMedians of the rounds; a ratio is the median of the rounds' own ratios.\n")


def _unused(databases: Databases, jobs: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Jobs per second of a worker where there is a limit and a pause of other queues, beside one where there is none.

    The same twice without any tells how far two equal things are apart on this machine.
    """
    run(databases.template, "-m", "benchmarks.limiting", "fill", str(jobs))
    cases = (NOTHING, UNUSED, "the same")
    found: dict[str, list[float]] = {case: [] for case in cases}
    for n in range(rounds):
        for case in cases if n % 2 == 0 else reversed(cases):
            with databases.copy() as url:
                run(url, "-m", "benchmarks.limiting", "set", case)
                run(url, "-m", "django", "dataqueue_worker", "--burst")
                found[case].append(_speed(url, jobs))
    return {
        "jobs/s, limits that nobody uses": _compared(found[UNUSED], found[NOTHING]),
        "jobs/s, nothing beside nothing": _compared(found["the same"], found[NOTHING]),
    }


def _in_front(databases: Databases, jobs: int, in_front: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Milliseconds for a claim of other jobs, and jobs per second, with many in front, beside none."""
    with contextlib.ExitStack() as stack:
        urls = {case: stack.enter_context(databases.copy()) for case in (NOTHING, *KEPT_BACK)}
        for case, url in urls.items():
            run(url, "-m", "benchmarks.limiting", "front", case, str(in_front))
        found: dict[str, list[dict[str, float]]] = {case: [] for case in urls}
        for n in range(rounds):
            for case in urls if n % 2 == 0 else reversed(urls):
                found[case].append(json.loads(run(urls[case], "-m", "benchmarks.limiting", "measure", str(jobs))))
    lines = {}
    for case in KEPT_BACK:
        for name, unit in (("ms", "ms per claim"), ("per_second", "jobs/s")):
            mine, others = ([one[name] for one in found[which]] for which in (case, NOTHING))
            lines[f"{unit}, behind {case}"] = _compared(mine, others)
    return lines


def _compared(mine: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(mine, others, strict=True)]
    return {"with": report.summary(mine), "without": report.summary(others), "ratio": report.summary(ratios)}


def _speed(url: str, jobs: int) -> float:
    loop = raw.connect(url)
    completed, seconds = loop.completed("claim")
    loop.close()
    if completed != jobs:
        raise RuntimeError(f"{completed} of {jobs} jobs were completed")
    return jobs / seconds


if __name__ == "__main__":
    main()
