"""The tables of pauses and limits: what they hold now, and how the limits stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.db import models

from ...domain.admission import Rooms, Running, Use
from ...domain.controls import Controls, key_of, limits_over
from ...domain.rates import Bucket
from ...domain.records import GroupCounts, JobStatus, Kind, NewJob
from ...domain.sizes import Size, refuse_beyond, sizes_of
from ...exceptions import GroupFull
from ...models import ControlStamp as StampRow
from ...models import Job as JobRow
from ...models import RateBucket as BucketRow
from ...models import Turn as TurnRow
from .rows import bucket_columns, bucket_of

CONTROLS = frozenset({Kind.PAUSE, Kind.LIMIT})
"""The kinds of record that claims have to know of at once."""


class ControlTables:
    """The part of the ORM store that keeps pauses, limits and turns."""

    _known = Controls()

    if TYPE_CHECKING:

        def find(self, kind: Kind, **equals: Any) -> list[Any]: ...
        def _table(self, model: type[models.Model]) -> Any: ...
        def _rows(self, name: str, params: Sequence[Any]) -> list[tuple[Any, ...]]: ...
        def _write(self) -> AbstractContextManager[None]: ...
        def _at(self, now: datetime | None) -> datetime: ...
        def _locked(self, found: models.QuerySet[Any], *, wait: bool = True) -> models.QuerySet[Any]: ...
        def _ids_by_key(self, keys: Sequence[str]) -> dict[str, int]: ...

    def controls(self) -> Controls:
        """See Store.controls. One read while nothing has changed."""
        return self._as_of(self._stamp())

    def usage(self, queue: str, job_type: str, group_id: str | None, *, now: datetime | None = None) -> list[Use]:
        """See Store.usage."""
        limits = limits_over(self.controls().limits, queue, job_type, group_id)
        keys = [key_of(limit, group_id) for limit in limits]
        rooms = Rooms(limits, self._running() if limits else {}, self._buckets(keys), self._at(now))
        return [rooms.use_of(limit, key) for limit, key in zip(limits, keys, strict=True)]

    def group_counts(self, group_id: str, *, queue: str = "", job_type: str = "") -> GroupCounts:
        """See Store.group_counts."""
        # The scope is compared here: SQLite without statistics would read all jobs of a type, not those of the group.
        found = self._table(JobRow).filter(group_id=group_id, finished_at=None).order_by()
        counts: Counter[str] = Counter()
        for status, of_queue, of_type, n in found.values_list("status", "queue", "job_type").annotate(
            n=models.Count("*")
        ):
            if queue in ("", of_queue) and job_type in ("", of_type):
                counts[status] += n
        active = counts.pop(JobStatus.PROCESSING.value, 0)
        return GroupCounts(waiting=sum(counts.values()), active=active)

    def close_rate(self, keys: Collection[str], *, until: datetime, now: datetime | None = None) -> None:
        """See Store.close_rate."""
        with self._write():
            held = self._hold(keys, self._at(now))
            later = [key for key, bucket in held.items() if bucket.closed_until is None or bucket.closed_until < until]
            self._table(BucketRow).filter(key__in=later).update(closed_until=until)

    def delete_rates(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_rates."""
        old = self._table(BucketRow).filter(at__lt=before).order_by("at", "key")
        keys = list(old.values_list("key", flat=True)[:limit])
        if not keys:
            return 0
        with self._write():
            return int(old.order_by().filter(key__in=keys).delete()[0])

    # -- for the store's own claims and inserts

    def _stamp(self) -> str:
        return self._table(StampRow).filter(id=1).values_list("stamp", flat=True).first() or ""

    def _as_of(self, stamp: str) -> Controls:
        """The pauses and limits, read again if `stamp` is not that of those known.

        The stamp is read before them: if they change in between, it is soon found not to be the latest one.
        """
        if stamp != self._known.stamp:
            pauses, limits = self.find(Kind.PAUSE), self.find(Kind.LIMIT)
            self._known = Controls(stamp=stamp, pauses=tuple(pauses), limits=tuple(limits))
        return self._known

    def _changed(self, kind: Kind) -> None:
        """Let every claim that begins after this transaction know that pauses or limits are others."""
        if kind not in CONTROLS:
            return
        row = StampRow(id=1, stamp=uuid4().hex)
        self._table(StampRow).bulk_create([row], update_conflicts=True, unique_fields=["id"], update_fields=["stamp"])

    def _running(self) -> Running:
        """How many jobs run, by queue, type and group."""
        return {(queue, job_type, group_id): n for queue, job_type, group_id, n in self._rows("portable/running", [])}

    def _buckets(self, keys: Collection[str]) -> dict[str, Bucket]:
        found = self._table(BucketRow).filter(key__in=keys) if keys else ()
        return {row.key: bucket_of(row) for row in found}

    def _hold(self, keys: Collection[str], now: datetime) -> dict[str, Bucket]:
        """Lock the rows of limits, in one order, and return what they say; those that are not there are made first.

        One that is deleted while it is waited for is made again: without all of them two claims could pass each other.
        """
        mine, held = self._table(BucketRow).filter(key__in=keys), dict[str, Bucket]()
        while len(held) < len(set(keys)):
            there = set(mine.values_list("key", flat=True))
            missing = [BucketRow(key=key, at=now) for key in sorted(set(keys) - there)]
            if missing:
                self._table(BucketRow).bulk_create(missing, ignore_conflicts=True)
            held = {row.key: bucket_of(row) for row in self._locked(mine.order_by("key"))}
        return held

    def _write_buckets(self, buckets: Mapping[str, Bucket]) -> None:
        for key, bucket in sorted(buckets.items()):
            self._table(BucketRow).filter(key=key).update(**bucket_columns(bucket))

    def _last_turn(self, lane: str) -> str:
        """The group of a lane whose turn was last; nothing if none has been."""
        return next((str(group_id) for (group_id,) in self._rows("portable/last_turn", [lane])), "")

    def _write_turns(self, turns: Mapping[str, str]) -> None:
        given = [TurnRow(id=lane, group_id=group_id) for lane, group_id in sorted(turns.items())]
        if given:
            self._table(TurnRow).bulk_create(
                given, update_conflicts=True, unique_fields=["id"], update_fields=["group_id"]
            )

    def _refusal(self, jobs: Sequence[NewJob], now: datetime | None) -> GroupFull | None:
        """Why there is no room for jobs in their group, if there is none; sizes stay until the transaction ends.

        It is returned to be raised once the store's own block is left: raised within, it would leave the transaction
        of a caller who catches it unusable.
        """
        if all(job.group_id is None for job in jobs):
            return None
        sizes = sizes_of(self.controls().limits, jobs)
        if not sizes:
            return None
        self._hold([f"size:{size.key}" for size in sizes], self._at(now))
        known = self._ids_by_key([job.idempotency_key for job in jobs if job.idempotency_key])
        fresh = [job for job in jobs if job.idempotency_key is None or job.idempotency_key not in known]
        try:
            for size in sizes_of(self.controls().limits, fresh):
                refuse_beyond(size, self._waiting_in(size))
        except GroupFull as full:
            return full
        return None

    def _waiting_in(self, size: Size) -> int:
        return self.group_counts(size.group_id, queue=size.limit.queue, job_type=size.limit.job_type).waiting
