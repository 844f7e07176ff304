"""The job that does nothing."""

from __future__ import annotations

from dataqueue_django import job


@job
def noop(n: int, text: str) -> None:
    """Return at once."""
