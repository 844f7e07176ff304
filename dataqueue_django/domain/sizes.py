"""How many jobs of a group may wait, checked before more are added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..exceptions import GroupFull
from .controls import key_of, limits_over
from .records import Limit, NewJob


@dataclass(frozen=True, slots=True)
class Size:
    """How many jobs are to be added to a group under a limit."""

    limit: Limit
    key: str
    group_id: str
    adding: int


def sizes_of(limits: Iterable[Limit], jobs: Sequence[NewJob]) -> list[Size]:
    """Return what adding `jobs` asks of limits on the size of groups, by key."""
    bounding = [limit for limit in limits if limit.max_size is not None]
    found: dict[str, Size] = {}
    for job in jobs if bounding else ():
        if job.group_id is None:
            continue
        for limit in limits_over(bounding, job.queue, job.job_type, job.group_id):
            key = key_of(limit, job.group_id)
            before = found[key].adding if key in found else 0
            found[key] = Size(limit, key, job.group_id, before + 1)
    return [found[key] for key in sorted(found)]


def refuse_beyond(size: Size, waiting: int) -> None:
    """Raise GroupFull if a group in which so many jobs wait has no room for those to be added."""
    most = size.limit.max_size
    if most is not None and waiting + size.adding > most:
        raise GroupFull(
            f"The group {size.group_id!r} has {waiting} of at most {most} jobs waiting; "
            f"{'another' if size.adding == 1 else f'{size.adding} more'} cannot be added."
        )
