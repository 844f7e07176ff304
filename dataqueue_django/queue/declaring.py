"""The schedules that a project's code declares: on `@job`, and in the setting SCHEDULES."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..conf import home_alias
from ..domain.records import CronSchedule, Kind, ScheduleStatus
from ..domain.schedules import (
    BY_ITSELF,
    NOT_DECLARED,
    OPTIONS,
    Wanted,
    change_to,
    declared_again,
    new_schedule,
    pause,
    split,
)
from ..exceptions import ConfigurationError, DataQueueError, InvalidSchedule, NameTaken, did_you_mean, shown
from .base import QueueBase
from .ticking import job_now

SETTING_KEYS = ("job_type", "payload", "cron")
"""What a schedule in the setting has beside the options of `add_cron_job`."""

logger = logging.getLogger("dataqueue_django.schedules")


def declared(queue: QueueBase, now: datetime) -> list[CronSchedule]:
    """Return the schedules that the code declares for a queue, as they are made at `now`; reads no store.

    Raises ConfigurationError naming the one that is wrong.
    """
    found: dict[str, CronSchedule] = {}
    for name, said in _said(queue):
        if name in found:
            raise ConfigurationError(f"Two schedules are declared as {name!r}; give one of them its own name.")
        found[name] = _made(queue, name, said, now)
    return list(found.values())


def declare(queue: QueueBase) -> int:
    """Make the store hold what the code declares; returns how many schedules were added, changed or paused.

    What others do at the same time is theirs. A schedule of the same name that people have made stays theirs, too.
    """
    made = declared(queue, queue.store.now())
    kept = {one.schedule_name: one for one in queue.store.find(Kind.SCHEDULE)}
    changed = sum(_declare(queue, one, kept.get(one.schedule_name)) for one in made)
    names = {one.schedule_name for one in made}
    for schedule in kept.values():
        if schedule.declared and schedule.schedule_name not in names and schedule.status is ScheduleStatus.ACTIVE:
            logger.warning("schedule %s is paused: it is %s", schedule.schedule_name, NOT_DECLARED)
            [answer] = queue.store.commit([pause(schedule.id, actor=BY_ITSELF, reason=NOT_DECLARED)])
            changed += answer.applied
    return changed


def _declare(queue: QueueBase, made: CronSchedule, kept: CronSchedule | None) -> bool:
    if kept is None:
        try:
            queue.store.put(made)
        except NameTaken:  # another worker was faster
            return False
        return True
    if not kept.declared:
        logger.warning("schedule %s is declared in code, but stands there already as one of people", made.schedule_name)
        return False
    values = declared_again(kept, made)
    return bool(values) and queue.store.commit([change_to(kept, values, now=made.created_at)])[0].applied


def _said(queue: QueueBase) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The name of each declared schedule, and what is said about it. Those on `@job` belong to the home alias.

    They keep the options of their handler: whoever fires them may be a worker of older code, which does not know it.
    """
    if queue.alias == home_alias():
        for handler in queue.handlers:
            if handler.schedule:
                options = {name: value for name in OPTIONS if (value := getattr(handler.options, name)) is not None}
                yield handler.job_type, {**options, **handler.schedule, "job_type": handler.job_type}
    yield from queue.settings.schedules.items()


def _made(queue: QueueBase, name: str, said: Mapping[str, Any], now: datetime) -> CronSchedule:
    try:
        if not isinstance(said, Mapping):
            raise InvalidSchedule(f"It is {shown(said)}; expected a mapping with 'job_type' and 'cron' or 'every'.")
        said = dict(said)
        job_type, payload, cron = (said.pop(key, None) for key in SETTING_KEYS)
        for other in ("cron_expression", "schedule_name"):
            if other in said:
                raise InvalidSchedule(f"It has the unknown option {other!r}.{did_you_mean(other, SETTING_KEYS)}")
        queue.handlers.known(job_type)
        told, options = split(said, "It")
        wanted = Wanted(cron_expression=cron, **told)
        payload = queue._payload_for(job_type, payload)
        made = new_schedule(name, job_type, payload, options, wanted, now=now)
        job_now(queue, made)
    except DataQueueError as why:
        raise ConfigurationError(f"The schedule {shown(name)} of {queue.alias!r} is declared wrongly: {why}") from None
    return replace(made, declared=True)
