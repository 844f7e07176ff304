"""From what a caller says about pauses, limits and queues to records; anything unclear is an InvalidControl."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..exceptions import InvalidControl, InvalidJob, shown
from .controls import LONGEST_PER, limit_id, scope_id
from .options import INT32, flag, key, moment, name, seconds, whole
from .records import Limit, Pause, Queue

LONGEST_DESCRIPTION = 1000
MOST = INT32 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueInfo:
    """A queue that is known: it was declared, has a job, or is named by a pause or a limit.

    `pause` is what keeps workers from its jobs now, `limits` are those that name the queue. `ready` of its jobs could
    be taken if no pause and no limit kept them back, `running` are being run.
    """

    name: str
    description: str = ""
    declared: bool = False
    pause: Pause | None = None
    limits: tuple[Limit, ...] = ()
    ready: int = 0
    running: int = 0


@contextmanager
def as_control() -> Iterator[None]:
    """Let what is wrong with a name, a key or a number be an InvalidControl."""
    try:
        yield
    except InvalidJob as why:
        raise InvalidControl(str(why)) from None


def new_queue(given: Any, description: Any = "") -> Queue:
    """Return the queue to declare; raises InvalidControl."""
    with as_control():
        id = name("queue", given)
        told = "" if description == "" else key("description", description, LONGEST_DESCRIPTION)
    return Queue(id=id, description=told or "")


def given_name(field: str, given: Any) -> str:
    """Return the name of a queue or a job type that has to be given; raises InvalidControl."""
    with as_control():
        return name(field, given)


def scope(queue: Any = None, job_type: Any = None) -> tuple[str, str]:
    """Return a queue and a job type that are meant, each "" for any; raises InvalidControl."""
    with as_control():
        return (
            "" if queue is None else name("queue", queue),
            "" if job_type is None else name("job_type", job_type),
        )


def group_of(given: Any) -> str | None:
    """Return the id of a group, or None; raises InvalidControl."""
    with as_control():
        return key("group_id", given)


def end_of_pause(until: Any, now: datetime) -> datetime | None:
    """Return when a pause ends by itself, or None; raises InvalidControl for a time that is over."""
    with as_control():
        end = moment("until", until, now)
    if end is not None and end <= now:
        raise InvalidControl(f"until is {shown(until)}; expected a time that is still to come.")
    return end


def new_pause(
    queue: Any = None, job_type: Any = None, *, reason: str = "", actor: str = "", until: Any = None, now: datetime
) -> Pause:
    """Return the pause of a queue, a job type, a type within a queue, or of everything; raises InvalidControl."""
    queue, job_type = scope(queue, job_type)
    return Pause(
        id=scope_id(queue, job_type),
        queue=queue,
        job_type=job_type,
        reason=reason,
        actor=actor,
        until=end_of_pause(until, now),
    )


def new_limit(
    queue: Any = None,
    job_type: Any = None,
    *,
    per_group: Any = False,
    group_id: Any = None,
    concurrency: Any = None,
    rate: Any = None,
    per: Any = None,
    burst: Any = None,
    max_size: Any = None,
    actor: str = "",
) -> Limit:
    """Return the limit of a scope; raises InvalidControl for a value, and for values that do not go together."""
    queue, job_type, per_group, group_id = limit_scope(queue, job_type, per_group=per_group, group_id=group_id)
    with as_control():
        limit = Limit(
            id=limit_id(queue, job_type, per_group=per_group, group_id=group_id),
            queue=queue,
            job_type=job_type,
            per_group=per_group,
            group_id=group_id,
            concurrency=_number("concurrency", concurrency, 0),
            rate=_number("rate", rate, 1),
            per_ms=None
            if per is None
            else round(seconds("per", per, least=0.001, most=LONGEST_PER.total_seconds()) * 1000),
            burst=_number("burst", burst, 1),
            max_size=_number("max_size", max_size, 0),
            actor=actor,
        )
    _check_together(limit)
    return limit


def limit_scope(
    queue: Any = None, job_type: Any = None, *, per_group: Any = False, group_id: Any = None
) -> tuple[str, str, bool, str | None]:
    """Return what a limit is over: a queue and a job type, "" for any, and which groups; raises InvalidControl."""
    named = scope(queue, job_type)
    with as_control():
        each = flag("per_group", per_group)
    group = group_of(group_id)
    if each and group is not None:
        raise InvalidControl(f"per_group and group_id {shown(group)} are both given; expected one of them.")
    return *named, each, group


def _check_together(limit: Limit) -> None:
    """Raise InvalidControl for values of a limit that mean nothing without others."""
    if limit.rate is None and limit.per_ms is not None:
        raise InvalidControl("per is given without rate; expected both, such as rate=10, per=60.")
    if limit.rate is not None and limit.per_ms is None:
        raise InvalidControl("rate is given without per; expected both, such as rate=10, per=60.")
    if limit.burst is not None and limit.rate is None:
        raise InvalidControl("burst is given without rate; expected rate and per beside it.")
    if limit.max_size is not None and not limit.is_of_groups:
        raise InvalidControl("max_size is given for no group; expected per_group=True or a group_id beside it.")
    if limit.concurrency is None and limit.rate is None and limit.max_size is None:
        raise InvalidControl("The limit limits nothing; expected at least one of concurrency, rate and max_size.")


def _number(field: str, given: Any, least: int) -> int | None:
    return None if given is None else whole(field, given, least, MOST, least)
