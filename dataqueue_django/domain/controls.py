"""What keeps workers from jobs: which pauses hold, and which limits are over a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from .rates import Rate
from .records import Limit, Pause

EACH = "*"
LONGEST_PER = timedelta(days=30)
"""The longest time that a rate can be about."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The pauses and limits of a store at one moment; `stamp` is another one after each change of them."""

    stamp: str = ""
    pauses: tuple[Pause, ...] = ()
    limits: tuple[Limit, ...] = ()

    def pause_of(self, queue: str, job_type: str, now: datetime) -> Pause | None:
        """Return what keeps jobs of this queue and type from being taken: the widest pause, or None."""
        holding = [pause for pause in self.pauses if holds(pause, now) and covers(pause, queue, job_type)]
        return min(holding, key=lambda pause: (bool(pause.queue) + bool(pause.job_type), pause.id), default=None)

    def limit_lane(self, queue: str, job_type: str) -> bool:
        """Return whether a limit is over all jobs of a queue and type, whatever their groups."""
        return any(covers(limit, queue, job_type) for limit in self._of_lanes)

    @cached_property
    def _of_lanes(self) -> tuple[Limit, ...]:
        return tuple(limit for limit in self.limits if holds_back(limit) and not limit.is_of_groups)

    def next_end(self, now: datetime) -> datetime | None:
        """Return when the next pause ends by itself."""
        return min((pause.until for pause in self.pauses if pause.until and pause.until > now), default=None)


def scope_id(queue: str = "", job_type: str = "") -> str:
    """Return the id of what is about a queue and a job type; an empty name means any."""
    return f"{_escaped(queue)}/{_escaped(job_type)}"


def limit_id(queue: str = "", job_type: str = "", *, per_group: bool = False, group_id: str | None = None) -> str:
    """Return the id of a limit by its scope."""
    scope = scope_id(queue, job_type)
    if group_id is not None:
        return f"{scope}/={group_id}"
    return f"{scope}/{EACH}" if per_group else scope


def key_of(limit: Limit, group_id: str | None) -> str:
    """Return the name under which the use of a limit is kept: by group where it holds for groups."""
    if not limit.is_of_groups:
        return limit.id
    scope = limit.id.removesuffix(f"/{EACH}") if limit.group_id is None else scope_id(limit.queue, limit.job_type)
    return f"{scope}/={group_id}"


def of_claim(limits: tuple[Limit, ...], group_concurrency: int | None) -> tuple[Limit, ...]:
    """Return limits together with what a claim itself allows each group."""
    if group_concurrency is None:
        return limits
    return (*limits, Limit(id=f"claim/{EACH}", per_group=True, concurrency=group_concurrency))


def covers(scope: Pause | Limit, queue: str, job_type: str) -> bool:
    """Return whether a queue and a job type are within a scope."""
    return scope.queue in ("", queue) and scope.job_type in ("", job_type)


def holds(pause: Pause, now: datetime) -> bool:
    """Return whether a pause has not ended."""
    return pause.until is None or pause.until > now


def holds_back(limit: Limit) -> bool:
    """Return whether a limit can keep a job from being claimed."""
    return limit.concurrency is not None or limit.rate is not None


def rate_of(limit: Limit) -> Rate | None:
    """Return the rate of a limit, if it has one."""
    if limit.rate is None or limit.per is None:
        return None
    return Rate(limit.rate, limit.per, limit.burst)


def limits_over(limits: Iterable[Limit], queue: str, job_type: str, group_id: str | None) -> tuple[Limit, ...]:
    """Return the limits that a job of this queue, type and group is under, by id.

    One for its group alone takes the place of the one of the same scope for each group.
    """
    found = [limit for limit in limits if covers(limit, queue, job_type) and _is_for(limit, group_id)]
    named = {(limit.queue, limit.job_type) for limit in found if limit.group_id is not None}
    kept = [one for one in found if not (one.group_id is None and one.per_group and (one.queue, one.job_type) in named)]
    return tuple(sorted(kept, key=lambda limit: limit.id))


def narrowest_rates(limits: Iterable[Limit], queue: str, job_type: str, group_id: str | None) -> tuple[str, ...]:
    """Return the keys of the rates that a job is under and that are about the fewest others.

    Those of its group come before all others: one host that takes no more says nothing of the other hosts.
    """
    over = [limit for limit in limits_over(limits, queue, job_type, group_id) if limit.rate is not None]
    most = max(map(_narrowness, over), default=(False, 0))
    return tuple(key_of(limit, group_id) for limit in over if _narrowness(limit) == most)


def _narrowness(limit: Limit) -> tuple[bool, int]:
    return limit.is_of_groups, bool(limit.queue) + bool(limit.job_type)


def _is_for(limit: Limit, group_id: str | None) -> bool:
    if limit.group_id is not None:
        return limit.group_id == group_id
    return group_id is not None if limit.per_group else True


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def in_words(scope: Pause | Limit) -> str:
    """Return what a pause or a limit is about, such as "type send of queue mail, each group"."""
    parts = [f"type {scope.job_type}"] if scope.job_type else []
    parts += [f"queue {scope.queue}"] if scope.queue else []
    about = " of ".join(parts) or "all jobs"
    if isinstance(scope, Pause) or not scope.is_of_groups:
        return about
    return f"{about}, each group" if scope.group_id is None else f"{about}, group {scope.group_id}"


def allows(limit: Limit) -> str:
    """Return what a limit allows, such as "2 at once, 5 per 1 s"."""
    parts = [] if limit.concurrency is None else [f"{limit.concurrency} at once"]
    if limit.rate is not None and limit.per is not None:
        burst = "" if limit.burst is None else f" with bursts of {limit.burst}"
        parts.append(f"{limit.rate} per {limit.per.total_seconds():g} s{burst}")
    parts += [] if limit.max_size is None else [f"{limit.max_size} waiting"]
    return ", ".join(parts)
