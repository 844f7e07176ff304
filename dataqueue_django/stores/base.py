"""What every store can do. Stores apply; they know nothing of retries, waits, flows or schedules.

Rules that hold for all of them, and that `testing.contract` checks:

1. A commit is atomic; an item none of whose guards holds leaves no trace and does not fail the others.
2. Claim order is priority descending, position, ready_at, id, over everything that is due. The groups of a queue and
   type take turns: in the order of their names, after the one whose turn was last, a job each; see `domain.admission`.
3. Times: `now=None` is the store's own clock in that statement; tests pass a value.
4. Stores raise for broken input or a broken connection only. "Somebody else was faster" is an answer, not an error.
5. Records are locked in one order: duties, workers, tokens, schedules, limits, jobs, requests to cancel, each by
   ascending id.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ..domain.admission import Use
from ..domain.backlog import Backlog
from ..domain.changes import Alternatives, Committed
from ..domain.controls import Controls
from ..domain.filters import EVERYTHING, JobFilter, Order
from ..domain.records import (
    CancelRequest,
    Claim,
    ClaimedJob,
    CronSchedule,
    CronTick,
    Duty,
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
    Step,
    Token,
    Worker,
)
from .statistics import KeepsStatistics

SideRecord = TypeVar("SideRecord", Worker, Token, CronSchedule, Duty, Queue, Pause, Limit)
"""A record that is neither a job nor part of one."""


MOST_LOGS = 1000
"""Lines of log that are kept of one job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """True differences between stores, for users to read; the contract has no exceptions beyond these."""

    joins_user_transaction: bool
    max_batch: int = 1000


class Store(KeepsStatistics):
    """The primitives. Everything else is composed from them."""

    alias: str
    features: Features

    # -- write

    @abstractmethod
    def insert(self, jobs: Sequence[NewJob], *, now: datetime | None = None, bounded: bool = False) -> list[Inserted]:
        """Insert jobs, each with its `added` event, and return an answer for each, in order.

        A job whose idempotency key is taken, in the store or earlier in `jobs`, is not inserted: its answer names the
        job that stands there, with `existed`. At most `features.max_batch` jobs a call. Where it is to be `bounded`,
        GroupFull is raised and nothing inserted if a limit on the size of groups leaves no room for all.
        """

    @abstractmethod
    def claim(self, claim: Claim, *, now: datetime | None = None) -> list[ClaimedJob]:
        """Hand out up to `claim.limit` due jobs, in order, to one worker, each with its `processing` event.

        `claim_seq` becomes odd; attempts grow by one unless the job was `resuming`. Nothing is handed out to a worker
        whose row is missing or expired, and nothing that a pause or a limit keeps back: a change of these holds for
        each claim that begins after it. Returns an empty list when nothing fits.
        """

    @abstractmethod
    def commit(
        self, items: Sequence[Alternatives], *, now: datetime | None = None, wait: bool = True
    ) -> list[Committed]:
        """Apply each item: the first of its alternatives whose guard holds. Returns an answer for each, in order.

        With `wait` False, records that another transaction holds are answered BUSY instead of waited for.
        """

    def exchange(
        self, items: Sequence[Alternatives], claim: Claim | None, *, now: datetime | None = None
    ) -> tuple[list[Committed], list[ClaimedJob]]:
        """Commit outcomes without waiting for locked records, then claim: a busy worker's one call.

        The same as `commit(items, wait=False)` followed by `claim(claim)`; a store may make it one round trip. When it
        raises, some of it may have happened: `outcome_of` tells.
        """
        results = self.commit(items, now=now, wait=False) if items else []
        return results, self.claim(claim, now=now) if claim else []

    @abstractmethod
    def delete(self, ids: Collection[int], *, force: bool = False) -> int:
        """Delete jobs with all that belongs to them and return how many; a processing job only with `force`.

        Tokens that their handlers made and that still wait time out, since other jobs may wait for them.
        """

    @abstractmethod
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
        """Delete up to `limit` jobs that ended in `status` before `before`, and return how many.

        Those that ended first go first, as `delete` deletes them. A failed job that will be retried has not ended.
        With `since` nothing is looked at that ended earlier; no `job_types` mean any.
        """

    # -- read

    @abstractmethod
    def get(self, ids: Collection[int]) -> list[Job]:
        """Return the jobs that exist among `ids`, by ascending id."""

    @abstractmethod
    def query(
        self,
        where: JobFilter,
        *,
        order: Order = Order.NEWEST,
        limit: int = 50,
        after: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """Return up to `limit` jobs that match, in `order`, beyond the id `after`, after skipping `offset` of them."""

    @abstractmethod
    def values(
        self,
        where: JobFilter,
        fields: Sequence[str],
        *,
        order: Order = Order.NEWEST,
        limit: int = 50,
        after: int | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return just these fields of the jobs that `query` would return: for those who need no payloads."""

    @abstractmethod
    def count(self, where: JobFilter = EVERYTHING, *, by: tuple[str, ...] = ()) -> dict[tuple[Any, ...], int]:
        """Return how many jobs match, per combination of the fields `by`; `{(): n}` without them."""

    @abstractmethod
    def backlogs(
        self, *, queue: str | None = None, job_type: str | None = None, now: datetime | None = None
    ) -> list[Backlog]:
        """Return, by queue and job type, how many jobs are ready and for how long the first of them has been.

        Of one queue and one type only, where given. Reads every such job that is ready, but no other: for people who
        ask, not for a loop.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the time by the store's own clock."""

    @abstractmethod
    def next_ready_in(self, claim: Claim, *, now: datetime | None = None) -> float | None:
        """Return in how many seconds the next job comes due that is not due yet; None when there is none.

        Neither is one that a pause or a limit keeps back; 0 if one that is under a limit could be handed out now.
        Only a hint for sleeping: the claim's filters need not be looked at.
        """

    @abstractmethod
    def would_find(self, claim: Claim, *, now: datetime | None = None) -> bool:
        """Return whether a claim would find a job; jobs that have just come due may not count yet."""

    @abstractmethod
    def events(self, job_id: int, *, limit: int = 200, after: int = 0) -> list[JobEvent]:
        """Return a job's events, oldest first, beyond the event id `after`."""

    @abstractmethod
    def outcome_of(self, job_id: int, claim_seq: int) -> JobEvent | None:
        """Return the event that ended the execution `claim_seq` of a job, or None when none was written."""

    @abstractmethod
    def delete_events(self, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` events older than `before`, of jobs that have ended or are gone, and return how many."""

    @abstractmethod
    def steps(self, job_id: int) -> list[Step]:
        """Return the history of a job's handler, in the order in which it was first recorded."""

    @abstractmethod
    def logs(self, job_id: int, *, limit: int = 1000, after: int = 0) -> list[JobLog]:
        """Return the lines that a job's handler logged, oldest first, beyond the id `after`.

        Of the lines of several executions the last `MOST_LOGS` are kept.
        """

    @abstractmethod
    def delete_logs(self, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` lines older than `before`, of jobs that have ended or are gone, and return how many."""

    # -- side records

    @abstractmethod
    def put(self, record: SideRecord, *, now: datetime | None = None) -> SideRecord:
        """Insert a side record and return it with its times, a worker and a schedule with their ids as well.

        A duty that is there already stays as it is; a queue, a pause or a limit takes the place of the one with its id.
        Raises NameTaken for a schedule whose name is another's.
        """

    @abstractmethod
    def fetch(self, kind: Kind, id: int | str) -> Any:
        """Return one side record, or None."""

    @abstractmethod
    def find(self, kind: Kind, **equals: Any) -> list[Any]:
        """Return the side records whose fields equal the given values, by ascending id."""

    @abstractmethod
    def remove(self, kind: Kind, ids: Collection[int | str]) -> int:
        """Delete side records and return how many; a worker to which a job still refers stays.

        The ticks of a schedule go with it, its jobs stay.
        """

    @abstractmethod
    def due_tokens(self, *, limit: int = 1000, now: datetime | None = None) -> list[Token]:
        """Return up to `limit` tokens whose `due_at` has come, the longest due first."""

    # -- schedules

    @abstractmethod
    def due_schedules(self, *, limit: int = 1000, now: datetime | None = None) -> list[CronSchedule]:
        """Return up to `limit` schedules whose `next_run_at` has come, the longest due first."""

    @abstractmethod
    def next_schedule_in(self, *, now: datetime | None = None) -> float | None:
        """Return in how many seconds the next schedule is due; 0 if one is, None when none will be."""

    @abstractmethod
    def ticks(self, schedule_id: int, *, limit: int = 100, before: int | None = None) -> list[CronTick]:
        """Return the ticks of a schedule, newest first, below the tick id `before`."""

    @abstractmethod
    def delete_ticks(self, *, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` ticks that were recorded before a moment, the oldest first, and return how many."""

    # -- requests to cancel

    @abstractmethod
    def cancel_requests(self, jobs: Collection[int]) -> list[CancelRequest]:
        """Return the requests to cancel that stand for any of these jobs, by ascending id: one read by key."""

    @abstractmethod
    def stray_requests(self, *, jobs: Collection[int] = (), limit: int = 1000) -> list[CancelRequest]:
        """Return up to `limit` requests whose execution is over, by ascending id; of these jobs only, if any are given.

        Their job is in another execution, or in none, or gone.
        """

    # -- pauses, limits, groups and rates

    @abstractmethod
    def controls(self) -> Controls:
        """Return the pauses and limits as they are now."""

    @abstractmethod
    def usage(self, queue: str, job_type: str, group_id: str | None, *, now: datetime | None = None) -> list[Use]:
        """Return how each limit over jobs of a queue, type and group stands, by its id."""

    @abstractmethod
    def group_counts(self, group_id: str, *, queue: str = "", job_type: str = "") -> GroupCounts:
        """Return how many jobs of a group wait and run; of one queue and one type only, where given."""

    @abstractmethod
    def close_rate(self, keys: Collection[str], *, until: datetime, now: datetime | None = None) -> None:
        """Let no job begin under these limits (`Use.key`) until a time; one that is closed for longer stays so."""

    @abstractmethod
    def take(self, bucket: str, *, want: int, limit: int, window: timedelta, now: datetime | None = None) -> Permits:
        """Take up to `want` permits from a bucket of `limit` a `window`; a bucket not seen before is full."""

    # -- life

    def problem(self) -> str | None:
        """Return one sentence on why this store cannot be used as it is (say, missing tables), or None.

        An unreachable store is not a problem here: a worker waits for it.
        """
        return None

    def prepare(self) -> None:
        """Do what a worker needs done once at its start, in its own session."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Return whether `error` means that the store could not be reached, so that the same call may be repeated."""
        return isinstance(error, ConnectionError)

    def refuses_value(self, error: BaseException) -> bool:
        """Return whether `error` means that a value given can never be stored, so that repeating cannot help."""
        return isinstance(error, ValueError | TypeError | OverflowError)

    def private_session(self) -> PrivateSession:
        """Return a context in which the current thread talks to the store over a connection of its own."""
        return PrivateSession()

    def transaction(self, *, with_users_code: bool = False) -> AbstractContextManager[None]:
        """Return a context in which several calls take effect together, where the store can do that.

        `with_users_code` says that it holds more than calls of the store: then it is as the project's own ones are.
        """
        return nullcontext()

    def reconnect(self) -> None:
        """Drop the current thread's way to the store if it is broken; the next call finds a new one."""

    def in_transaction(self) -> bool:
        """Return whether the current thread is inside a transaction that somebody else will end."""
        return False

    def transaction_elsewhere(self) -> str | None:
        """Return the name of a database on which the current thread is in a transaction while it is in none here.

        What is written here now takes effect whatever becomes of that transaction. None where there is no such thing.
        """
        return None

    def on_commit(self, run: Any) -> None:
        """Call `run` once what was written so far is visible to others; never if it is rolled back."""
        run()


class PrivateSession:
    """A thread's own way to its store; this base has nothing to open."""

    def open(self) -> None:
        """Take hold of the connection for the current thread."""

    def close(self) -> None:
        """Give it up; what is open on it is rolled back."""

    def reset(self) -> None:
        """Drop a connection that may be broken; the next call makes a new one."""

    def __enter__(self) -> PrivateSession:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chosen(equals: Mapping[str, Any], record: Any) -> bool:
    """Return whether the record's fields equal the given values."""
    return all(getattr(record, name) == value for name, value in equals.items())


def chunks(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Yield `items` in lists of at most `size`, reading no further ahead."""
    lot: list[Any] = []
    for item in items:
        lot.append(item)
        if len(lot) == size:
            yield lot
            lot = []
    if lot:
        yield lot
