"""The ORM store in terms every vendor understands: lock the records, judge them in Python, write them back.

SQLite uses it as it is; PostgreSQL overrides what is worth a statement of its own and keeps the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, Count, Exists, F, Min, OuterRef, Value, When

from ...domain.backlog import Backlog
from ...domain.changes import (
    Alternatives,
    Change,
    Committed,
    Guard,
    Need,
    Verdict,
    apply_change,
    columns_of,
    dated,
    guard_holds,
    only_read,
    put_of,
    speaking_for,
    targets,
    walk,
)
from ...domain.filters import EVERYTHING, JobFilter, Order
from ...domain.lifecycle import ENDINGS
from ...domain.rates import Bucket
from ...domain.rates import take as take_permits
from ...domain.records import (
    ENDED,
    CancelRequest,
    Claim,
    ClaimedJob,
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
from ...models import CancelRequest as RequestRow
from ...models import Job as JobRow
from ...models import JobEvent as EventRow
from ...models import JobLog as LogRow
from ...models import JobTag as TagRow
from ...models import RateBucket as BucketRow
from ...models import Step as StepRow
from ...models import Token as TokenRow
from ...models import Worker as WorkerRow
from ..base import MOST_LOGS, Features, PrivateSession, SideRecord, Store
from . import rows
from .filters import claimable, conditions
from .migrated import unapplied
from .session import PrivateConnection

STAGE_LOT = 1000
STAGE_SECONDS = 0.05
ALWAYS_READ_OF = {
    Kind.JOB: frozenset({"id", "claim_seq", "attempts"}),
    Kind.CANCEL: frozenset({"id", "claim_seq", "created_at", "actor", "reason"}),
}
"""What the event of any change needs to know of the job, and of the request that it speaks for."""

NEW_LOG_FIELDS = tuple(name for name in rows.LOG_FIELDS if name != "id")

TABLES = (JobRow, TagRow, EventRow, StepRow, LogRow, TokenRow, WorkerRow, BucketRow, RequestRow)
MODELS: dict[Kind, type[models.Model]] = {
    Kind.JOB: JobRow,
    Kind.TOKEN: TokenRow,
    Kind.WORKER: WorkerRow,
    Kind.CANCEL: RequestRow,
}


class PortableStore(Store):
    """See Store for what each method guarantees; here is only how."""

    features = Features(joins_user_transaction=True)

    def __init__(self, alias: str, database: str) -> None:
        self.alias = alias
        self.database = database

    # -- write

    def insert(self, jobs: Sequence[NewJob], *, now: datetime | None = None) -> list[Inserted]:
        """See Store.insert."""
        if not jobs:
            return []
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
        if not self._anything_due(now):
            return []
        with self._write():
            at = self._at(now)
            if not self._workers().filter(id=claim.worker_id, expired_at=None).exists():
                return []
            self._stage(at)
            ids = self._pick(claim)
            if not ids:
                return []
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
        with self._write():
            batch = _Batch(self, items, wait=wait, now=now)
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

    def delete_ended(self, status: JobStatus, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_ended."""
        with self._write():
            old = self._jobs().filter(status=status.value, ready_at=None, finished_at__lt=before)
            first = list(old.order_by("finished_at", "id").values_list("id", flat=True)[:limit])
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

    def backlogs(self, *, now: datetime | None = None) -> list[Backlog]:
        """See Store.backlogs. One statement, so that a job staged meanwhile is neither missed nor counted twice."""
        at = self._at(now)
        parts = [
            self._jobs()
            .filter(stage=stage, ready_at__lte=at)
            .order_by()
            .values_list("queue", "job_type")
            .annotate(ready=Count("*"), first=Min("ready_at"))
            for stage in (rows.CLAIMABLE, rows.LATER)
        ]
        lanes: dict[tuple[str, str], tuple[int, datetime]] = {}
        for queue, job_type, ready, first in parts[0].union(parts[1], all=True):
            before = lanes.get((queue, job_type), (0, first))
            lanes[queue, job_type] = (before[0] + ready, min(before[1], first))
        return [
            Backlog(queue=queue, job_type=job_type, ready=ready, waited=max(0.0, (at - first).total_seconds()))
            for (queue, job_type), (ready, first) in sorted(lanes.items())
        ]

    def now(self) -> datetime:
        """See Store.now."""
        return self._at(None)

    def next_ready_in(self, claim: Claim, *, now: datetime | None = None) -> float | None:
        """See Store.next_ready_in."""
        later = self._jobs().filter(stage=rows.LATER).order_by("ready_at", "id")
        row = later.values_list("ready_at", self._clock_column(now)).first()
        return None if row is None else max(0.0, (row[0] - row[1]).total_seconds())

    def would_find(self, claim: Claim, *, now: datetime | None = None) -> bool:
        """See Store.would_find."""
        return bool(claimable(self._jobs(), claim).exists())

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
        open_jobs = self._jobs().filter(id=OuterRef("job_id")).exclude(_has_ended())
        old = self._table(EventRow).filter(~Exists(open_jobs), created_at__lt=before)
        with self._write():
            ids = list(old.order_by("created_at", "id").values_list("id", flat=True)[:limit])
            return int(self._table(EventRow).filter(id__in=ids).delete()[0])

    def steps(self, job_id: int) -> list[Step]:
        """See Store.steps."""
        found = self._table(StepRow).filter(job_id=job_id).order_by("id")
        return [Step(**rows.to_fields(row)) for row in found.values(*rows.STEP_FIELDS)]

    def logs(self, job_id: int, *, limit: int = 1000, after: int = 0) -> list[JobLog]:
        """See Store.logs."""
        found = self._table(LogRow).filter(job_id=job_id, id__gt=after).order_by("id")
        return [JobLog(**row) for row in found.values(*rows.LOG_FIELDS)[:limit]]

    # -- side records

    def put(self, record: SideRecord, *, now: datetime | None = None) -> SideRecord:
        """See Store.put."""
        at = self._at(now)
        if isinstance(record, Token):
            token = dated(record, at)
            self._table(TokenRow).create(**rows.columns_of_record(token, rows.TOKEN_FIELDS))
            return token  # type: ignore[no-any-return]
        stored = replace(record, started_at=at, last_beat_at=at)
        columns = rows.to_columns({name: getattr(stored, name) for name in rows.WORKER_FIELDS}, at)
        del columns["id"]
        return replace(stored, id=self._workers().create(**columns).pk)

    def fetch(self, kind: Kind, id: int | str) -> Any:
        """See Store.fetch."""
        found = self.find(kind, id=id)
        return found[0] if found else None

    def find(self, kind: Kind, **equals: Any) -> list[Any]:
        """See Store.find."""
        found = self._table(MODELS[kind]).filter(**equals).order_by("id")
        if kind is Kind.TOKEN:
            return [Token(**rows.token_fields(row)) for row in found.values(*rows.TOKEN_FIELDS)]
        if kind is Kind.CANCEL:
            return [CancelRequest(**row) for row in found.values(*rows.REQUEST_FIELDS)]
        return [Worker(**rows.to_fields(row)) for row in found.values(*rows.WORKER_FIELDS)]

    def remove(self, kind: Kind, ids: Collection[int | str]) -> int:
        """See Store.remove."""
        doomed = self._table(MODELS[kind]).filter(id__in=ids)
        if kind is Kind.WORKER:
            doomed = doomed.filter(~Exists(self._jobs().filter(worker_id=OuterRef("id"))))
        return int(doomed.delete()[0])

    def due_tokens(self, *, limit: int = 1000, now: datetime | None = None) -> list[Token]:
        """See Store.due_tokens."""
        due = self._table(TokenRow).filter(due_at__lte=self._at(now)).order_by("due_at", "id")
        return [Token(**rows.token_fields(row)) for row in due.values(*rows.TOKEN_FIELDS)[:limit]]

    # -- requests to cancel

    def cancel_requests(self, jobs: Collection[int]) -> list[CancelRequest]:
        """See Store.cancel_requests."""
        found = self._table(RequestRow).filter(id__in=jobs).order_by("id")
        return [CancelRequest(**row) for row in found.values(*rows.REQUEST_FIELDS)]

    def stray_requests(self, *, jobs: Collection[int] = (), limit: int = 1000) -> list[CancelRequest]:
        """See Store.stray_requests."""
        found = self._table(RequestRow).filter(id__in=jobs) if jobs else self._table(RequestRow)
        in_it = self._jobs().filter(id=OuterRef("id"), claim_seq=OuterRef("claim_seq"))
        stray = found.filter(~Exists(in_it)).order_by("id")[:limit]
        return [CancelRequest(**row) for row in stray.values(*rows.REQUEST_FIELDS)]

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

    def _anything_due(self, now: datetime | None) -> bool:
        """Whether a claim could find anything: a read, so that idle workers never queue for the write lock."""
        at = self._at(now)
        claimable = self._jobs().filter(stage=rows.CLAIMABLE)
        due = self._jobs().filter(stage=rows.LATER, ready_at__lte=at)
        return bool(claimable.exists() or due.exists())

    def _stage(self, now: datetime) -> None:
        """Mark what has come due as claimable, in lots, for a bounded time."""
        until = time.monotonic() + STAGE_SECONDS
        while self._stage_lot(now) == STAGE_LOT and time.monotonic() < until:
            pass

    def _stage_lot(self, now: datetime) -> int:
        due = self._jobs().filter(stage=rows.LATER, ready_at__lte=now).order_by("ready_at", "id")
        lot = list(due.values_list("id", flat=True)[:STAGE_LOT])
        return self._jobs().filter(id__in=lot).update(stage=rows.CLAIMABLE) if lot else 0

    def _pick(self, claim: Claim) -> list[int]:
        """The ids to claim, in claim order."""
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
            worker_id=claim.worker_id,
            locked_by=claim.locked_by,
            locked_at=now,
            last_started_at=now,
            started_at=Case(When(started_at=None, then=Value(now)), default=F("started_at")),
            updated_at=now,
        )


@dataclass
class _Batch:
    """One commit: the records it may touch, locked and loaded once, and what it changes on them."""

    store: PortableStore
    items: Sequence[Alternatives]
    wait: bool
    now: datetime | None
    events: list[dict[str, Any]] = field(default_factory=list)
    changed: dict[tuple[Kind, Any], dict[str, Any]] = field(default_factory=dict)
    put: list[Any] = field(default_factory=list)
    requests: dict[int, CancelRequest | None] = field(default_factory=dict)
    """The requests to cancel that are written, by job; None are those that go."""
    held_requests: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.at = self.now or datetime.now(UTC)
        self.loaded: dict[tuple[Kind, Any], dict[str, Any]] = {}
        for kind in Kind:
            ids = targets(self.items, kind)
            if kind is Kind.CANCEL:
                ids = self._standing(ids)
            if ids:
                self._load(kind, self.store._locked(self._rows(kind, ids), wait=self.wait))
            if kind is Kind.CANCEL:
                self.held_requests = {id for id in ids if (kind, id) not in self.loaded}
            if looked_at := only_read(self.items, kind):
                self._load(kind, self._rows(kind, looked_at))

    def settle(self, item: Alternatives) -> Committed:
        """Apply the first alternative that holds."""
        if not self.wait and any(self._is_held(need, need.guard) for change in item for need in change.needs):
            return Committed(verdict=Verdict.BUSY)
        result = walk(item, self._apply)
        if result.verdict is Verdict.LOST and not self.wait and self._is_held_by_another(item):
            return Committed(verdict=Verdict.BUSY)
        return result

    def write_back(self) -> None:
        """Write what changed, one UPDATE per distinct set of values, what was put, and the events."""
        groups: dict[str, tuple[Kind, dict[str, Any], list[Any]]] = {}
        for (kind, id), values in self.changed.items():
            columns = rows.to_columns(values, self.at)
            groups.setdefault(f"{kind}{columns!r}", (kind, columns, []))[2].append(id)
        for kind, columns, ids in groups.values():
            self.store._table(MODELS[kind]).filter(id__in=ids).update(**columns)
        self._write_tags()
        self._write_put()
        self._write_requests()
        self.store._add_rows(EventRow, self.events)

    def _write_put(self) -> None:
        steps = {(one.job_id, one.kind, one.name): one for one in self.put if isinstance(one, Step)}
        if steps:
            self.store._table(StepRow).bulk_create(
                [StepRow(**rows.columns_of_record(step, rows.STEP_FIELDS)) for step in steps.values()],
                update_conflicts=True,
                unique_fields=["job_id", "kind", "name"],
                update_fields=["result", "until", "created_at", "claim_seq", "attempt"],
            )
        tokens = [one for one in self.put if isinstance(one, Token)]
        self.store._add_rows(TokenRow, [rows.columns_of_record(token, rows.TOKEN_FIELDS) for token in tokens])
        logs = [one for one in self.put if isinstance(one, JobLog)]
        self.store._add_rows(LogRow, [rows.columns_of_record(line, NEW_LOG_FIELDS) for line in logs])
        for job_id in sorted({line.job_id for line in logs if line.claim_seq > 1}):
            self._trim_logs(job_id)

    def _write_requests(self) -> None:
        gone = [id for id, request in self.requests.items() if request is None]
        if gone:
            self.store._table(RequestRow).filter(id__in=gone).delete()
        written = [
            RequestRow(**rows.columns_of_record(one, rows.REQUEST_FIELDS)) for one in self.requests.values() if one
        ]
        if written:
            self.store._table(RequestRow).bulk_create(
                written,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["claim_seq", "created_at", "actor", "reason"],
            )

    def _trim_logs(self, job_id: int) -> None:
        mine = self.store._table(LogRow).filter(job_id=job_id)
        oldest = mine.order_by("-id").values_list("id", flat=True)[MOST_LOGS - 1 : MOST_LOGS]
        for kept_from in oldest:
            mine.filter(id__lt=kept_from).delete()

    def _write_tags(self) -> None:
        """Make the index of tags say what the jobs' own lists say now."""
        tags = {id: values["tags"] for (kind, id), values in self.changed.items() if "tags" in values}
        if tags:
            self.store._table(TagRow).filter(job_id__in=tags).delete()
            self.store._add_rows(TagRow, [{"job_id": id, "tag": tag} for id in sorted(tags) for tag in tags[id]])

    def _standing(self, ids: list[Any]) -> list[Any]:
        """Return for which of these jobs there is a request to cancel: mostly none, and then nothing to lock."""
        return list(self._rows(Kind.CANCEL, ids).values_list("id", flat=True)) if ids else []

    def _load(self, kind: Kind, found: Any) -> None:
        clock = self.store._clock_column(self.now)
        for row in found.annotate(clock=clock).values(*self._columns(kind), "clock"):
            self.at = row.pop("clock")
            self.loaded[kind, row["id"]] = _fields_of(kind, row)

    def _rows(self, kind: Kind, ids: Collection[Any]) -> Any:
        return self.store._table(MODELS[kind]).filter(id__in=ids).order_by("id")

    def _columns(self, kind: Kind) -> list[str]:
        names = set(ALWAYS_READ_OF.get(kind, {"id"}))
        for item in self.items:
            for change in item:
                for one in (change, *change.then):
                    names |= columns_of(one) if one.kind is kind else set()
                    names.update(name for need in one.needs if need.kind is kind for name in need.guard)
        return sorted(names)

    def _apply(self, change: Change) -> tuple[bool, int | None]:
        if not all(self._is_met(need) for need in change.needs):
            return False, None
        where = change.kind, change.id
        before = self.loaded.get(where)
        updates = None if before is None else apply_change(before, change, self.at)
        if before is None or updates is None:
            return False, None
        if change.as_asked:
            change = speaking_for(change, self.loaded[Kind.CANCEL, change.id])
        spawned = None
        if change.spawn is not None:
            spawned = self.store.insert([change.spawn], now=self.at)[0].id
        if change.link is not None:
            updates[change.link] = spawned
        if change.event is not None:
            self._note(change, before, {**before, **updates})
        self.loaded[where] = {**before, **updates}
        for record in put_of(change, self.at, spawned):
            self._put(record)
        if change.kind is Kind.CANCEL and not change.withdraw:
            self._put(CancelRequest(**self.loaded[where]))
        elif updates:
            self.changed.setdefault(where, {}).update(updates)
        if change.withdraw:
            self.requests[int(change.id)] = None
            self.loaded.pop((Kind.CANCEL, change.id), None)
        return True, spawned

    def _put(self, record: Any) -> None:
        """Note a record to be written; later items see a request that earlier ones made."""
        if isinstance(record, CancelRequest):
            self.requests[record.id] = record
            self.loaded[Kind.CANCEL, record.id] = {name: getattr(record, name) for name in rows.REQUEST_FIELDS}
        else:
            self.put.append(record)

    def _note(self, change: Change, before: dict[str, Any], after: dict[str, Any]) -> None:
        self.events.append(
            {
                "job_id": int(change.id),
                "event_type": change.event.value if change.event else "",
                "created_at": self.at,
                "claim_seq": before["claim_seq"],
                "attempt": after["attempts"],
                "actor": change.actor,
                "metadata": change.metadata,
            }
        )

    def _is_held_by_another(self, item: Alternatives) -> bool:
        """Whether an alternative would hold on a record that was left out because another transaction holds it."""
        return any(self._is_held(change, change.guard) for change in item)

    def _is_held(self, named: Change | Need, guard: Guard) -> bool:
        """Whether a record was left out because another transaction holds it, and would meet the guard as it stands."""
        if (named.kind, named.id) in self.loaded:
            return False
        if named.kind is Kind.CANCEL:  # whether somebody has one was seen when they were loaded
            return named.id in self.held_requests
        row = self._rows(named.kind, [named.id]).values(*self._columns(named.kind)).first()
        return row is not None and guard_holds(_fields_of(named.kind, row), guard, self.at)

    def _is_met(self, need: Need) -> bool:
        found = self.loaded.get((need.kind, need.id))
        return found is not None and guard_holds(found, need.guard, self.at)


def _fields_of(kind: Kind, row: dict[str, Any]) -> dict[str, Any]:
    return rows.token_fields(row) if kind is Kind.TOKEN else rows.to_fields(row)


def _in_own_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether the project's code has begun a transaction here."""
    return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _has_ended() -> models.Q:
    return models.Q(status__in=[status.value for status in ENDED], ready_at=None)
