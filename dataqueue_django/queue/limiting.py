"""Limits: how many jobs run at once, how many begin in some time, and how many of a group may wait."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from ..domain.admission import Use
from ..domain.controlling import as_control, given_name, group_of, limit_scope, new_limit, scope
from ..domain.controls import limit_id
from ..domain.records import GroupCounts, Kind, Limit
from ..exceptions import InvalidControl
from .aio import with_async_twins
from .base import QueueBase

logger = logging.getLogger("dataqueue_django.queue")


@with_async_twins
class Limiting(QueueBase):
    """`set_limit`, `remove_limit`, `get_limits`, `get_limit_usage`, `get_group_counts`.

    A limit is over a queue, a job type, a type within a queue, or everything, and over all its jobs together, each of
    their groups by itself (`per_group`), or one group (`group_id`, in the place of the one for each). A job is under
    every limit that covers it. They hold across all workers. Each method joins the caller's transaction and raises
    InvalidControl for a value.
    """

    def set_limit(
        self,
        *,
        queue: str | None = None,
        job_type: str | None = None,
        per_group: bool = False,
        group_id: str | None = None,
        concurrency: int | None = None,
        rate: int | None = None,
        per: float | timedelta | None = None,
        burst: int | None = None,
        max_size: int | None = None,
        actor: str = "",
    ) -> Limit:
        """Set the limit of a scope, in the place of one that it had, and return it.

        At most `concurrency` jobs run at once; 0 lets none begin. At most `rate` begin within any `per` (seconds or
        timedelta, up to 30 days); with `burst`, as many may begin at once, and permits come back evenly. Where
        `max_size` jobs of a group wait, adding another raises GroupFull. It holds for each claim, and each job that is
        added, after the transaction has committed; jobs that run go on. `actor` says who set it.
        """
        with as_control():
            who = self._actor(actor)
        wanted = new_limit(
            queue, job_type, per_group=per_group, group_id=group_id, concurrency=concurrency, rate=rate, per=per,
            burst=burst, max_size=max_size, actor=who,
        )  # fmt: skip
        before: Limit | None = self.store.fetch(Kind.LIMIT, wanted.id)
        put = self.store.put(wanted if before is None else replace(wanted, created_at=before.created_at))
        logger.info("the limit %s was set by %s", put.id, who or "nobody named")
        self.store.on_commit(self.notifier.publish)
        return put

    def remove_limit(
        self,
        *,
        queue: str | None = None,
        job_type: str | None = None,
        per_group: bool = False,
        group_id: str | None = None,
        actor: str = "",
    ) -> bool:
        """Remove the limit of a scope and return whether there was one; what else limits its jobs stays."""
        with as_control():
            who = self._actor(actor)
        where = limit_scope(queue, job_type, per_group=per_group, group_id=group_id)
        id = limit_id(where[0], where[1], per_group=where[2], group_id=where[3])
        if not self.store.remove(Kind.LIMIT, [id]):
            return False
        logger.info("the limit %s was removed by %s", id, who or "nobody named")
        self.store.on_commit(self.notifier.publish)
        return True

    def get_limits(self) -> list[Limit]:
        """Return all limits, by their ids."""
        found: list[Limit] = self.store.find(Kind.LIMIT)
        return found

    def get_limit_usage(self, queue: str, job_type: str, group_id: str | None = None) -> list[Use]:
        """Return how each limit over jobs of a queue, type and group stands: how many run, and its permits.

        An empty list where no limit is over them.
        """
        return self.store.usage(given_name("queue", queue), given_name("job_type", job_type), group_of(group_id))

    def get_group_counts(self, group_id: str, *, queue: str | None = None, job_type: str | None = None) -> GroupCounts:
        """Return how many jobs of a group wait, now or for later, and how many run; of one queue or type, if given.

        Zeros for a group without jobs.
        """
        group = group_of(group_id)
        if group is None:
            raise InvalidControl("group_id is None; expected a string of 1 to 255 characters.")
        in_queue, of_type = scope(queue, job_type)
        return self.store.group_counts(group, queue=in_queue, job_type=of_type)
