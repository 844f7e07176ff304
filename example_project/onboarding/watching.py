"""What a visitor sees of a welcome and of the job behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dataqueue_django import Job, JobStatus, Step, get_queue

from .lessons import LESSONS, Lesson
from .models import Person

SOON, LATER = 1, 5
"""Seconds until the page looks again: while a worker is at it, and while days go by."""


@dataclass(frozen=True, slots=True)
class Line:
    """One letter: when it was written, or else when it is to come; neither is known of one that is further off."""

    lesson: Lesson
    sent_at: datetime | None = None
    due_at: datetime | None = None
    word: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """How far a welcome has come."""

    person: Person
    job: Job | None
    lines: list[Line]

    @property
    def is_open(self) -> bool:
        """Whether its job has yet to end."""
        return self.job is not None and not self.job.is_terminal

    @property
    def is_waiting(self) -> bool:
        """Whether its job waits for the next letter's day."""
        return self.job is not None and self.job.status == JobStatus.WAITING

    @property
    def failure(self) -> str:
        """What its job failed of for good, if it did."""
        is_lost = self.job is not None and self.job.is_terminal and self.job.status == JobStatus.FAILED
        return str(self.job.error_history[-1]["message"]) if is_lost and self.job.error_history else ""

    @property
    def refresh(self) -> int | None:
        """In how many seconds there may be something new; None for never."""
        if not self.is_open:
            return None
        return LATER if self.is_waiting else SOON


def watch(person: Person) -> Watched:
    """Return what is known about a welcome and its job, which moves on while this looks."""
    job = get_queue().get_job(person.job_id) if person.job_id is not None else None
    steps = {step.name: step for step in get_queue().get_job_steps(job.id) if step.kind == "step"} if job else {}
    return Watched(person, job, _lines(person, job, steps))


def _lines(person: Person, job: Job | None, steps: dict[str, Step]) -> list[Line]:
    """One line for each letter; the first that has no step is the next."""
    lines: list[Line] = []
    is_next = job is not None and not job.is_terminal and person.unsubscribed_at is None
    for lesson in LESSONS:
        step = steps.get(lesson.name)
        if step is not None and step.result:
            lines.append(Line(lesson, sent_at=step.created_at, word="sent"))
        elif is_next and job is not None:
            lines.append(Line(lesson, due_at=job.wait_until, word="next"))
            is_next = False
        else:
            is_stopped = job is None or job.is_terminal or person.unsubscribed_at is not None
            lines.append(Line(lesson, word="not sent" if is_stopped else "later"))
    return lines
