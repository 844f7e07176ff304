"""Command line options that the benchmarks share."""

from __future__ import annotations

import argparse

from .databases import STORES


def parser(about: str, *, stores: tuple[str, ...] = STORES, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument(
        "--store", choices=stores, required="both" not in stores, default="both", help="what to measure"
    )
    options.add_argument(
        "--url", help="a PostgreSQL server to use, postgresql://user:password@host/database (default: start one)"
    )
    options.add_argument("--json", action="store_true", help="print JSON")
    if rounds is not None:
        options.add_argument("--rounds", type=positive, default=rounds, help=f"rounds (default: {rounds})")
    return options


def positive(text: str) -> int:
    """Return a whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


positive.__name__ = "whole number above zero"
