"""Cancelling and editing every job that matches, in batches.

Each batch is a transaction of its own, so no lock is held for long; inside a caller's transaction all of them join it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ..announcing import announce
from ..domain.asking import filter_from, flag_from
from ..domain.changes import Alternatives
from ..domain.filters import EVERYTHING, JobFilter, Order
from ..domain.records import EventType
from ..domain.steering import NOT_STARTED, cancel_upcoming, edit, edited_fields
from ..exceptions import InvalidFilter
from .aio import with_async_twins
from .base import QueueBase
from .finding import Filters

LOT = 500
CHOSEN = ("id", "job_type", "queue")

Ask = Callable[[int, str, dict[str, Any]], Alternatives]
"""(job id, job type, field → values it may still have) → what to commit."""


@with_async_twins
class Batching(QueueBase):
    """`cancel_all_upcoming_jobs`, `edit_all_pending_jobs`.

    Filters are those of `get_jobs`; None means every job that has not started. An empty mapping, as an empty form would
    give, has to be confirmed with `confirm_all`. A job that is edited or claimed while a batch is on its way is judged
    by what it is by then.
    """

    def cancel_all_upcoming_jobs(self, filters: Filters = None, *, confirm_all: bool = False, actor: str = "") -> int:
        """Cancel the jobs that match and have not started, and return how many (DataQueue "cancelAllUpcomingJobs")."""
        who = self._actor(actor)
        return self._each_pending(
            filters, confirm_all, EventType.CANCELLED, lambda id, _, still: cancel_upcoming(id, actor=who, still=still)
        )

    def edit_all_pending_jobs(
        self, filters: Filters = None, *, confirm_all: bool = False, actor: str = "", **updates: Any
    ) -> int:
        """Edit the jobs that match and have not started, and return how many (DataQueue "editAllPendingJobs").

        `updates` are those of `edit_job`; without any nothing happens. A payload is checked against the handler of each
        job type that it meets; where it does not fit, InvalidPayload is raised and that batch is left as it was.
        """
        who, fields = self._actor(actor), edited_fields(updates, now=self.store.now())
        if not fields:
            return 0

        def one(job_id: int, job_type: str, still: dict[str, Any]) -> Alternatives:
            return edit(job_id, self._fitted(fields, job_type), actor=who, still=still)

        total = self._each_pending(filters, confirm_all, EventType.EDITED, one)
        if total and "run_at" in fields:
            self.store.on_commit(self.notifier.publish)
        return total

    def _each_pending(self, filters: Filters, confirm_all: bool, event: EventType, ask: Ask) -> int:
        where, total = _pending(filters, confirm_all), 0
        for lot in self._lots(where):
            items = [
                ask(id, job_type, {name: (value,) for name, value in zip(where.editable(), seen, strict=True)})
                for id, job_type, _, *seen in lot
            ]
            for (id, job_type, queue, *_), answer in zip(lot, self.store.commit(items), strict=True):
                if answer.applied:
                    total += 1
                    announce(self.store, event, job_id=id, job_type=job_type, queue=queue)
        return total

    def _lots(self, where: JobFilter) -> Iterator[list[tuple[Any, ...]]]:
        """Yield what is to be known of the jobs that match, oldest first; those added meanwhile are not among them."""
        newest = self.store.values(EVERYTHING, ("id",), limit=1)
        last, end = 0, newest[0][0] if newest else 0
        while lot := self.store.values(where, (*CHOSEN, *where.editable()), order=Order.OLDEST, limit=LOT, after=last):
            last = lot[-1][0]
            known = [row for row in lot if row[0] <= end]
            if known:
                yield known
            if last >= end:
                return


def _pending(filters: Filters, confirm_all: bool) -> JobFilter:
    where, confirmed = filter_from(filters), flag_from("confirm_all", confirm_all)
    if filters is not None and where == EVERYTHING and not confirmed:
        raise InvalidFilter("filters is empty, which means every job; expected a filter, None, or confirm_all=True.")
    chosen = tuple(status for status in NOT_STARTED if not where.statuses or status in where.statuses)
    if not chosen:
        raise InvalidFilter(f"filters asks for jobs that have started; expected {' or '.join(NOT_STARTED)} ones.")
    return replace(where, statuses=chosen)
