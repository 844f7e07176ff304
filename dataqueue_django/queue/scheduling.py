"""Schedules: what adds jobs again and again (DataQueue "Cron Jobs").

Coming too late is normal: the methods that change a schedule return False then, unless they are asked to be strict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain.asking import flag_from, page_limit
from ..domain.changes import Alternatives
from ..domain.records import JSON, CronSchedule, CronTick, Kind
from ..domain.schedules import (
    Wanted,
    change_to,
    edited,
    new_schedule,
    pause,
    resume,
    split,
    status_from,
    timing_of,
)
from ..domain.schedules import schedule_id as id_of
from ..domain.schedules import schedule_name as name_of
from ..domain.scheduling import next_runs
from ..exceptions import InvalidSchedule, ScheduleNotFound
from .aio import with_async_twins
from .base import QueueBase
from .declaring import declare
from .ticking import add_now, enqueue_due, job_now

LOOKS = 3
"""How often a schedule is looked at that changes between being looked at and being changed."""

MOST_RUNS_SHOWN = 1000


@with_async_twins
class Scheduling(QueueBase):
    """`add_cron_job` and what else is done with schedules. Each method joins the caller's transaction.

    `actor` says who did it. A schedule that is declared in code is changed there; here it can be paused, resumed and
    run. Raises InvalidSchedule, InvalidJob or InvalidPayload for a value; nothing is changed then.
    """

    def add_cron_job(
        self,
        schedule_name: str,
        cron_expression: str | None = None,
        job_type: str = "",
        payload: JSON = None,
        *,
        allow_unknown: bool = False,
        **options: Any,
    ) -> int:
        """Add a schedule and return its id (DataQueue "addCronJob").

        It fires by `cron_expression`, five fields or an alias such as "@daily" read in `timezone` ("UTC"), or `every`
        so many seconds or timedelta; from `start_at` to `end_at` and at most `max_runs` times. Of ticks that nobody
        was there for `catch_up` says how many are made up for: "latest" (default), "none", or a number. While the job
        of the last tick has not ended, `overlap` says whether to "skip" the tick (default), to "allow" another job or
        to "replace" it; `allow_overlap=True` is "allow". Jobs run up to `jitter` later. All other options are those of
        its jobs; those of the handler and the alias come after them. Raises NameTaken for a name that is in use.
        """
        job_type, payload = self._aim(job_type, payload, allow_unknown)
        told, job_options = split(options, "add_cron_job()")
        wanted = Wanted(cron_expression=cron_expression, **told)
        made = new_schedule(schedule_name, job_type, payload, job_options, wanted, now=self.store.now())
        if made.next_run_at is None:
            raise InvalidSchedule("The schedule never fires: its end comes before its first tick.")
        job_now(self, made)
        put = self.store.put(made)
        self.store.on_commit(self.notifier.publish)
        return put.id

    def get_cron_job(self, schedule_id: int) -> CronSchedule | None:
        """Return a schedule, or None (DataQueue "getCronJob")."""
        return self._kept(schedule_id)

    def get_cron_job_by_name(self, name: str) -> CronSchedule | None:
        """Return the schedule of this name, or None (DataQueue "getCronJobByName")."""
        found: list[CronSchedule] = self.store.find(Kind.SCHEDULE, schedule_name=name_of(name))
        return found[0] if found else None

    def list_cron_jobs(self, status: str | None = None) -> list[CronSchedule]:
        """Return all schedules, or the "active" or "paused" ones, by ascending id (DataQueue "listCronJobs")."""
        wanted = {} if status is None else {"status": status_from(status)}
        return self.store.find(Kind.SCHEDULE, **wanted)

    def edit_cron_job(self, schedule_id: int, *, strict: bool | None = None, **updates: Any) -> bool:
        """Change a schedule and return whether there was one (DataQueue "editCronJob").

        `updates` are what `add_cron_job` takes, but for the name. What is not given stays; None clears start_at,
        end_at, max_runs, and options of the jobs. When it fires next is found anew if that changes. Raises
        InvalidSchedule for one that is declared in code.
        """
        now = self.store.now()

        def change(schedule: CronSchedule) -> Alternatives:
            if schedule.declared:
                raise InvalidSchedule(
                    f"The schedule {schedule.schedule_name!r} is declared in code; expected it to be changed there."
                )
            values = edited(schedule, updates, now)
            if "job_type" in updates or "payload" in updates:
                job_type = updates.get("job_type", schedule.job_type)
                payload = updates.get("payload", schedule.payload)
                values["job_type"], values["payload"] = self._aim(job_type, payload, job_type == schedule.job_type)
            job_now(self, replace(schedule, **values))
            return change_to(schedule, values, now=now)

        return self._change(schedule_id, change, strict)

    def pause_cron_job(
        self, schedule_id: int, *, reason: str = "", actor: str = "", strict: bool | None = None
    ) -> bool:
        """Let a schedule fire no more until it is resumed; returns whether it did before (DataQueue "pauseCronJob").

        `reason`, at most 1,000 characters, is kept with it.
        """
        who, why = self._actor(actor), self._reason(reason)
        return self._change(schedule_id, lambda schedule: pause(schedule.id, actor=who, reason=why), strict)

    def resume_cron_job(self, schedule_id: int, *, strict: bool | None = None) -> bool:
        """Let a paused schedule fire again and return whether it was paused (DataQueue "resumeCronJob").

        It fires at its next tick; those that were due meanwhile stay undone.
        """
        now = self.store.now()
        return self._change(schedule_id, lambda schedule: resume(schedule, now=now), strict)

    def remove_cron_job(self, schedule_id: int, *, strict: bool | None = None) -> bool:
        """Delete a schedule with its ticks and return whether there was one (DataQueue "removeCronJob").

        Its jobs stay as they are. One that is declared in code comes back with the next worker.
        """
        strict, schedule = self._is_strict(strict), self._kept(schedule_id)
        if schedule is None:
            return _missing(schedule_id, strict)
        return self.store.remove(Kind.SCHEDULE, [schedule.id]) == 1

    def run_cron_job(self, schedule_id: int, *, actor: str = "", strict: bool | None = None) -> int | None:
        """Add a job of a schedule now, paused or not, and return its id; when it fires next stays as it is.

        None where its last job has not ended and two must not overlap. Such runs do not count for `max_runs`.
        """
        who, strict = self._actor(actor), self._is_strict(strict)
        for _ in range(LOOKS):
            schedule = self._kept(schedule_id)
            if schedule is None:
                _missing(schedule_id, strict)
                return None
            applied, job_id = add_now(self, schedule, actor=who)
            if applied:
                return job_id
        raise InvalidSchedule(f"The schedule {schedule_id} is being changed by others just now; expected to be alone.")

    def enqueue_due_cron_jobs(self) -> int:
        """Add the jobs of all ticks that are due and return how many were added (DataQueue "enqueueDueCronJobs").

        Running workers and `Processor.start` do this by themselves; any number may at once, each tick is fired once.
        Schedules that the code declares are stored first. Raises ConfigurationError for one that is declared wrongly,
        once all that is due has been added.
        """
        try:
            self.declare_cron_jobs()
        finally:
            added = enqueue_due(self)
        return added

    def declare_cron_jobs(self) -> int:
        """Store what the code declares: add new schedules, change others, pause those it no longer has.

        Returns how many were changed. Raises ConfigurationError for one that is declared wrongly.
        """
        return declare(self)

    def get_cron_ticks(self, schedule_id: int, *, limit: int = 100, before: int | None = None) -> list[CronTick]:
        """Return the ticks of a schedule with what became of them, newest first, below the tick id `before`."""
        return self.store.ticks(
            id_of(schedule_id), limit=page_limit(limit, 1000), before=None if before is None else id_of(before)
        )

    def get_next_cron_runs(self, schedule_id: int, number: int = 10) -> list[datetime]:
        """Return the next ticks of a schedule, at most 1,000, in UTC; none for one that is paused, over or unknown."""
        schedule = self._kept(schedule_id)
        number = page_limit(number, MOST_RUNS_SHOWN, "number")
        return [] if schedule is None else next_runs(timing_of(schedule), schedule.next_run_at, number)

    def _aim(self, job_type: Any, payload: Any, allow_unknown: bool) -> tuple[str, JSON]:
        """Return the job type and the payload as they are stored; raises InvalidJob."""
        if not flag_from("allow_unknown", allow_unknown):
            self.handlers.known(job_type)
        return job_type, self._payload_for(job_type, payload)

    def _change(self, given: object, change: Callable[[CronSchedule], Alternatives], strict: bool | None) -> bool:
        """Commit a change of a schedule; looks again while others change it. Returns whether it was applied."""
        strict = self._is_strict(strict)
        for _ in range(LOOKS):
            if (schedule := self._kept(given)) is None:
                return _missing(given, strict)
            [answer] = self.store.commit([change(schedule)])
            if answer.applied:
                self.store.on_commit(self.notifier.publish)
                return True
        if strict:
            raise InvalidSchedule(f"The schedule {given} is in that state already, or others change it just now.")
        return False

    def _kept(self, given: object) -> CronSchedule | None:
        found: CronSchedule | None = self.store.fetch(Kind.SCHEDULE, id_of(given))
        return found


def _missing(given: object, strict: bool) -> bool:
    if strict:
        raise ScheduleNotFound(f"There is no schedule {given}.")
    return False
