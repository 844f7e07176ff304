"""Lanes: the (queue, job type) pairs that have something to claim, and which of them a claim wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...domain.records import Claim


class Lane(NamedTuple):
    """One queue's jobs of one type: those without a group, or those of groups, which take turns."""

    queue: str
    job_type: str
    of_groups: bool = False


def wanted(lanes: Iterable[Lane], claim: Claim) -> list[Lane]:
    """Return the lanes that the filters of `claim` let through."""
    return [lane for lane in lanes if _in(lane.queue, claim.queues, claim.exclude_queues)
            and _in(lane.job_type, claim.job_types, claim.exclude_job_types)]  # fmt: skip


def _in(word: str, allowed: tuple[str, ...], excluded: tuple[str, ...]) -> bool:
    return (not allowed or word in allowed) and word not in excluded
