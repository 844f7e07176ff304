"""What a visitor sees of an import and of the jobs behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataqueue_django import Job, JobStatus, get_queue

from .models import Chunk, Import, ImportState


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job of an import, in words for its page."""

    what: str
    job: Job

    @property
    def status(self) -> str:
        """How the job is, in a word or two."""
        return "failed, will be tried again" if self.job.will_retry else str(self.job.status)

    @property
    def failed(self) -> bool:
        """Whether the job failed for good."""
        return self.job.is_terminal and self.job.status == JobStatus.FAILED

    @property
    def error(self) -> str:
        """What the last failed attempt said, or nothing."""
        return str(self.job.error_history[-1]["message"]) if self.job.error_history else ""


@dataclass(frozen=True, slots=True)
class Watched:
    """How far an import has come."""

    state: ImportState
    percent: int
    message: str
    failure: str
    accepted: int
    rejected: int
    jobs: list[JobLine]

    @property
    def is_running(self) -> bool:
        """Whether looking again later may show something new."""
        return self.state not in (ImportState.FINISHED, ImportState.FAILED)


def watch(record: Import) -> Watched:
    """Return what is known about an import and its jobs; they move on while this looks, so `record` may be behind."""
    chunks = list(record.chunks.defer("rows"))
    jobs = list(_jobs(record, chunks))
    failed = next((line for line in jobs if line.failed), None)
    state = ImportState.FAILED if failed and record.state != ImportState.FINISHED else ImportState(record.state)
    return Watched(
        state=state,
        percent=_percent(state, chunks, {line.job.id: line.job.progress or 0 for line in jobs}),
        message=_message(state, jobs),
        failure=record.problem or (failed.error if failed else ""),
        accepted=sum(chunk.accepted for chunk in chunks),
        rejected=sum(chunk.rejected for chunk in chunks),
        jobs=jobs,
    )


def _jobs(record: Import, chunks: list[Chunk]) -> Iterator[JobLine]:
    """The jobs of an import; those that were cleaned up in the meantime are left out."""
    queue = get_queue()
    parts = [("Read the file", record.job_id)]
    parts += [(f"Import {chunk}", chunk.job_id) for chunk in chunks]
    parts += [("Build the report", record.report_job_id)]
    for what, job_id in parts:
        job = queue.get_job(job_id) if job_id is not None else None
        if job is not None:
            yield JobLine(what, job)


def _percent(state: ImportState, chunks: list[Chunk], progress: dict[int, int]) -> int:
    """Reading and reporting count a twentieth each, the rows for the rest; 100 is for an import that is finished."""
    if state == ImportState.FINISHED:
        return 100
    if not chunks:
        return 0
    hundredths = sum(chunk.size * (100 if chunk.done_at else progress.get(chunk.job_id, 0)) for chunk in chunks)
    return 5 + 90 * hundredths // (100 * sum(chunk.size for chunk in chunks))


def _message(state: ImportState, jobs: list[JobLine]) -> str:
    """What the job that reported last has to say, or how the import is."""
    talking = [line.job for line in jobs if line.job.status == JobStatus.PROCESSING and line.job.progress_message]
    if talking:
        return str(max(talking, key=lambda job: job.updated_at).progress_message)
    return {
        ImportState.WAITING: "Waiting for a worker",
        ImportState.IMPORTING: "Importing",
        ImportState.IMPORTED: "Waiting for the report",
        ImportState.FINISHED: "Done",
        ImportState.FAILED: "Failed",
    }[state]
