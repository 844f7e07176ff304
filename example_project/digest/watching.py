"""What a visitor sees of the schedule: when it fires, and what became of its last ticks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.utils import timezone

from dataqueue_django import Job, JobStatus, get_queue

from .days import Change, next_change
from .names import SCHEDULE

if TYPE_CHECKING:
    from dataqueue_django.domain.records import CronSchedule, CronTick

SHOWN_RUNS = 10
SHOWN_TICKS = 20
FAR = 400
"""Runs that are looked through for those on days when clocks change: more than a year of nights."""


@dataclass(frozen=True, slots=True)
class Run:
    """A moment at which the schedule will fire, by its own clock and in UTC.

    The name of the zone is written here: Django's filter `date` leaves it out of times that come twice.
    """

    local: datetime
    utc: datetime

    @property
    def day(self) -> str:
        """The day and the time on its clock."""
        return f"{self.local:%a, %-d %b %Y}, {self.time}"

    @property
    def time(self) -> str:
        """The time on its clock."""
        return f"{self.local:%H:%M %Z}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A day on which clocks change, and when the schedule fires on it."""

    change: Change
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Line:
    """A tick, with its job where one was added and is still kept."""

    tick: CronTick
    job: Job | None

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody asked for it."""
        return str(self.tick.outcome) == "by_hand"

    @property
    def was_skipped(self) -> bool:
        """Whether the digest before had not been written yet."""
        return str(self.tick.outcome) == "skipped"

    @property
    def is_done(self) -> bool:
        """Whether there is a digest to read; a tick that was skipped shows the job of another."""
        return self.job is not None and self.job.status == JobStatus.COMPLETED and not self.was_skipped

    @property
    def failure(self) -> str:
        """What its job failed of for good, if it did."""
        is_lost = self.job is not None and self.job.is_terminal and self.job.status == JobStatus.FAILED
        return str(self.job.error_history[-1]["message"]) if is_lost and self.job.error_history else ""


@dataclass(frozen=True, slots=True)
class Watched:
    """The schedule, what comes and what was."""

    schedule: CronSchedule
    runs: list[Run]
    turns: list[Turn]
    lines: list[Line]

    @property
    def is_paused(self) -> bool:
        """Whether it fires by hand only."""
        return str(self.schedule.status) == "paused"

    @property
    def is_running(self) -> bool:
        """Whether looking again soon may show something new."""
        return any(line.job is not None and not line.job.is_terminal for line in self.lines)


def find() -> CronSchedule | None:
    """Return the schedule; None before the first worker has stored it."""
    return get_queue().get_cron_job_by_name(SCHEDULE)


def watch() -> Watched | None:
    """Return what is known about the schedule; None before the first worker has stored it."""
    schedule = find()
    if schedule is None:
        return None
    queue, zone = get_queue(), ZoneInfo(schedule.timezone)
    runs = [Run(moment.astimezone(zone), moment) for moment in queue.get_next_cron_runs(schedule.id, FAR)]
    ticks = queue.get_cron_ticks(schedule.id, limit=SHOWN_TICKS)
    ids = [tick.job_id for tick in ticks if tick.job_id is not None]
    jobs = {job.id: job for job in queue.get_jobs({"ids": ids}, limit=SHOWN_TICKS)} if ids else {}
    lines = [Line(tick, jobs.get(tick.job_id)) for tick in ticks]
    return Watched(schedule, runs[:SHOWN_RUNS], _turns(zone, runs), lines)


def _turns(zone: ZoneInfo, runs: list[Run]) -> list[Turn]:
    """The next two changes of the zone's clocks: one forward, one back, in most zones that change them."""
    turns: list[Turn] = []
    after = timezone.now().astimezone(UTC)
    for _ in range(2):
        change = next_change(zone, after)
        if change is None:
            break
        turns.append(Turn(change, [run for run in runs if run.local.date() == change.new.date()]))
        after = change.moment
    return turns
