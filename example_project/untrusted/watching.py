"""What a visitor sees of these jobs."""

from __future__ import annotations

from dataclasses import dataclass

from dataqueue_django import Job, JobStatus, get_queue

from .jobs import TAG, preview_scan

SHOWN_JOBS = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One job and what came of it."""

    job: Job

    @property
    def is_scan(self) -> bool:
        """Whether it makes a preview."""
        return self.job.job_type == preview_scan.job_type

    @property
    def kind(self) -> str:
        """What kind of thing it works on."""
        return "Scan" if self.is_scan else "Pattern"

    @property
    def what(self) -> str:
        """What it works on."""
        payload = self.job.payload
        return str(payload["sha256"][:8] if self.is_scan else payload["pattern"])

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return self.job.status == JobStatus.COMPLETED

    @property
    def reason(self) -> str:
        """Why it failed, in the queue's word."""
        return str(self.job.failure_reason or "") if self.job.status == JobStatus.FAILED else ""

    @property
    def error(self) -> str:
        """What its last failure said; an error without a message, such as a MemoryError, by its name."""
        if not self.reason or not self.job.error_history:
            return ""
        last = self.job.error_history[-1]
        return str(last["message"] or last["type"])

    @property
    def seconds(self) -> float | None:
        """How long it took, once it has ended; the first one waits for its process to start."""
        began, ended = self.job.last_started_at, self.job.finished_at
        return (ended - began).total_seconds() if began and ended else None


@dataclass(frozen=True, slots=True)
class Watched:
    """The latest jobs."""

    lines: list[Line]

    @property
    def is_running(self) -> bool:
        """Whether looking again later may show something new."""
        return any(not line.job.is_terminal for line in self.lines)


def watch() -> Watched:
    """Return the latest jobs, newest first."""
    return Watched([Line(job) for job in get_queue().get_jobs_by_tags([TAG], limit=SHOWN_JOBS)])
