"""`manage.py dataqueue_queues`: show queues, pause and resume them, set and remove limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandParser

from ...domain.controlling import MOST
from ...domain.controls import LONGEST_PER, allows, in_words
from ...domain.records import Limit, Pause
from ...queue import JobQueue
from ..base import QueueCommand, usage
from ..showing import printable, timestamp
from ..values import moment, number, one_of, whole_number

ACTOR = "dataqueue_queues"


class Command(QueueCommand):
    """`get_queues`, `pause_queue` and its like, `set_limit` and `remove_limit`."""

    help = (
        "list shows the queues with their jobs, pauses and limits; pause keeps workers from taking jobs of a queue, "
        "a job type, a type within a queue, or any, and resume lets them again; limit says how many jobs run at "
        "once, begin in some time or wait, and unlimit takes that back. Jobs that run go on. "
        "Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."
    )

    def add_options(self, parser: CommandParser) -> None:
        """Declare the options."""
        count, least_one = whole_number(0, MOST), whole_number(1, MOST)
        parser.add_argument("action", type=one_of(tuple(ACTIONS)), metavar="ACTION", help=", ".join(ACTIONS))
        parser.add_argument("--queue", metavar="NAME", help="only jobs of this queue")
        parser.add_argument("--job-type", metavar="NAME", help="only jobs of this type")
        parser.add_argument("--all", action="store_true", help="pause or resume jobs of every queue and type")
        parser.add_argument("--reason", metavar="TEXT", help="why it is paused; kept with the pause")
        parser.add_argument("--until", type=moment, metavar="TIME", help="when the pause ends, in ISO 8601")
        groups = parser.add_mutually_exclusive_group()
        groups.add_argument("--per-group", action="store_true", help="the limit is of each group by itself")
        groups.add_argument("--group", metavar="ID", help="the limit is of this group alone")
        parser.add_argument("--concurrency", type=count, metavar="N", help="how many run at once")
        parser.add_argument("--rate", type=least_one, metavar="N", help="how many begin in --per")
        parser.add_argument(
            "--per", type=number(0.001, LONGEST_PER.total_seconds()), metavar="SECONDS", help="the time of --rate"
        )
        parser.add_argument("--burst", type=least_one, metavar="N", help="how many may begin at once after a rest")
        parser.add_argument("--max-size", type=count, metavar="N", help="how many of a group may wait")

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do what was asked, and say what came of it."""
        action = given["action"]
        act, takes = ACTIONS[action]
        for name in OPTIONS:
            if name not in takes and given[name] is not None and given[name] is not False:
                raise usage(f"{action} takes no --{name.replace('_', '-')}.")
        return {"alias": queue.alias, "action": action, **act(queue, given)}

    def tell(self, facts: Mapping[str, Any]) -> str:
        """Lines for each queue, or one."""
        match facts["action"]:
            case "list":
                lines = [*map(_queue_line, facts["queues"]), *map(_pause_line, facts["pauses"])]
                return "\n".join([*lines, *map(_limit_line, facts["limits"])]) or "There are no queues."
            case "pause":
                return _pause_line(facts["pause"])
            case "limit":
                return _limit_line(facts["limit"])
            case action:
                done = "resumed" if action == "resume" else "no limit any more"
                return printable(f"{facts['scope']}: {done if facts['changed'] else 'was so already'}.")


def _list(queue: JobQueue, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "queues": [
            {
                "name": one.name,
                "description": one.description,
                "declared": one.declared,
                "ready": one.ready,
                "running": one.running,
                "paused": one.pause is not None,
            }
            for one in queue.get_queues()
        ],
        "pauses": [_of_pause(pause) for pause in queue.get_pauses()],
        "limits": [_of_limit(limit) for limit in queue.get_limits()],
    }


def _pause(queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
    name, job_type = _scope(given)
    said: dict[str, Any] = {"reason": given["reason"] or "", "until": given["until"], "actor": ACTOR}
    if job_type is not None:
        pause = queue.pause_job_type(job_type, queue=name, **said)
    elif name is not None:
        pause = queue.pause_queue(name, **said)
    else:
        pause = queue.pause_all(**said)
    return {"pause": _of_pause(pause)}


def _resume(queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
    name, job_type = _scope(given)
    if job_type is not None:
        changed = queue.resume_job_type(job_type, queue=name, actor=ACTOR)
    elif name is not None:
        changed = queue.resume_queue(name, actor=ACTOR)
    else:
        changed = queue.resume_all(actor=ACTOR)
    return {"scope": in_words(Pause(id="", queue=name or "", job_type=job_type or "")), "changed": changed}


def _limit(queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
    amounts = {name: given[name] for name in AMOUNTS}
    return {"limit": _of_limit(queue.set_limit(**_limited(given), **amounts, actor=ACTOR))}


def _unlimit(queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
    scope = _limited(given)
    named = {**scope, "queue": scope["queue"] or "", "job_type": scope["job_type"] or ""}
    return {"scope": in_words(Limit(id="", **named)), "changed": queue.remove_limit(**scope, actor=ACTOR)}


SCOPE = ("queue", "job_type")
GROUPS = ("per_group", "group")
AMOUNTS = ("concurrency", "rate", "per", "burst", "max_size")
OPTIONS = (*SCOPE, "all", "reason", "until", *GROUPS, *AMOUNTS)

ACTIONS: Mapping[str, tuple[Callable[[JobQueue, Mapping[str, Any]], Mapping[str, Any]], tuple[str, ...]]] = {
    "list": (_list, ()),
    "pause": (_pause, (*SCOPE, "all", "reason", "until")),
    "resume": (_resume, (*SCOPE, "all")),
    "limit": (_limit, (*SCOPE, *GROUPS, *AMOUNTS)),
    "unlimit": (_unlimit, (*SCOPE, *GROUPS)),
}
"""What each action does, and which options it takes."""


def _scope(given: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return queue and job type; everything has to be asked for by its word."""
    name, job_type = given["queue"], given["job_type"]
    if given["all"] and (name is not None or job_type is not None):
        raise usage("--all is every queue and job type, so it takes no --queue and no --job-type.")
    if not given["all"] and name is None and job_type is None:
        raise usage(f"{given['action']} needs --queue, --job-type or --all.")
    return name, job_type


def _limited(given: Mapping[str, Any]) -> dict[str, Any]:
    scope = {name: given[name] for name in SCOPE}
    return {**scope, "per_group": given["per_group"], "group_id": given["group"]}


def _of_pause(pause: Pause) -> dict[str, Any]:
    return {
        "scope": in_words(pause),
        "queue": pause.queue or None,
        "jobType": pause.job_type or None,
        "reason": pause.reason or None,
        "actor": pause.actor or None,
        "until": timestamp(pause.until),
        "createdAt": timestamp(pause.created_at),
    }


def _of_limit(limit: Limit) -> dict[str, Any]:
    return {
        "scope": in_words(limit),
        "allows": allows(limit),
        "queue": limit.queue or None,
        "jobType": limit.job_type or None,
        "perGroup": limit.per_group,
        "group": limit.group_id,
        "concurrency": limit.concurrency,
        "rate": limit.rate,
        "perMs": limit.per_ms,
        "burst": limit.burst,
        "maxSize": limit.max_size,
        "actor": limit.actor or None,
        "updatedAt": timestamp(limit.updated_at),
    }


def _queue_line(facts: Mapping[str, Any]) -> str:
    paused = ", paused" if facts["paused"] else ""
    about = f" ({facts['description']})" if facts["description"] else ""
    return printable(f"{facts['name']}: {facts['ready']} ready, {facts['running']} running{paused}{about}")


def _pause_line(facts: Mapping[str, Any]) -> str:
    until = f" until {facts['until']}" if facts["until"] else ""
    reason = f": {facts['reason']}" if facts["reason"] else ""
    by = f" ({facts['actor']})" if facts["actor"] else ""
    return printable(f"{facts['scope']}: paused{until}{reason}{by}")


def _limit_line(facts: Mapping[str, Any]) -> str:
    return printable(f"{facts['scope']}: at most {facts['allows']}")
