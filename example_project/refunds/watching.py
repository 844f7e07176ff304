"""What a visitor sees of a refund and of the job behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dataqueue_django import Job, JobStatus, get_queue

from .deciding import Standing, standing
from .models import Refund, RefundState

SOON, LATER = 1, 5
"""Seconds until the page looks again: while a worker is at it, and while it waits for a person."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that has happened."""

    when: datetime
    what: str
    who: str = ""
    is_step: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """How far a refund has come."""

    refund: Refund
    stands: Standing
    job: Job | None
    lines: list[Line]

    @property
    def is_open(self) -> bool:
        """Whether its job has yet to close it."""
        return self.refund.closed_at is None

    @property
    def label(self) -> str:
        """How it stands: a decision may have come that its job has not read yet."""
        if self.refund.state != RefundState.ASKED:
            return str(self.refund.get_state_display())
        if self.stands.decision is not None:
            return f"{self.stands.decision.word}, to be carried out"
        return "nobody decided in time" if self.stands.is_over else str(self.refund.get_state_display())

    @property
    def waits_for_person(self) -> bool:
        """Whether a decision is what it takes."""
        return self.refund.state == RefundState.ASKED and self.stands.obstacle is None

    @property
    def failure(self) -> str:
        """Why its job has ended without closing it, if so."""
        if not self.is_open or self.job is None or not self.job.is_terminal:
            return ""
        last = self.job.error_history[-1]["message"] if self.job.error_history else ""
        return str(last) if self.job.status == JobStatus.FAILED else f"Its job is {self.job.status}."

    @property
    def refresh(self) -> int | None:
        """In how many seconds there may be something new; None for never."""
        if not self.is_open or self.failure or self.job is None:
            return None
        return LATER if self.waits_for_person and self.job.status == JobStatus.WAITING else SOON


def watch(refund: Refund) -> Watched:
    """Return what is known about a refund and its job, which moves on while this looks.

    The job is looked at first: it ends in the transaction that closes the refund, so an ended one never seems stuck.
    """
    job = get_queue().get_job(refund.job_id) if refund.job_id is not None else None
    refund.refresh_from_db()
    stands = standing(refund)
    lines = [*_decision(stands), *([] if job is None else [*_events(job), *_steps(job)])]
    return Watched(refund, stands, job, sorted(lines, key=lambda line: line.when))


def _decision(stands: Standing) -> Iterator[Line]:
    if stands.token is not None and stands.decision is not None:
        yield Line(stands.token.completed_at, stands.decision.word, stands.token.completed_by)


def _events(job: Job) -> Iterator[Line]:
    for event in get_queue().get_job_events(job.id):
        attempt = f", attempt {event.attempt}" if event.event_type == "processing" else ""
        yield Line(event.created_at, f"{event.event_type}{attempt}", event.actor)


def _steps(job: Job) -> Iterator[Line]:
    """What its handler has recorded; a token's answer is its wait's outcome."""
    for step in get_queue().get_job_steps(job.id):
        if step.kind == "step":
            yield Line(step.created_at, f"step “{step.name}” done", is_step=True)
        elif step.kind == "token":
            yield Line(step.created_at, "token made", is_step=True)
