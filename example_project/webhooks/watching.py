"""What a visitor sees of deliveries: by host, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from dataqueue_django import Job, JobStatus, get_queue

from .jobs import JOB_TYPE, TAG
from .models import Delivery, Outcome

SHOWN = 120
"""Deliveries on the page: the latest, whatever their hosts."""


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery and its job, which may be deleted by now."""

    delivery: Delivery
    job: Job | None

    @property
    def is_open(self) -> bool:
        """Whether something may still come of it."""
        return self.delivery.outcome == Outcome.OPEN and self.job is not None and not self.job.is_terminal

    @property
    def state(self) -> str:
        """The class of its state on the page."""
        if self.delivery.outcome == Outcome.DELIVERED:
            return "completed"
        if self.delivery.outcome == Outcome.REFUSED or self.job is None:
            return "failed"
        return str(self.job.status)

    @property
    def label(self) -> str:
        """How it stands."""
        if self.delivery.outcome != Outcome.OPEN:
            return f"{self.delivery.get_outcome_display()}, {self.delivery.answer}"
        if self.job is None or self.job.is_terminal:
            return "not delivered"
        if self.job.status == JobStatus.PROCESSING:
            return "being sent"
        return "put off by the host" if self.delivery.times_put_off else "waits for its turn"


@dataclass(frozen=True, slots=True)
class Host:
    """A host with its latest deliveries, the first one first."""

    name: str
    lines: list[Line]
    waiting: int
    active: int
    at_once: int | None
    rate: str

    @property
    def delivered(self) -> int:
        """How many of these have been delivered."""
        return sum(line.delivery.outcome == Outcome.DELIVERED for line in self.lines)


@dataclass(frozen=True, slots=True)
class Watched:
    """All hosts that something was sent to lately."""

    hosts: list[Host]

    @property
    def is_running(self) -> bool:
        """Whether looking again later may show something new."""
        return any(line.is_open for host in self.hosts for line in host.lines)


def watch() -> Watched:
    """Return the latest deliveries by host. Jobs are looked at first: a delivery is closed no later than its job."""
    jobs = {job.id: job for job in get_queue().get_jobs_by_tags([TAG], limit=SHOWN)}
    by_host: dict[str, list[Line]] = {}
    for delivery in reversed(Delivery.objects.all()[:SHOWN]):
        by_host.setdefault(delivery.host, []).append(Line(delivery, jobs.get(delivery.job_id or 0)))
    return Watched([_host(name, lines) for name, lines in sorted(by_host.items())])


def _host(name: str, lines: list[Line]) -> Host:
    """A host with how many jobs of its group there are, and the narrowest limits over them."""
    queue = get_queue()
    counts = queue.get_group_counts(name, job_type=JOB_TYPE)
    limits = [use.limit for use in queue.get_limit_usage("default", JOB_TYPE, name)]
    at_once = min((limit.concurrency for limit in limits if limit.concurrency is not None), default=None)
    rates = [f"{limit.rate} within {limit.per.total_seconds():g} s" for limit in limits if limit.rate and limit.per]
    return Host(name, lines, counts.waiting, counts.active, at_once, ", ".join(rates))
