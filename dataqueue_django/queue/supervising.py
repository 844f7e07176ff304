"""Looking after a queue without running its jobs: the supervisor of an alias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict, Unpack

from ..domain.duties import Done
from ..domain.records import JSON
from .aio import with_async_twins
from .duties import Chore
from .reclaiming import Reclaiming
from .scheduling import Scheduling

if TYPE_CHECKING:
    from ..worker.upkeep_supervisor import UpkeepOptions, UpkeepSupervisor

SECONDS = 30.0
"""For how long a supervisor deletes at a time, of each kind: it has nothing else to do."""

CRON_EVERY = 0.5
"""Seconds between two looks for schedules that are due, whoever supervises: less than any interval that makes sense."""


class UpkeepSettings(TypedDict, total=False):
    """What `create_supervisor` takes (DataQueue "SupervisorOptions")."""

    supervisor_id: str | None
    interval: float | timedelta | None
    stuck_jobs_timeout_minutes: float | None
    cleanup_jobs_days_to_keep: float | None
    cleanup_events_days_to_keep: float | None
    cleanup_batch_size: int | None
    reclaim_stuck_jobs: bool | None
    expire_timed_out_tokens: bool | None
    on_error: Callable[[Exception], object] | None
    verbose: bool | None


@with_async_twins
class Supervising(Reclaiming, Scheduling):
    """`create_supervisor`."""

    def create_supervisor(self, **options: Unpack[UpkeepSettings]) -> UpkeepSupervisor:
        """Return what looks after this queue without running jobs (DataQueue "createSupervisor").

        It does what workers do for each other anyway: takes back the jobs of workers that are gone (as
        `reclaim_stuck_jobs(stuck_jobs_timeout_minutes)` does, 10 by default), closes overdue tokens, sees to late
        requests to cancel, adds the jobs of schedules that are due, and deletes what RETENTION does not keep.
        `interval` is in seconds (60) or a timedelta.
        `cleanup_jobs_days_to_keep` is for completed jobs and `cleanup_events_days_to_keep` for events, instead of
        RETENTION; with 0 that duty is left out, as it is with `reclaim_stuck_jobs` or `expire_timed_out_tokens` False.
        `cleanup_batch_size` is at most 1000. `on_error(exception)` is called for each duty that fails, `verbose` logs
        what each round did at INFO. Nothing is started yet. Raises ConfigurationError naming the option that is unknown
        or out of range.
        """
        from ..worker.upkeep_supervisor import UpkeepSupervisor, upkeep_options_from  # loaded by those who need it

        asked = upkeep_options_from(options)
        return UpkeepSupervisor(self, self._chores(asked), asked, options.get("on_error"))

    def _chores(self, asked: UpkeepOptions) -> list[Chore]:
        from ..worker.chores import chores_of

        jobs, events = asked.cleanup_jobs_days_to_keep, asked.cleanup_events_days_to_keep
        kept = self.settings.retention
        kept = kept if jobs is None else replace(kept, completed=jobs)
        kept = kept if events is None else replace(kept, events=events)
        left_out = {
            "reclaim": not asked.reclaim_stuck_jobs,
            "expire_tokens": not asked.expire_timed_out_tokens,
            "clean_jobs": jobs == 0,
            "clean_events": events == 0,
        }
        found = chores_of(
            self.store,
            replace(self.settings, retention=kept),
            self.handlers,
            seconds=SECONDS,
            most=asked.cleanup_batch_size,
        )
        return [
            replace(chore, do=self._reclaim(asked.stuck_jobs_timeout_minutes)) if chore.name == "reclaim" else chore
            for chore in [*found, Chore(name="cron", every=CRON_EVERY, do=self._fire)]
            if not left_out.get(chore.name)
        ]

    def _fire(self, _: JSON) -> Done:
        added = self.enqueue_due_cron_jobs()
        return Done(report={"enqueued_cron_jobs": added}, ready=added)

    def _reclaim(self, minutes: float) -> Callable[[JSON], Done]:
        """What takes jobs back where perhaps no worker is left to notice the dead: it watches for itself."""
        return lambda _: Done(report={"reclaimed_jobs": self.reclaim_stuck_jobs(minutes)})
