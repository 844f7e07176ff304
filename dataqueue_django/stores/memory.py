"""The store in one process's memory: the specification in runnable form, and the model for random histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count as counter
from threading import RLock
from typing import Any

from ..domain.admission import Candidate, Rooms, Use, admitted, from_cursor, in_turn, merged, spent
from ..domain.backlog import Backlog
from ..domain.changes import (
    Alternatives,
    Change,
    Committed,
    Need,
    Owned,
    apply_change,
    dated,
    guard_holds,
    put_of,
    speaking_for,
    walk,
)
from ..domain.controls import Controls, key_of, limits_over, of_claim, scope_id
from ..domain.filters import COUNTABLE, EVERYTHING, JobFilter, Order
from ..domain.lifecycle import ENDINGS
from ..domain.pausing import NOT_PAUSED
from ..domain.rates import Bucket
from ..domain.rates import take as take_permits
from ..domain.records import (
    JSON,
    CancelRequest,
    Claim,
    ClaimedJob,
    CronSchedule,
    CronTick,
    Duty,
    EventType,
    GroupCounts,
    Inserted,
    Job,
    JobEvent,
    JobLog,
    JobStatus,
    Kind,
    Limit,
    NewJob,
    Pause,
    Permits,
    Queue,
    QueueGauge,
    QueueStat,
    Step,
    StepKind,
    TickOutcome,
    Token,
    Worker,
)
from ..domain.sizes import refuse_beyond, sizes_of
from ..domain.tokens import expire
from ..exceptions import NameTaken
from .base import MOST_LOGS, Features, SideRecord, Store, chosen
from .memory_statistics import MemoryStatistics

CARRIED_OVER = frozenset(f.name for f in fields(NewJob)) - {"run_at"}
SLIM = tuple(f.name for f in fields(ClaimedJob))
NESTED = (
    *("payload", "output", "progress_data", "error_history", "context", "metadata", "result", "answer_schema"),
    *("options", "report", "state"),
)


class MemoryStore(MemoryStatistics, Store):
    """Keeps everything in dicts under one lock; nothing survives the process."""

    features = Features(joins_user_transaction=False)

    def __init__(self, alias: str = "default", options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.alias = alias
        self._lock = RLock()
        self._jobs: dict[int, Job] = {}
        self._workers: dict[int, Worker] = {}
        self._tokens: dict[str, Token] = {}
        self._requests: dict[int, CancelRequest] = {}
        self._schedules: dict[int, CronSchedule] = {}
        self._ticks: list[CronTick] = []
        self._duties: dict[str, Duty] = {}
        self._steps: dict[tuple[int, StepKind, str], Step] = {}
        self._logs: list[JobLog] = []
        self._events: list[JobEvent] = []
        self._keys: dict[str, int] = {}
        self._buckets: dict[str, Bucket] = {}
        self._queues: dict[str, Queue] = {}
        self._pauses: dict[str, Pause] = {}
        self._limits: dict[str, Limit] = {}
        self._turns: dict[str, str] = {}
        self._job_ids, self._worker_ids = counter(1), counter(1)
        self._event_ids, self._log_ids = counter(1), counter(1)
        self._schedule_ids, self._tick_ids = counter(1), counter(1)

    def insert(self, jobs: Sequence[NewJob], *, now: datetime | None = None, bounded: bool = False) -> list[Inserted]:
        """See Store.insert."""
        with self._all_or_nothing():
            at = _clock(now)
            if bounded:
                self._check_sizes(jobs)
            return [self._insert(job, at) for job in jobs]

    def claim(self, claim: Claim, *, now: datetime | None = None) -> list[ClaimedJob]:
        """See Store.claim."""
        with self._lock:
            at = _clock(now)
            holder = self._workers.get(claim.worker_id)
            if holder is None or holder.expired_at is not None:
                return []
            rooms = self._rooms(of_claim(self.controls().limits, claim.group_concurrency), at, claim.exclude_groups)
            chosen = admitted(self._in_order(claim, at), rooms, claim.limit)
            self._buckets |= spent(rooms, chosen, self._buckets, at)
            for one in chosen:
                if one.group_id is not None and not claim.ids:
                    self._turns[scope_id(one.queue, one.job_type)] = one.group_id
            return [self._start(self._jobs[one.id], claim, at) for one in chosen]

    def commit(
        self, items: Sequence[Alternatives], *, now: datetime | None = None, wait: bool = True
    ) -> list[Committed]:
        """See Store.commit. Nothing is ever BUSY here."""
        with self._all_or_nothing():
            at = _clock(now)
            return [walk(item, lambda change: self._apply(change, at)) for item in items]

    def delete(self, ids: Collection[int], *, force: bool = False) -> int:
        """See Store.delete."""
        with self._lock:
            doomed = {
                id for id in ids if (job := self._jobs.get(id)) and (force or job.status is not JobStatus.PROCESSING)
            }
            for id in doomed:
                self._keys.pop(self._jobs.pop(id).idempotency_key or "", None)
                self._requests.pop(id, None)
            self._events = [event for event in self._events if event.job_id not in doomed]
            self._logs = [line for line in self._logs if line.job_id not in doomed]
            self._steps = {key: step for key, step in self._steps.items() if step.job_id not in doomed}
            self._give_up_tokens(doomed, _clock(None))
            return len(doomed)

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
        """See Store.delete_ended."""
        with self._lock:
            old = [
                (job.finished_at, job.id)
                for job in self._jobs.values()
                if job.status is status and job.is_terminal and job.finished_at and job.finished_at < before
                if since is None or job.finished_at >= since
                if (not job_types or job.job_type in job_types) and job.job_type not in exclude_job_types
            ]
            return self.delete([id for _, id in sorted(old)[:limit]])

    def get(self, ids: Collection[int]) -> list[Job]:
        """See Store.get."""
        with self._lock:
            return [_copy(self._jobs[id]) for id in sorted(set(ids)) if id in self._jobs]

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
        with self._lock:
            newest = order is Order.NEWEST
            found = sorted(filter(where.matches, self._jobs.values()), key=lambda j: j.id, reverse=newest)
            if after is not None:
                found = [job for job in found if (job.id < after if newest else job.id > after)]
            return [_copy(job) for job in found[offset : offset + limit]]

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
        found = self.query(where, order=order, limit=limit, after=after)
        return [tuple(getattr(job, name) for name in fields) for job in found]

    def now(self) -> datetime:
        """See Store.now."""
        return _clock(None)

    def count(self, where: JobFilter = EVERYTHING, *, by: tuple[str, ...] = ()) -> dict[tuple[Any, ...], int]:
        """See Store.count."""
        with self._lock:
            found = filter(where.matches, self._jobs.values())
            counts = Counter(tuple(COUNTABLE[field](job) for field in by) for job in found)
            return dict(counts) if by else {(): counts[()]}

    def backlogs(
        self, *, queue: str | None = None, job_type: str | None = None, now: datetime | None = None
    ) -> list[Backlog]:
        """See Store.backlogs."""
        with self._lock:
            at = _clock(now)
            lanes: dict[tuple[str, str], list[float]] = {}
            for job in self._jobs.values():
                meant = queue in (None, job.queue) and job_type in (None, job.job_type)
                if meant and job.ready_at is not None and job.ready_at <= at:
                    waited = (at - job.ready_at).total_seconds()
                    lanes.setdefault((job.queue, job.job_type), []).append(waited)
            return [
                Backlog(queue=lane[0], job_type=lane[1], ready=len(waits), waited=max(waits))
                for lane, waits in sorted(lanes.items())
            ]

    def next_ready_in(self, claim: Claim, *, now: datetime | None = None) -> float | None:
        """See Store.next_ready_in."""
        with self._lock:
            at = _clock(now)
            later = [job.ready_at for job in self._jobs.values() if job.ready_at and job.ready_at > at]
            if end := self.controls().next_end(at):
                later.append(end)
            waits = [(moment - at).total_seconds() for moment in later]
            rooms = self._rooms(of_claim(self.controls().limits, claim.group_concurrency), at, claim.exclude_groups)
            anybody = replace(claim, crashed=None)
            lanes = {(one.queue, one.job_type, one.group_id) for one in self._in_order(anybody, at)}
            waits += [0.0 for lane in lanes if rooms.limits_of(*lane) and rooms.has_room(*lane)]
            waits += [wait for lane in lanes if not rooms.has_room(*lane) and (wait := rooms.next_room_in(*lane))]
            return min(waits, default=None)

    def would_find(self, claim: Claim, *, now: datetime | None = None) -> bool:
        """See Store.would_find."""
        with self._lock:
            at = _clock(now)
            return any(True for _ in self._in_order(claim, at))

    def events(self, job_id: int, *, limit: int = 200, after: int = 0) -> list[JobEvent]:
        """See Store.events."""
        with self._lock:
            return [_copy(e) for e in self._events if e.job_id == job_id and e.id > after][:limit]

    def outcome_of(self, job_id: int, claim_seq: int) -> JobEvent | None:
        """See Store.outcome_of."""
        with self._lock:
            for event in self._events:
                if (event.job_id, event.claim_seq) == (job_id, claim_seq) and event.event_type in ENDINGS:
                    found: JobEvent = _copy(event)
                    return found
            return None

    def delete_events(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_events."""
        with self._lock:
            doomed = self._old_of_ended(self._events, before, limit)
            self._events = [event for event in self._events if event.id not in doomed]
            return len(doomed)

    def steps(self, job_id: int) -> list[Step]:
        """See Store.steps."""
        with self._lock:
            return [_copy(step) for step in self._steps.values() if step.job_id == job_id]

    def logs(self, job_id: int, *, limit: int = 1000, after: int = 0) -> list[JobLog]:
        """See Store.logs."""
        with self._lock:
            return [line for line in self._logs if line.job_id == job_id and line.id > after][:limit]

    def delete_logs(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_logs."""
        with self._lock:
            doomed = self._old_of_ended(self._logs, before, limit)
            self._logs = [line for line in self._logs if line.id not in doomed]
            return len(doomed)

    def put(self, record: SideRecord, *, now: datetime | None = None) -> SideRecord:
        """See Store.put."""
        with self._lock:
            at = _clock(now)
            stored: SideRecord
            if isinstance(record, Token):
                stored = dated(record, at)
                self._tokens[stored.id] = _copy(stored)
            elif isinstance(record, Duty):
                stored = dated(record, at)
                self._duties.setdefault(stored.id, _copy(stored))
            elif isinstance(record, Queue | Pause | Limit):
                stored = dated(record, at)
                self._side({Queue: Kind.QUEUE, Pause: Kind.PAUSE, Limit: Kind.LIMIT}[type(record)])[stored.id] = stored
            elif isinstance(record, CronSchedule):
                if any(one.schedule_name == record.schedule_name for one in self._schedules.values()):
                    raise NameTaken(f"A schedule named {record.schedule_name!r} exists already.")
                stored = replace(dated(record, at), id=next(self._schedule_ids))
                self._schedules[stored.id] = _copy(stored)
            else:
                stored = replace(record, id=next(self._worker_ids), started_at=at, last_beat_at=at)
                self._workers[stored.id] = stored
            return stored

    def fetch(self, kind: Kind, id: int | str) -> Any:
        """See Store.fetch."""
        with self._lock:
            found = self._side(kind).get(id)
            return None if found is None else _copy(found)

    def find(self, kind: Kind, **equals: Any) -> list[Any]:
        """See Store.find."""
        with self._lock:
            return [_copy(one) for _, one in sorted(self._side(kind).items()) if chosen(equals, one)]

    def remove(self, kind: Kind, ids: Collection[int | str]) -> int:
        """See Store.remove."""
        with self._lock:
            held = {job.worker_id for job in self._jobs.values()} if kind is Kind.WORKER else set()
            side = self._side(kind)
            doomed = {id for id in ids if id in side and id not in held}
            for id in doomed:
                del side[id]
            if kind is Kind.SCHEDULE:
                self._ticks = [tick for tick in self._ticks if tick.schedule_id not in doomed]
            return len(doomed)

    def due_tokens(self, *, limit: int = 1000, now: datetime | None = None) -> list[Token]:
        """See Store.due_tokens."""
        with self._lock:
            at = _clock(now)
            due = [token for token in self._tokens.values() if token.due_at is not None and token.due_at <= at]
            due.sort(key=lambda token: (token.due_at, token.id))
            return [_copy(token) for token in due[:limit]]

    def due_schedules(self, *, limit: int = 1000, now: datetime | None = None) -> list[CronSchedule]:
        """See Store.due_schedules."""
        with self._lock:
            at = _clock(now)
            due = [(one.next_run_at, one.id) for one in self._schedules.values() if one.next_run_at]
            return [_copy(self._schedules[id]) for next_run_at, id in sorted(due) if next_run_at <= at][:limit]

    def next_schedule_in(self, *, now: datetime | None = None) -> float | None:
        """See Store.next_schedule_in."""
        with self._lock:
            ahead = [one.next_run_at for one in self._schedules.values() if one.next_run_at]
            return max(0.0, (min(ahead) - _clock(now)).total_seconds()) if ahead else None

    def ticks(self, schedule_id: int, *, limit: int = 100, before: int | None = None) -> list[CronTick]:
        """See Store.ticks."""
        with self._lock:
            mine = [tick for tick in reversed(self._ticks) if tick.schedule_id == schedule_id]
            return [tick for tick in mine if before is None or tick.id < before][:limit]

    def delete_ticks(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_ticks."""
        with self._lock:
            old = sorted((tick.created_at, tick.id) for tick in self._ticks if tick.created_at < before)[:limit]
            doomed = {id for _, id in old}
            self._ticks = [tick for tick in self._ticks if tick.id not in doomed]
            return len(doomed)

    def cancel_requests(self, jobs: Collection[int]) -> list[CancelRequest]:
        """See Store.cancel_requests."""
        with self._lock:
            return [self._requests[id] for id in sorted(set(jobs)) if id in self._requests]

    def stray_requests(self, *, jobs: Collection[int] = (), limit: int = 1000) -> list[CancelRequest]:
        """See Store.stray_requests."""
        with self._lock:
            found = self.cancel_requests(jobs or self._requests)
            seqs = {id: job.claim_seq for id, job in self._jobs.items()}
            return [request for request in found if seqs.get(request.id) != request.claim_seq][:limit]

    def controls(self) -> Controls:
        """See Store.controls."""
        with self._lock:
            return Controls(pauses=tuple(self.find(Kind.PAUSE)), limits=tuple(self.find(Kind.LIMIT)))

    def usage(self, queue: str, job_type: str, group_id: str | None, *, now: datetime | None = None) -> list[Use]:
        """See Store.usage."""
        with self._lock:
            limits = limits_over(self.controls().limits, queue, job_type, group_id)
            rooms = self._rooms(limits, _clock(now))
            return [rooms.use_of(limit, key_of(limit, group_id)) for limit in limits]

    def group_counts(self, group_id: str, *, queue: str = "", job_type: str = "") -> GroupCounts:
        """See Store.group_counts."""
        with self._lock:
            mine = [
                job
                for job in self._jobs.values()
                if job.group_id == group_id and queue in ("", job.queue) and job_type in ("", job.job_type)
            ]
            active = sum(job.status is JobStatus.PROCESSING for job in mine)
            return GroupCounts(waiting=sum(not job.is_terminal for job in mine) - active, active=active)

    def close_rate(self, keys: Collection[str], *, until: datetime, now: datetime | None = None) -> None:
        """See Store.close_rate."""
        with self._lock:
            for key in keys:
                bucket = self._buckets.get(key) or Bucket(None, _clock(now))
                latest = max(until, bucket.closed_until or until)
                self._buckets[key] = replace(bucket, closed_until=latest)

    def delete_rates(self, *, before: datetime, limit: int = 1000) -> int:
        """See Store.delete_rates."""
        with self._lock:
            old = sorted((bucket.at, key) for key, bucket in self._buckets.items() if bucket.at < before)[:limit]
            for _, key in old:
                del self._buckets[key]
            return len(old)

    def take(self, bucket: str, *, want: int, limit: int, window: timedelta, now: datetime | None = None) -> Permits:
        """See Store.take."""
        with self._lock:
            at = _clock(now)
            state = self._buckets.get(bucket, Bucket(float(limit), at))
            self._buckets[bucket], permits = take_permits(state, want=want, limit=limit, window=window, now=at)
            return permits

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Hold the lock; what was done is undone if it ends in an exception."""
        with self._lock:
            names = [name for name, value in vars(self).items() if isinstance(value, dict | list)]
            before = {name: copy(getattr(self, name)) for name in names}
            try:
                yield
            except BaseException:
                for name, value in before.items():
                    setattr(self, name, value)
                raise

    def _in_order(self, claim: Claim, now: datetime) -> Iterator[Candidate]:
        """The jobs that a claim could get if there were no limits, in order."""
        due: dict[tuple[str, str], dict[str | None, list[Candidate]]] = {}
        controls, open_lanes = self.controls(), {}
        for job in self._jobs.values():
            lane = job.queue, job.job_type
            if lane not in open_lanes:
                open_lanes[lane] = controls.pause_of(*lane, now) is None
            if open_lanes[lane] and _fits(job, claim, now):
                due.setdefault(lane, {}).setdefault(job.group_id, []).append(_candidate(job))
        rows = []
        for lane, groups in due.items():
            for row in groups.values():
                row.sort(key=lambda one: one.place)
            rows.append(groups.pop(None, []))
            turns = from_cursor((str(name) for name in groups), self._turns.get(scope_id(*lane)))
            rows.append(in_turn(groups[name] for name in turns))
        found = list(merged(rows))
        return iter(sorted(found, key=lambda one: one.place) if claim.ids else found)

    def _rooms(self, limits: Sequence[Limit], now: datetime, excluded: Collection[str] = ()) -> Rooms:
        held = (job for job in self._jobs.values() if job.worker_id is not None)
        running = Counter((job.queue, job.job_type, job.group_id) for job in held)
        return Rooms(limits, running, self._buckets, now, excluded)

    def _check_sizes(self, jobs: Sequence[NewJob]) -> None:
        fresh = [job for job in jobs if job.idempotency_key is None or job.idempotency_key not in self._keys]
        for size in sizes_of(self.controls().limits, fresh):
            counts = self.group_counts(size.group_id, queue=size.limit.queue, job_type=size.limit.job_type)
            refuse_beyond(size, counts.waiting)

    def _insert(self, job: NewJob, now: datetime) -> Inserted:
        if job.idempotency_key is not None and job.idempotency_key in self._keys:
            return Inserted(id=self._keys[job.idempotency_key], existed=True, at=now)
        run_at = job.run_at or now
        stored = Job(
            id=next(self._job_ids),
            created_at=now,
            updated_at=now,
            run_at=run_at,
            ready_at=run_at,
            **{name: deepcopy(getattr(job, name)) for name in CARRIED_OVER},
        )
        self._jobs[stored.id] = stored
        if job.idempotency_key is not None:
            self._keys[job.idempotency_key] = stored.id
        self._log(stored, EventType.ADDED, now, claim_seq=0)
        return Inserted(id=stored.id, existed=False, at=now)

    def _start(self, job: Job, claim: Claim, now: datetime) -> ClaimedJob:
        running = replace(
            job,
            status=JobStatus.PROCESSING,
            claim_seq=job.claim_seq + 1,
            attempts=job.attempts + (not job.resuming),
            resuming=False,
            ready_at=None,
            pending_reason=None,
            wait_until=None,
            wait_token_id=None,
            **NOT_PAUSED,
            worker_id=claim.worker_id,
            locked_by=claim.locked_by,
            locked_at=now,
            last_started_at=now,
            started_at=job.started_at or now,
            updated_at=now,
        )
        self._jobs[job.id] = running
        self._log(running, EventType.PROCESSING, now, claim_seq=running.claim_seq)
        return ClaimedJob(**{name: deepcopy(getattr(running, name)) for name in SLIM})

    def _apply(self, change: Change, now: datetime) -> tuple[bool, int | None]:
        if not all(self._is_met(need, now) for need in change.needs):
            return False, None
        if change.kind is not Kind.JOB:
            return self._apply_to_side(change, now)
        job = self._jobs.get(int(change.id))
        updates = None if job is None else apply_change(_View(job), change, now)
        if job is None or updates is None:
            return False, None
        if change.as_asked:
            change = speaking_for(change, _View(self._requests[job.id]))
        spawned = self._follow(change, updates, now)
        changed = replace(job, **updates)
        self._jobs[job.id] = changed
        if change.withdraw:
            self._requests.pop(job.id, None)
        if change.event:
            self._log(changed, change.event, now, job.claim_seq, change.metadata, change.actor)
        return True, spawned

    def _apply_to_side(self, change: Change, now: datetime) -> tuple[bool, int | None]:
        side = self._side(change.kind)
        record = side.get(change.id)
        updates = None if record is None else apply_change(_View(record), change, now)
        if record is None or updates is None:
            return False, None
        spawned = self._follow(change, updates, now)
        side[change.id] = replace(record, **deepcopy(updates))
        if change.withdraw:
            self._requests.pop(int(change.id), None)
        return True, spawned

    def _follow(self, change: Change, updates: dict[str, Any], now: datetime) -> int | None:
        """Insert what a change that holds spawns and puts; return the id of the job."""
        spawned = self._insert(change.spawn, now).id if change.spawn else None
        if change.link:
            updates[change.link] = spawned
        for record in put_of(change, now, spawned):
            self._put_owned(deepcopy(record))
        return spawned

    def _is_met(self, need: Need, now: datetime) -> bool:
        found = self._jobs.get(int(need.id)) if need.kind is Kind.JOB else self._side(need.kind).get(need.id)
        return found is not None and guard_holds(_View(found), need.guard, now)

    def _side(self, kind: Kind) -> dict[Any, Any]:
        sides: dict[Kind, dict[Any, Any]] = {
            Kind.DUTY: self._duties,
            Kind.WORKER: self._workers,
            Kind.TOKEN: self._tokens,
            Kind.SCHEDULE: self._schedules,
            Kind.QUEUE: self._queues,
            Kind.PAUSE: self._pauses,
            Kind.LIMIT: self._limits,
            Kind.CANCEL: self._requests,
        }
        return sides[kind]

    def _put_owned(self, record: Owned) -> None:
        if isinstance(record, Step):
            self._steps[record.job_id, record.kind, record.name] = record
        elif isinstance(record, Token):
            self._tokens[record.id] = record
        elif isinstance(record, CancelRequest):
            self._requests[record.id] = record
        elif isinstance(record, CronTick):
            taken = {
                (tick.schedule_id, tick.tick_at) for tick in self._ticks if tick.outcome is not TickOutcome.BY_HAND
            }
            if record.outcome is not TickOutcome.BY_HAND and (record.schedule_id, record.tick_at) in taken:
                raise ValueError(f"Schedule {record.schedule_id} has a tick at {record.tick_at} already.")
            self._ticks.append(replace(record, id=next(self._tick_ids)))
        elif isinstance(record, QueueStat | QueueGauge):
            self._put_statistics(record)
        else:
            self._logs.append(replace(record, id=next(self._log_ids)))
            mine = [line.id for line in self._logs if line.job_id == record.job_id]
            if record.claim_seq > 1 and len(mine) > MOST_LOGS:
                self._logs = [line for line in self._logs if line.id != mine[0]]

    def _old_of_ended(self, records: Sequence[JobEvent | JobLog], before: datetime, limit: int) -> set[int]:
        """The ids of the oldest records from before a moment whose jobs do not go on."""
        live = {job.id for job in self._jobs.values() if not job.is_terminal}
        old = sorted((one.created_at, one.id) for one in records if one.created_at < before and one.job_id not in live)
        return {id for _, id in old[:limit]}

    def _give_up_tokens(self, jobs: Collection[int], now: datetime) -> None:
        """Let the open tokens of jobs time out; those that nobody can wait for any more go."""
        for id in [token.id for token in self._tokens.values() if token.job_id in jobs]:
            walk(expire(id), lambda change: self._apply(change, now))
            if self._tokens[id].due_at is None:
                del self._tokens[id]

    def _log(
        self,
        job: Job,
        event: EventType,
        now: datetime,
        claim_seq: int,
        metadata: JSON = None,
        actor: str = "",
    ) -> None:
        self._events.append(
            JobEvent(
                id=next(self._event_ids),
                job_id=job.id,
                event_type=event,
                created_at=now,
                claim_seq=claim_seq,
                attempt=job.attempts,
                worker_id=job.worker_id if event is EventType.PROCESSING else None,
                actor=actor,
                metadata=metadata,
            )
        )


@dataclass(frozen=True, slots=True)
class _View(Mapping[str, Any]):
    """A record read as a mapping of its fields."""

    record: Any

    def __getitem__(self, name: str) -> Any:
        return getattr(self.record, name)

    def __iter__(self) -> Any:
        return (f.name for f in fields(self.record))

    def __len__(self) -> int:
        return len(fields(self.record))


def _copy(record: Any) -> Any:
    """Return a record none of whose values the reader shares with the store."""
    own = {name: deepcopy(value) for name in NESTED if (value := getattr(record, name, None))}
    return replace(record, **own) if own else record


def _clock(now: datetime | None) -> datetime:
    return datetime.now(UTC) if now is None else now


def _candidate(job: Job) -> Candidate:
    return Candidate(job.id, job.queue, job.job_type, job.group_id, job.priority, job.position, job.ready_at)


def _fits(job: Job, claim: Claim, now: datetime) -> bool:
    return (
        job.ready_at is not None
        and job.ready_at <= now
        and (claim.crashed is None or claim.crashed == (job.crash_count > 0))
        and (not claim.ids or job.id in claim.ids)
        and (not claim.queues or job.queue in claim.queues)
        and job.queue not in claim.exclude_queues
        and (not claim.job_types or job.job_type in claim.job_types)
        and job.job_type not in claim.exclude_job_types
    )
