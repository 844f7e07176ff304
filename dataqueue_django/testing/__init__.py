"""For tests: of projects that use this package, and of stores written for it."""

from __future__ import annotations

from .running import inline, run_job

__all__ = ["inline", "run_job"]
