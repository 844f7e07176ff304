"""`manage.py dataqueue_cron`: show schedules, fire what is due, run, pause and resume one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandParser

from ...domain.records import CronSchedule
from ...domain.schedules import condition, in_words
from ...exceptions import or_known
from ...queue import JobQueue
from ..base import QueueCommand, usage
from ..showing import printable, timestamp
from ..values import one_of

ACTOR = "dataqueue_cron"


class Command(QueueCommand):
    """One call of `list_cron_jobs`, `enqueue_due_cron_jobs`, `run_cron_job`, `pause_cron_job` or `resume_cron_job`."""

    help = (
        "Store what the code declares, then: list shows the schedules; run-due adds the jobs of all ticks that are "
        "due, which running workers do by themselves; run NAME adds a job of a schedule now, pause NAME lets it fire "
        "no more and resume NAME again. "
        "Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("action", type=one_of(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
        parser.add_argument("name", nargs="?", metavar="NAME", help="the schedule to run, pause or resume")
        parser.add_argument("--reason", default="", help="why it is paused; kept with the schedule")

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what was asked, and say what came of it."""
        action, name = given["action"], given["name"]
        takes_name = action in ONE
        if takes_name and name is None:
            raise usage(f"{action} needs the name of a schedule.")
        if not takes_name and name is not None:
            raise usage(f"{action} takes no name.")
        if given["reason"] and action != "pause":
            raise usage(f"{action} takes no --reason.")
        queue.declare_cron_jobs()
        done = ONE[action](queue, _schedule(queue, name), given) if takes_name else ALL[action](queue)
        return {"alias": queue.alias, "action": action, **done}

    def tell(self, facts: Mapping[str, Any]) -> str:
        """A line for each schedule, or one."""
        match facts["action"]:
            case "list":
                return "\n".join(map(_line, facts["schedules"])) or "There are no schedules."
            case "run-due":
                return f"{facts['enqueued']} job{'' if facts['enqueued'] == 1 else 's'} added."
            case "run" if facts["jobId"] is None:
                return f"{facts['schedule']}: nothing was added, since its last job has not ended."
            case "run":
                return f"{facts['schedule']}: job {facts['jobId']} added."
            case action:
                return (
                    f"{facts['schedule']}: {action}d." if facts["changed"] else f"{facts['schedule']}: was so already."
                )


def _list(queue: JobQueue) -> Mapping[str, Any]:
    return {"schedules": [_facts(schedule) for schedule in queue.list_cron_jobs()]}


def _run_due(queue: JobQueue) -> Mapping[str, Any]:
    return {"enqueued": queue.enqueue_due_cron_jobs()}


def _run(queue: JobQueue, schedule: CronSchedule, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"schedule": schedule.schedule_name, "jobId": queue.run_cron_job(schedule.id, actor=ACTOR)}


def _pause(queue: JobQueue, schedule: CronSchedule, given: Mapping[str, Any]) -> Mapping[str, Any]:
    changed = queue.pause_cron_job(schedule.id, reason=given["reason"], actor=ACTOR)
    return {"schedule": schedule.schedule_name, "changed": changed}


def _resume(queue: JobQueue, schedule: CronSchedule, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"schedule": schedule.schedule_name, "changed": queue.resume_cron_job(schedule.id)}


ALL: Mapping[str, Callable[[JobQueue], Mapping[str, Any]]] = {"list": _list, "run-due": _run_due}
ONE: Mapping[str, Callable[[JobQueue, CronSchedule, Mapping[str, Any]], Mapping[str, Any]]] = {
    "run": _run,
    "pause": _pause,
    "resume": _resume,
}
ACTIONS = (*ALL, *ONE)


def _schedule(queue: JobQueue, name: str) -> CronSchedule:
    found = queue.get_cron_job_by_name(name)
    if found is None:
        names = [schedule.schedule_name for schedule in queue.list_cron_jobs()]
        hint = or_known(name, names)
        raise usage(f"There is no schedule {name!r}.{hint}")
    return found


def _facts(schedule: CronSchedule) -> Mapping[str, Any]:
    return {
        "id": schedule.id,
        "scheduleName": schedule.schedule_name,
        "jobType": schedule.job_type,
        "cronExpression": schedule.cron_expression or None,
        "timezone": schedule.timezone,
        "everyMs": schedule.every_ms,
        "status": schedule.status.value,
        "pauseReason": schedule.pause_reason or None,
        "declared": schedule.declared,
        "nextRunAt": timestamp(schedule.next_run_at),
        "lastEnqueuedAt": timestamp(schedule.last_enqueued_at),
        "lastJobId": schedule.last_job_id,
        "inWords": in_words(schedule),
        "condition": condition(schedule),
    }


def _line(facts: Mapping[str, Any]) -> str:
    declared = ", declared in code" if facts["declared"] else ""
    return printable(f"{facts['scheduleName']}: {facts['jobType']} {facts['inWords']}, {facts['condition']}{declared}")
