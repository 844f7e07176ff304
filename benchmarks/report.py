"""Medians, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median
from typing import Any


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of the rounds, and the rounds."""
    return {"median": _rounded(median(values)), "rounds": [_rounded(value) for value in values]}


def compared(queue: Sequence[float], raw: Sequence[float]) -> dict[str, Any]:
    """Return both medians and the ratio: the median of the rounds' own ratios, since the machine's speed moves."""
    ratios = [a / b for a, b in zip(queue, raw, strict=True)]
    return {"queue": summary(queue), "raw": summary(raw), "ratio": summary(ratios)}


def show(title: str, lines: dict[str, dict[str, Any]], *, as_json: bool, facts: dict[str, Any]) -> None:
    """Print a comparison per line: jobs/s of the queue and of the raw loop with their range, and the ratio."""
    if as_json:
        print(json.dumps({**facts, "results": lines}, indent=2))
        return
    print(f"{title}\n{facts['versions']}\n")
    width = max(len(name) for name in lines)
    print(f"{'':{width}}  {'dataqueue /s':>24}  {'raw /s':>24}  ratio")
    for name, line in lines.items():
        print(f"{name:{width}}  {_range(line['queue']):>24}  {_range(line['raw']):>24}  {_ratio(line['ratio'])}")
    print("\nMedian (least – most of the rounds); a ratio is the median of the rounds' own ratios.")
    for name, value in facts.get("notes", {}).items():
        print(f"{name}: {value}")
    print()


def _range(found: dict[str, Any]) -> str:
    return f"{found['median']:,.0f} ({min(found['rounds']):,.0f} – {max(found['rounds']):,.0f})"


def _ratio(found: dict[str, Any]) -> str:
    return f"{found['median']:.3f} ({min(found['rounds']):.3f} – {max(found['rounds']):.3f})"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
