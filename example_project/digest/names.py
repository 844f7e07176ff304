"""What the schedule, its jobs and their files are called."""

from __future__ import annotations

from .days import Day

SCHEDULE = "nightly_digest"
"""The schedule's name, and the type of its jobs."""

TAG = "digest"


def file_name(day: Day, job_id: int) -> str:
    """Return the name of a digest's file; one of a day that is not over yet is only one of several."""
    return f"digests/{day.date}.html" if day.is_over else f"digests/{day.date}-job-{job_id}.html"
