"""The ORM store in terms every vendor understands: lock the records, judge them in Python, write them back.

SQLite uses it as it is; PostgreSQL overrides what is worth a statement of its own and keeps the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, Count, Exists, F, Min, OuterRef, Value, When

from ...domain.admission import Candidate
from ...domain.backlog import Backlog
from ...domain.changes import (
    Alternatives,
    Committed,
    dated,
)
from ...domain.controls import Controls
from ...domain.filters import EVERYTHING, JobFilter, Order
from ...domain.lifecycle import ENDINGS
from ...domain.pausing import NOT_PAUSED
from ...domain.rates import Bucket
from ...domain.rates import take as take_permits
from ...domain.records import (
    ENDED,
    CancelRequest,
    Claim,
    ClaimedJob,
    CronSchedule,
    CronTick,
    EventType,
    Inserted,
    Job,
    JobEvent,
    JobLog,
    JobStatus,
    Kind,
    NewJob,
    Permits,
    Step,
    Token,
    Worker,
)
from ...domain.tokens import expire
from ...exceptions import NameTaken
from ...models import CancelRequest as RequestRow
from ...models import CronSchedule as ScheduleRow
from ...models import CronTick as TickRow
from ...models import Job as JobRow
from ...models import JobEvent as EventRow
from ...models import JobLog as LogRow
from ...models import JobTag as TagRow
from ...models import RateBucket as BucketRow
from ...models import Step as StepRow
from ...models import Token as TokenRow
from ...models import Worker as WorkerRow
from ..base import Features, PrivateSession, SideRecord, Store
from . import rows
from .admitting import Admission, open_to, rules
from .batch import Batch
from .closed import Closed
from .controls import CONTROLS, ControlTables
from .filters import claimable, conditions, in_both_indexes
from .lanes import Lane
from .migrated import unapplied
from .session import PrivateConnection
from .sql import load
from .statistics import StatisticsTables
from .tables import MODELS, TABLES

BY_AGE = ("created_at", "id")
REPLACED = CONTROLS | {Kind.QUEUE}
"""Side records of which a new one takes the place of the one with its id."""

STAGE_LOT = 1000
STAGE_SECONDS = 0.05


class PortableStore(ControlTables, StatisticsTables, Store):
    """See Store for what each method guarantees; here is only how."""

    features = Features(joins_user_transaction=True)

    def __init__(self, alias: str, database: str) -> None:
        self.alias = alias
        self.database = database
        self._closed = Closed()

    # -- write

    def insert(self, jobs: Sequence[NewJob], *, now: datetime | None = None, bounded: bool = False) -> list[Inserted]:
        """See Store.insert."""
        if not jobs:
            return []
        with self._write():
            refusal = self._refusal(jobs, now) if bounded else None
            if refusal is None:
                return self._insert(jobs, now)
        raise refusal

    def _insert(self, jobs: Sequence[NewJob], now: datetime | None) -> list[Inserted]:
        with self._write():
            at = self._at(now)
            taken = self._ids_by_key([job.idempotency_key for job in jobs if job.idempotency_key])
            fresh_ids = self._draw_ids(len(jobs))
            answers, lot = [], []
            for job in jobs:
                key = job.idempotency_key
                if key is not None and key in taken:
                    answers.append(Inserted(id=taken[key], existed=True, at=at))
                    continue
                job_id = next(fresh_ids)
                if key is not None:
                    taken[key] = job_id
                lot.append((job_id, job))
                answers.append(Inserted(id=job_id, existed=False, at=at))
            self._write_new(lot, at)
            return answers

    def claim(self, claim: Claim, *, now: datetime | None = None) -> list[ClaimedJob]:
        """See Store.claim."""
        if not self._anything_due(claim, now):
            return []
        with self._write():
            at = self._at(now)
            if not self._workers().filter(id=claim.worker_id, expired_at=None).exists():
                return []
            self._stage(at)
            controls = self.controls()
            lanes = open_to(claim, self._lanes(), controls, at)
            likely = self._closed.without(lanes, claim, controls) if now is None else lanes
            jobs = self._claim_from(likely, claim, controls, at)
            return jobs or (self._claim_from(lanes, claim, controls, at) if len(likely) < len(lanes) else [])

    def _claim_from(
        self, lanes: Sequence[Lane], claim: Claim, controls: Controls, now: datetime | None
    ) -> list[ClaimedJob]:
        """Claim from these lanes: under rules, or where none of them matters, in claim order alone."""
        if any(rules(controls, lane) for lane in lanes):
            admission = Admission(self, claim, controls, lanes, now)
            jobs = admission.jobs()
            self._closed.looked(admission, claim)
            if jobs is not None:
                self._closed.began(jobs)
                return jobs
            lanes = [lane for lane in lanes if not rules(controls, lane)]
        return self._claim_plain(lanes, claim, controls, now) if lanes else []

    def _claim_plain(
        self, lanes: Sequence[Lane], claim: Claim, controls: Controls, now: datetime | None
    ) -> list[ClaimedJob]:
        """Claim from lanes without rules."""
        return self._begin(self._pick(claim, lanes), claim, controls, now)

    def _begin(self, ids: Sequence[int], claim: Claim, controls: Controls, now: datetime | None) -> list[ClaimedJob]:
        """Hand out these jobs, in this order, if they can still be claimed and `controls` still hold."""
        if not ids:
            return []
        at = self._at(now)
        self._start(ids, claim, at)
        found = {row["id"]: row for row in self._jobs().filter(id__in=ids).values(*rows.SLIM_FIELDS)}
        started = [ClaimedJob(**rows.to_fields(found[id])) for id in ids]
        self._add_rows(
            EventRow,
            [
                {
                    "job_id": job.id,
                    "event_type": EventType.PROCESSING.value,
                    "created_at": at,
                    "claim_seq": job.claim_seq,
                    "attempt": job.attempts,
                    "worker_id": claim.worker_id,
                }
                for job in started
            ],
        )
        return started

    def commit(
        self, items: Sequence[Alternatives], *, now: datetime | None = None, wait: bool = True
    ) -> list[Committed]:
        """See Store.commit."""
        if not items:
            return []
        self._closed.ended([item[0].id for item in items])
        with self._write():
            batch = Batch(self, items, wait=wait, now=now)
            results = [batch.settle(item) for item in items]
            batch.write_back()
            return results

    def delete(self, ids: Collection[int], *, force: bool = False) -> int:
        """See Store.delete."""
        with self._write():
            self._lock_tokens_of(ids)
            doomed = self._locked(self._jobs().filter(id__in=ids).order_by("id"))
            if not force:
                doomed = doomed.exclude(status=JobStatus.PROCESSING.value)
            return self._delete_jobs(list(doomed.values_list("id", flat=True)))

    def delete_ended(
        self,
        status: JobStatus,
        *,
        before: datetime,
        since: datetime | None = None,
        job_types: Collection[str] = (),
        exclude_job_types: Collection[str] = (),
        limit: int = 1000,
    ) -> int:
        """See Store.delete_ended. Looks first, without the write lock."""
        old = self._jobs().filter(status=status.value, ready_at=None, finished_at__lt=before)
        old = old.filter(finished_at__gte=since) if since is not None else old
        old = old.filter(job_type__in=job_types) if job_types else old
        old = old.exclude(job_type__in=exclude_job_types) if exclude_job_types else old
        first = list(old.order_by("finished_at", "id").values_list("id", flat=True)[:limit])
        if not first:
            return 0
        with self._write():
            self._lock_tokens_of(first)
            # Locked in the order of ids and looked at once more: somebody may have retried one meanwhile.
            doomed = self._locked(old.filter(id__in=first).order_by("id"))
            return self._delete_jobs(list(doomed.values_list("id", flat=True)))

    # -- read

    def get(self, ids: Collection[int]) -> list[Job]:
        """See Store.get."""
        return self.query(JobFilter(ids=tuple(ids)), order=Order.OLDEST, limit=len(ids)) if ids else []

    def query(
        self,
        where: JobFilter,
        *,
        order: Order = Order.NEWEST,
        limit: int = 50,
        after: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """See Store.query."""
        found = self._found(where, order, after).values(*rows.JOB_FIELDS)
        return [Job(**rows.to_fields(row)) for row in found[offset : offset + limit]]

    def values(
        self,
        where: JobFilter,
        fields: Sequence[str],
        *,
        order: Order = Order.NEWEST,
        limit: int = 50,
        after: int | None = None,
    ) -> list[tuple[Any, ...]]:
        """See Store.values."""
        found = self._found(where, order, after).values(*fields)[:limit]
        return [tuple(rows.to_fields(row)[name] for name in fields) for row in found]

    def count(self, where: JobFilter = EVERYTHING, *, by: tuple[str, ...] = ()) -> dict[tuple[Any, ...], int]:
        """See Store.count."""
        found = self._jobs().filter(conditions(where))
        if not by:
            return {(): found.count()}
        return {tuple(row[:-1]): row[-1] for row in found.order_by().values_list(*by).annotate(n=Count("*"))}

    def backlogs(
        self, *, queue: str | None = None, job_type: str | None = None, now: datetime | None = None
    ) -> list[Backlog]:
        """See Store.backlogs. One statement, so that a job staged meanwhile is neither missed nor counted twice."""
        at = self._at(now)
        wanted = {"queue": queue, "job_type": job_type}
        meant = self._jobs().filter(**{name: value for name, value in wanted.items() if value is not None})
        parts = [
            part.filter(ready_at__lte=at)
            .order_by()
            .values_list("queue", "job_type")
            .annotate(ready=Count("*"), first=Min("ready_at"))
            for part in (*in_both_indexes(meant), meant.filter(stage=rows.LATER))
        ]
        lanes: dict[tuple[str, str], tuple[int, datetime]] = {}
        for *lane, ready, first in parts[0].union(*parts[1:], all=True):
            before = lanes.get((lane[0], lane[1]), (0, first))
            lanes[lane[0], lane[1]] = (before[0] + ready, min(before[1], first))
        return [
            Backlog(queue=lane[0], job_type=lane[1], ready=ready, waited=max(0.0, (at - first).total_seconds()))
            for lane, (ready, first) in sorted(lanes.items())
        ]

    def now(self) -> datetime:
        """See Store.now."""
        return self._at(None)

    def next_ready_in(self, claim: Claim, *, now: datetime | None = None) -> float | None:
        """See Store.next_ready_in."""
        later = self._jobs().filter(stage=rows.LATER).order_by("ready_at", "id")
        row = later.values_list("ready_at", self._clock_column(now)).first()
        waits = [] if row is None else [max(0.0, (row[0] - row[1]).total_seconds())]
        held = self._held_for(claim, now)
        return min([*waits, *([] if held is None else [held])], default=None)

    def _held_for(self, claim: Claim, now: datetime | None) -> float | None:
        """In how many seconds a pause ends, or a limit may have room, that keeps back a job that is due.

        As far as the claim knew that found nothing.
        """
        controls = self._known
        if not (controls.pauses or controls.limits or claim.group_concurrency):
            return None
        at = self._at(now)
        lanes = open_to(claim, self._lanes(), controls, at)
        end = controls.next_end(at)
        waits = [] if end is None else [(end - at).total_seconds()]
        if any(rules(controls, lane) for lane in lanes):
            waits += Admission(self, replace(claim, crashed=None), controls, lanes, at).waits()
        return min(waits, default=None)

    def would_find(self, claim: Claim, *, now: datetime | None = None) -> bool:
        """See Store.would_find."""
        controls, found = self.controls(), claimable(self._jobs(), claim)
        if not controls.pauses:
            return bool(found.exists())
        at = self._at(now)
        lanes = found.order_by().values_list("queue", "job_type").distinct()
        return any(controls.pause_of(queue, job_type, at) is None for queue, job_type in lanes)

    def events(self, job_id: int, *, limit: int = 200, after: int = 0) -> list[JobEvent]:
        """See Store.events."""
        found = self._table(EventRow).filter(job_id=job_id, id__gt=after).order_by("id")
        return [JobEvent(**rows.to_fields(row)) for row in found.values(*rows.EVENT_FIELDS)[:limit]]

    def outcome_of(self, job_id: int, claim_seq: int) -> JobEvent | None:
        """See Store.outcome_of."""
        found = self._table(EventRow).filter(
            job_id=job_id, claim_seq=claim_seq, event_type__in=[event.value for event in ENDINGS]
        )
        row = found.order_by("id").values(*rows.EVENT_FIELDS).first()
        return None if row is None else JobEvent(**rows.to_fields(row))

    def delete_events(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_events."""
        return self._delete_first(self._of_ended(EventRow).filter(created_at__lt=before).order_by(*BY_AGE), limit)

    def steps(self, job_id: int) -> list[Step]:
        """See Store.steps."""
        found = self._table(StepRow).filter(job_id=job_id).order_by("id")
        return [Step(**rows.to_fields(row)) for row in found.values(*rows.STEP_FIELDS)]

    def logs(self, job_id: int, *, limit: int = 1000, after: int = 0) -> list[JobLog]:
        """See Store.logs."""
        found = self._table(LogRow).filter(job_id=job_id, id__gt=after).order_by("id")
        return [JobLog(**row) for row in found.values(*rows.LOG_FIELDS)[:limit]]

    def delete_logs(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_logs."""
        return self._delete_first(self._of_ended(LogRow).filter(created_at__lt=before).order_by(*BY_AGE), limit)

    # -- side records

    def put(self, record: SideRecord, *, now: datetime | None = None) -> SideRecord:
        """See Store.put."""
        kind = next(kind for kind, type_ in rows.SIDE.items() if isinstance(record, type_))
        stored = _born(record, self._at(now))
        columns = rows.columns_of_record(stored, rows.SIDE_FIELDS[kind])
        table = self._table(MODELS[kind])
        if kind in REPLACED:
            with self._write():
                names = [name for name in columns if name != "id"]
                table.bulk_create(
                    [MODELS[kind](**columns)], update_conflicts=True, unique_fields=["id"], update_fields=names
                )
                self._changed(kind)
        elif columns["id"]:
            table.bulk_create([MODELS[kind](**columns)], ignore_conflicts=kind is Kind.DUTY)
        else:
            del columns["id"]
            stored = replace(stored, id=self._create(table, columns))
        return stored  # type: ignore[no-any-return]

    def fetch(self, kind: Kind, id: int | str) -> Any:
        """See Store.fetch."""
        found = self.find(kind, id=id)
        return found[0] if found else None

    def find(self, kind: Kind, **equals: Any) -> list[Any]:
        """See Store.find."""
        return self._records(kind, self._table(MODELS[kind]).filter(**equals).order_by("id"))

    def remove(self, kind: Kind, ids: Collection[int | str]) -> int:
        """See Store.remove."""
        doomed = self._table(MODELS[kind]).filter(id__in=ids)
        if kind is Kind.WORKER:
            doomed = doomed.filter(~Exists(self._jobs().filter(worker_id=OuterRef("id"))))
        with self._write():
            if kind is Kind.SCHEDULE:
                self._table(TickRow).filter(schedule_id__in=ids).delete()
            removed = int(doomed.delete()[0])
            if removed:
                self._changed(kind)
            return removed

    def due_tokens(self, *, limit: int = 1000, now: datetime | None = None) -> list[Token]:
        """See Store.due_tokens."""
        due = self._table(TokenRow).filter(due_at__lte=self._at(now)).order_by("due_at", "id")
        return self._records(Kind.TOKEN, due[:limit])

    # -- schedules

    def due_schedules(self, *, limit: int = 1000, now: datetime | None = None) -> list[CronSchedule]:
        """See Store.due_schedules."""
        due = self._table(ScheduleRow).filter(next_run_at__lte=self._clock_column(now))
        return self._records(Kind.SCHEDULE, due.order_by("next_run_at", "id")[:limit])

    def next_schedule_in(self, *, now: datetime | None = None) -> float | None:
        """See Store.next_schedule_in."""
        ahead = self._table(ScheduleRow).filter(next_run_at__isnull=False).order_by("next_run_at", "id")
        row = ahead.values_list("next_run_at", self._clock_column(now)).first()
        return None if row is None else max(0.0, (row[0] - row[1]).total_seconds())

    def ticks(self, schedule_id: int, *, limit: int = 100, before: int | None = None) -> list[CronTick]:
        """See Store.ticks."""
        found = self._table(TickRow).filter(schedule_id=schedule_id).order_by("-id")
        found = found if before is None else found.filter(id__lt=before)
        return [rows.tick_of(row) for row in found.values(*rows.TICK_FIELDS)[:limit]]

    def delete_ticks(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_ticks."""
        return self._delete_first(self._table(TickRow).filter(created_at__lt=before).order_by(*BY_AGE), limit)

    # -- requests to cancel

    def cancel_requests(self, jobs: Collection[int]) -> list[CancelRequest]:
        """See Store.cancel_requests."""
        found = self._table(RequestRow).filter(id__in=jobs).order_by("id")
        return self._records(Kind.CANCEL, found)

    def stray_requests(self, *, jobs: Collection[int] = (), limit: int = 1000) -> list[CancelRequest]:
        """See Store.stray_requests."""
        found = self._table(RequestRow).filter(id__in=jobs) if jobs else self._table(RequestRow)
        in_it = self._jobs().filter(id=OuterRef("id"), claim_seq=OuterRef("claim_seq"))
        stray = found.filter(~Exists(in_it)).order_by("id")[:limit]
        return self._records(Kind.CANCEL, stray)

    # -- rates

    def take(self, bucket: str, *, want: int, limit: int, window: timedelta, now: datetime | None = None) -> Permits:
        """See Store.take."""
        with self._write():
            at = self._at(now)
            buckets = self._table(BucketRow)
            buckets.bulk_create([BucketRow(key=bucket, tokens=float(limit), at=at)], ignore_conflicts=True)
            row = self._locked(buckets.filter(key=bucket)).get()
            state, permits = take_permits(
                Bucket(row.tokens, row.at), want=want, limit=limit, window=window, now=max(at, row.at)
            )
            buckets.filter(key=bucket).update(tokens=state.tokens, at=state.at)
            return permits

    # -- life

    def problem(self) -> str | None:
        """See Store.problem."""
        try:
            tables = set(self.connection.introspection.table_names())
            behind = unapplied(self.connection)
        except (OperationalError, InterfaceError):
            return None
        missing = sorted(model._meta.db_table for model in TABLES if model._meta.db_table not in tables)
        if missing:
            return f"The database {self.database!r} has no table {missing[0]}; run `manage.py migrate`."
        if behind:
            return f"The database {self.database!r} lacks the migration {', '.join(behind)}; run `manage.py migrate`."
        return None

    def is_lost_connection(self, error: BaseException) -> bool:
        """See Store.is_lost_connection. Lock timeouts, deadlocks and a busy SQLite file count: repeat the call."""
        return isinstance(error, OperationalError | InterfaceError)

    def refuses_value(self, error: BaseException) -> bool:
        """See Store.refuses_value."""
        return isinstance(error, DataError | IntegrityError) or super().refuses_value(error)

    def private_session(self) -> PrivateSession:
        """See Store.private_session."""
        return PrivateConnection(self.database, {})

    def transaction(self, *, with_users_code: bool = False) -> AbstractContextManager[None]:
        """See Store.transaction. A failure inside leaves the caller's own transaction usable."""
        return transaction.atomic(using=self.database)

    def reconnect(self) -> None:
        """See Store.reconnect. Nothing happens in a transaction: that is over, and somebody will notice."""
        self.connection.close_if_unusable_or_obsolete()

    def in_transaction(self) -> bool:
        """See Store.in_transaction."""
        return self.connection.in_atomic_block

    def transaction_elsewhere(self) -> str | None:
        """See Store.transaction_elsewhere. The transactions that a TestCase wraps around each test do not count."""
        if _in_own_transaction(self.connection):
            return None
        others = (other for other in connections.all(initialized_only=True) if other.alias != self.database)
        return next((other.alias for other in others if _in_own_transaction(other)), None)

    def on_commit(self, run: Callable[[], None]) -> None:
        """See Store.on_commit. With autocommit switched off nobody knows when that is; workers poll."""
        if not self.connection.in_atomic_block and not self.connection.get_autocommit():
            return
        transaction.on_commit(run, using=self.database, robust=True)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The current thread's connection to the store's database."""
        return connections[self.database]

    # -- what vendors differ in

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction that writes; the caller's own if one is open."""
        with transaction.atomic(using=self.database, savepoint=False):
            yield

    def _at(self, now: datetime | None) -> datetime:
        """`now`, or the clock of the database."""
        return datetime.now(UTC) if now is None else now

    def _clock_column(self, now: datetime | None) -> Any:
        """An expression for `now`, or for the database's clock."""
        return Value(self._at(now), output_field=models.DateTimeField())

    def _locked(self, found: models.QuerySet[Any], *, wait: bool = True) -> models.QuerySet[Any]:
        """The same rows, locked; those that others hold are left out unless `wait`."""
        return found

    def _draw_ids(self, count: int) -> Iterator[int]:
        raise NotImplementedError

    def _add_rows(self, model: type[models.Model], given: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns; the other columns take their defaults."""
        self._table(model).bulk_create([model(**row) for row in given])

    # -- helpers

    def _table(self, model: type[models.Model]) -> Any:
        return model._default_manager.using(self.database)

    def _create(self, table: Any, columns: Mapping[str, Any]) -> int:
        """Insert a row and return its id; the caller's own transaction stays usable where its name is taken."""
        try:
            with self.transaction():
                return int(table.create(**columns).pk)
        except IntegrityError:
            name = columns.get("schedule_name")
            if name is None or not table.filter(schedule_name=name).exists():
                raise
            raise NameTaken(f"A schedule named {name!r} exists already.") from None

    def _records(self, kind: Kind, found: Any) -> list[Any]:
        """The rows of a kind as its records."""
        return [rows.SIDE[kind](**rows.fields_of(kind, row)) for row in found.values(*rows.SIDE_FIELDS[kind])]

    def _jobs(self) -> Any:
        return self._table(JobRow)

    def _workers(self) -> Any:
        return self._table(WorkerRow)

    def _found(self, where: JobFilter, order: Order, after: int | None) -> Any:
        """The jobs that match, in order, beyond the id `after`."""
        newest = order is Order.NEWEST
        found = self._jobs().filter(conditions(where)).order_by("-id" if newest else "id")
        return found if after is None else found.filter(**{"id__lt" if newest else "id__gt": after})

    def _delete_jobs(self, ids: Sequence[int]) -> int:
        """Delete locked jobs and what belongs to them."""
        self._give_up_tokens(ids)
        for model in (TagRow, EventRow, StepRow, LogRow):
            self._table(model).filter(job_id__in=ids).delete()
        self._table(RequestRow).filter(id__in=ids).delete()
        self._jobs().filter(id__in=ids).delete()
        return len(ids)

    def _of_ended(self, model: type[models.Model]) -> Any:
        """The rows of a table whose jobs have ended or are gone."""
        open_jobs = self._jobs().filter(id=OuterRef("job_id")).exclude(_has_ended())
        return self._table(model).filter(~Exists(open_jobs))

    def _delete_first(self, doomed: Any, limit: int) -> int:
        """Delete the first of some rows; looks first, without the write lock, and once more when deleting."""
        ids = list(doomed.values_list("id", flat=True)[:limit])
        if not ids:
            return 0
        with self._write():
            return int(doomed.order_by().filter(id__in=ids).delete()[0])

    def _lock_tokens_of(self, jobs: Collection[int]) -> None:
        """Lock what jobs have made, before the jobs: whoever completes a token locks it before those that wait."""
        mine = self._table(TokenRow).filter(job_id__in=jobs).order_by("id")
        list(self._locked(mine).values_list("id", flat=True))

    def _give_up_tokens(self, jobs: Sequence[int]) -> None:
        """Let the open tokens of jobs time out; those that nobody can wait for any more go."""
        mine = list(self._table(TokenRow).filter(job_id__in=jobs).values_list("id", flat=True))
        if mine:
            self.commit([expire(id) for id in mine])
            self._table(TokenRow).filter(id__in=mine, due_at=None).delete()

    def _ids_by_key(self, keys: Sequence[str]) -> dict[str, int]:
        found = self._jobs().filter(idempotency_key__in=sorted(keys)) if keys else ()
        return {row["idempotency_key"]: row["id"] for row in found and found.values("id", "idempotency_key")}

    def _write_new(self, lot: Sequence[tuple[int, NewJob]], now: datetime) -> None:
        self._add_rows(JobRow, [self._new_columns(id, job, now) for id, job in lot])
        self._add_rows(TagRow, [{"job_id": id, "tag": tag} for id, job in lot for tag in job.tags])
        added = EventType.ADDED.value
        self._add_rows(EventRow, [{"job_id": id, "event_type": added, "created_at": now} for id, _ in lot])

    @staticmethod
    def _new_columns(job_id: int, job: NewJob, now: datetime) -> dict[str, Any]:
        run_at = job.run_at or now
        given = {name: getattr(job, name) for name in rows.NEW_FIELDS}
        born = {"id": job_id, "run_at": run_at, "ready_at": run_at, "created_at": now, "updated_at": now}
        return rows.to_columns({**given, **born}, now)

    def _anything_due(self, claim: Claim, now: datetime | None) -> bool:
        """Whether a claim could find anything: a read, so that idle workers never queue for the write lock."""
        at = self._at(now)
        with self.connection.cursor() as cursor:
            cursor.execute(load("portable/due"), [self.connection.ops.adapt_datetimefield_value(at)])
            if not cursor.fetchone()[0]:
                return False
        controls = self.controls()
        if not (controls.pauses or controls.limits):
            return True
        if self._jobs().filter(stage=rows.LATER, ready_at__lte=at).exists():
            return True
        lanes = open_to(claim, self._lanes(), controls, at)
        if not all(rules(controls, lane) for lane in lanes):
            return True
        return bool(lanes and Admission(self, claim, controls, lanes, at).candidates())

    def _stage(self, now: datetime) -> None:
        """Mark what has come due as claimable, in lots, for a bounded time."""
        until = time.monotonic() + STAGE_SECONDS
        while self._stage_lot(now) == STAGE_LOT and time.monotonic() < until:
            pass

    def _stage_lot(self, now: datetime) -> int:
        due = self._jobs().filter(stage=rows.LATER, ready_at__lte=now).order_by("ready_at", "id")
        lot = list(due.values_list("id", flat=True)[:STAGE_LOT])
        return self._jobs().filter(id__in=lot).update(stage=rows.CLAIMABLE) if lot else 0

    def _lanes(self) -> list[Lane]:
        """The lanes that have something to claim."""
        with self.connection.cursor() as cursor:
            cursor.execute(load("portable/lanes"))
            return [Lane(queue, job_type, bool(of_groups)) for queue, job_type, of_groups in cursor.fetchall()]

    def _turns(self, lane: Lane, after: str, most: int) -> list[str]:
        """The groups of a lane that have something to claim, by name, after one."""
        return [row[0] for row in self._rows("portable/turns", [*lane[:2], after, *lane[:2], most])]

    def _rows(self, name: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a statement of ours, by the name of its file, reads."""
        with self.connection.cursor() as cursor:
            cursor.execute(load(name), params)
            return list(cursor.fetchall())

    def _heads(self, rows: Sequence[tuple[str, str, str | None]], claim: Claim, limit: int) -> list[list[Candidate]]:
        """The first jobs of each (queue, job type, group), in claim order."""
        raise NotImplementedError

    def _pick(self, claim: Claim, lanes: Sequence[Lane]) -> list[int]:
        """The ids to claim from lanes without rules, in claim order."""
        raise NotImplementedError

    def _start(self, ids: Sequence[int], claim: Claim, now: datetime) -> None:
        self._jobs().filter(id__in=ids).update(
            status=JobStatus.PROCESSING.value,
            stage=None,
            ready_at=None,
            claim_seq=F("claim_seq") + 1,
            attempts=F("attempts") + Case(When(resuming=True, then=0), default=1),
            resuming=False,
            pending_reason=None,
            wait_until=None,
            wait_token_id=None,
            **NOT_PAUSED,
            worker_id=claim.worker_id,
            locked_by=claim.locked_by,
            locked_at=now,
            last_started_at=now,
            started_at=Case(When(started_at=None, then=Value(now)), default=F("started_at")),
            updated_at=now,
        )


def _born(record: Any, now: datetime) -> Any:
    """Return a side record as it is inserted, with its times."""
    return replace(record, started_at=now, last_beat_at=now) if isinstance(record, Worker) else dated(record, now)


def _in_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the project's code has begun a transaction here."""
    return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _has_ended() -> models.Q:
    return models.Q(status__in=[status.value for status in ENDED], ready_at=None)
