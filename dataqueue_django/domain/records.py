"""What a store keeps: jobs and what belongs to them, tokens, and the workers that run jobs, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

JSON = Any
"""A value of the portable JSON subset (see `domain.portable`)."""


class JobStatus(StrEnum):
    """The six stored conditions of a job (as in DataQueue's JobRecord)."""

    PENDING = "pending"
    PROCESSING = "processing"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FOREVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The `ready_at` of a failed job that will be retried, while it is paused without an end."""

ENDED = frozenset({JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED})
"""The statuses in which a job without a `ready_at` is over."""


class EventType(StrEnum):
    """What happened to a job; replaying a job's events gives its status and attempts."""

    ADDED = "added"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    EDITED = "edited"
    PROLONGED = "prolonged"
    WAITING = "waiting"
    RESUMED = "resumed"
    RELEASED = "released"
    RECLAIMED = "reclaimed"
    UNBLOCKED = "unblocked"
    PAUSED = "paused"
    UNPAUSED = "unpaused"
    PROMOTED = "promoted"
    SNOOZED = "snoozed"
    CANCEL_REQUESTED = "cancel_requested"
    DEAD_LETTERED = "dead_lettered"


class FailureReason(StrEnum):
    """Why the last attempt of a job failed."""

    TIMEOUT = "timeout"
    HANDLER_ERROR = "handler_error"
    NO_HANDLER = "no_handler"
    WORKER_LOST = "worker_lost"
    GIVEN_UP = "given_up"
    INVALID_OUTPUT = "invalid_output"
    INVALID_PAYLOAD = "invalid_payload"
    NON_DETERMINISTIC = "non_deterministic"
    DEPENDENCY_FAILED = "dependency_failed"
    INVALID_STEP = "invalid_step"
    WAIT_SWALLOWED = "wait_swallowed"


class Kind(StrEnum):
    """The kinds of record a Change can be about, in the order in which they are locked."""

    DUTY = "duty"
    WORKER = "worker"
    TOKEN = "token"
    SCHEDULE = "schedule"
    QUEUE = "queue"
    PAUSE = "pause"
    LIMIT = "limit"
    JOB = "job"
    CANCEL = "cancel"


class ScheduleStatus(StrEnum):
    """Whether a schedule fires."""

    ACTIVE = "active"
    PAUSED = "paused"


class Overlap(StrEnum):
    """What a schedule does at a tick while the job of an earlier one has not ended."""

    SKIP = "skip"
    ALLOW = "allow"
    REPLACE = "replace"


class TickOutcome(StrEnum):
    """What became of a tick; `by_hand` is one that somebody asked for between two ticks."""

    ENQUEUED = "enqueued"
    SKIPPED = "skipped"
    BY_HAND = "by_hand"


class Resolution(StrEnum):
    """For how long a row of statistics counts."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class StepKind(StrEnum):
    """What a handler's history is made of: steps have names, waits, tokens and spawned jobs are counted."""

    STEP = "step"
    WAIT = "wait"
    TOKEN = "token"
    SPAWN = "spawn"


class TokenStatus(StrEnum):
    """The three conditions of a token; the last two are final."""

    WAITING = "waiting"
    COMPLETED = "completed"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job about to be inserted. `run_at` None means now, by the store's clock. Durations are milliseconds."""

    job_type: str
    payload: JSON = None
    queue: str = "default"
    priority: int = 0
    max_attempts: int = 3
    run_at: datetime | None = None
    timeout_ms: int | None = None
    isolate: bool = False
    retry_delay_ms: int | None = None
    retry_backoff: str = ""
    retry_delay_max_ms: int | None = None
    dead_letter_job_type: str | None = None
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    group_id: str | None = None
    cron_schedule_id: int | None = None
    scheduled_for: datetime | None = None
    context: JSON = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inserted:
    """The answer for one NewJob: its id, whether a job with that idempotency key stood there already, and when."""

    id: int
    existed: bool
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedJob:
    """The slim record a worker runs: what a handler and the decisions after it need, nothing else.

    `locked_at` is when it was claimed, by the store's clock.
    """

    id: int
    job_type: str
    queue: str
    payload: JSON
    priority: int
    attempts: int
    max_attempts: int
    claim_seq: int
    run_at: datetime
    created_at: datetime
    timeout_ms: int | None
    isolate: bool
    retry_delay_ms: int | None
    retry_backoff: str
    retry_delay_max_ms: int | None
    crash_count: int
    tags: tuple[str, ...]
    group_id: str | None
    scheduled_for: datetime | None
    context: JSON
    locked_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as stored (DataQueue's JobRecord, in snake_case).

    `ready_at` is the whole answer to "from when may this be claimed?"; None means not at all. `claim_seq` is odd
    exactly while the job is processing and grows whenever it enters or leaves that status.
    """

    id: int
    job_type: str
    payload: JSON
    created_at: datetime
    updated_at: datetime
    run_at: datetime
    queue: str = "default"
    status: JobStatus = JobStatus.PENDING
    priority: int = 0
    position: int = 0
    lifo: bool = False
    ready_at: datetime | None = None
    attempts: int = 0
    max_attempts: int = 3
    claim_seq: int = 0
    resuming: bool = False
    crash_count: int = 0
    retried_count: int = 0
    worker_id: int | None = None
    locked_by: str | None = None
    locked_at: datetime | None = None
    started_at: datetime | None = None
    last_started_at: datetime | None = None
    finished_at: datetime | None = None
    last_failed_at: datetime | None = None
    last_retried_at: datetime | None = None
    last_cancelled_at: datetime | None = None
    pending_reason: str | None = None
    failure_reason: str | None = None
    error_history: tuple[Mapping[str, JSON], ...] = ()
    timeout_ms: int | None = None
    isolate: bool = False
    retry_delay_ms: int | None = None
    retry_backoff: str = ""
    retry_delay_max_ms: int | None = None
    dead_letter_job_type: str | None = None
    dead_letter_job_id: int | None = None
    dead_lettered_at: datetime | None = None
    output: JSON = None
    progress: int | None = None
    progress_message: str | None = None
    progress_data: JSON = None
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    dedup_key: str | None = None
    dedup_until: datetime | None = None
    group_id: str | None = None
    parent_id: int | None = None
    open_dependencies: int = 0
    wait_until: datetime | None = None
    wait_token_id: str | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None
    paused_until: datetime | None = None
    held_ready_at: datetime | None = None
    expires_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cron_schedule_id: int | None = None
    scheduled_for: datetime | None = None
    context: JSON = None

    @property
    def next_attempt_at(self) -> datetime | None:
        """When a failed job will be tried again by itself; None when it will not, or is paused until it is resumed."""
        return self.ready_at if self.will_retry and self.ready_at != FOREVER else None

    @property
    def completed_at(self) -> datetime | None:
        """When the job completed; None when it did not."""
        return self.finished_at if self.status == JobStatus.COMPLETED else None

    @property
    def will_retry(self) -> bool:
        """Whether the job has failed and will be tried again by itself."""
        return self.status == JobStatus.FAILED and self.ready_at is not None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will happen to the job any more unless somebody asks for it."""
        return self.status in ENDED and not self.will_retry

    @property
    def force_kill_on_timeout(self) -> bool:
        """DataQueue's name for `isolate`."""
        return self.isolate


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """One thing that happened to a job. `claim_seq` names the execution it belongs to (odd) or the gap between two."""

    id: int
    job_id: int
    event_type: EventType
    created_at: datetime
    claim_seq: int = 0
    attempt: int = 0
    worker_id: int | None = None
    actor: str = ""
    metadata: JSON = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One piece of a handler's history, by which it is replayed: unique by job, kind and name.

    A step's name is the handler's; a wait, a token or a spawned job has its place among those of its kind, as text.
    `result` is what a replay gets, `until` the time that a wait for a time waits for.
    """

    job_id: int
    kind: StepKind
    name: str
    result: JSON = None
    until: Any = None
    created_at: Any = None
    claim_seq: int = 0
    attempt: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLog:
    """One line that a handler logged. `created_at` is by the clock of the process that wrote it."""

    id: int = 0
    job_id: int
    created_at: datetime
    level: str
    message: str
    logger: str = ""
    claim_seq: int = 0
    attempt: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """Something that somebody else completes, and that jobs can wait for (DataQueue "waitpoint").

    `job_id` is the job whose handler made it, if one did. `completed_at` is also set when it timed out;
    `completed_by` says who completed it. `answer_schema` is a JSON schema that an answer has to meet. `due_at` is when
    upkeep has to see to it: its timeout while it waits, and at once after it was closed until its waiters are awake.
    """

    id: str
    job_id: int | None = None
    status: TokenStatus = TokenStatus.WAITING
    output: JSON = None
    timeout_at: Any = None
    created_at: Any = None
    completed_at: datetime | None = None
    completed_by: str = ""
    tags: tuple[str, ...] = ()
    answer_schema: JSON = None
    due_at: Any = None

    @property
    def is_closed(self) -> bool:
        """Whether it was completed or timed out."""
        return self.status is not TokenStatus.WAITING


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequest:
    """That a running job is to stop: one for each job, whose id it has; written without touching the job.

    `claim_seq` names the execution that was seen running when it was asked for. It stands until the job has ended.
    """

    id: int
    claim_seq: int
    created_at: Any = None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """One start of a worker process. Rows are never reused; `label` is what people call it (`--worker-id`).

    `expired_at` is a one-way fact: once set, the row can never be renewed and its jobs may be taken back.
    """

    id: int = 0
    label: str
    hostname: str = ""
    pid: int = 0
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    concurrency: int = 1
    lease_ms: int = 30_000
    beat: int = 0
    started_at: datetime | None = None
    last_beat_at: datetime | None = None
    stopping_at: datetime | None = None
    expired_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CronSchedule:
    """What adds a job again and again (DataQueue "CronScheduleRecord"); its name is unique.

    Either `cron_expression` or `every_ms` says when. `options` are those of its jobs, in JSON. `catch_up` is how many
    missed ticks are made up for. `next_run_at` is None while it is paused and once it will not fire any more.
    `last_tick_at` is the latest tick that was seen to, whatever became of it; ticks only go forward. With `declared`
    it stands in the project's code.
    """

    id: int = 0
    schedule_name: str
    job_type: str
    payload: JSON = None
    options: Mapping[str, JSON] = field(default_factory=dict)
    cron_expression: str = ""
    timezone: str = "UTC"
    every_ms: int | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    runs: int = 0
    catch_up: int = 1
    overlap: Overlap = Overlap.SKIP
    jitter_ms: int = 0
    status: ScheduleStatus = ScheduleStatus.ACTIVE
    paused_at: Any = None
    paused_by: str = ""
    pause_reason: str = ""
    declared: bool = False
    next_run_at: datetime | None = None
    last_tick_at: datetime | None = None
    last_enqueued_at: datetime | None = None
    last_job_id: int | None = None
    created_at: Any = None
    updated_at: Any = None

    @property
    def allow_overlap(self) -> bool:
        """DataQueue's name for `overlap` being "allow"."""
        return self.overlap is Overlap.ALLOW


@dataclass(frozen=True, kw_only=True, slots=True)
class CronTick:
    """A moment at which a schedule was due, and the job that was added for it, if one was."""

    id: int = 0
    schedule_id: int
    tick_at: Any
    outcome: TickOutcome
    job_id: Any = None
    actor: str = ""
    created_at: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A queue that was declared, whether or not a job was ever in it; its id is its name."""

    id: str
    description: str = ""
    created_at: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """That no worker takes jobs of a queue, a job type, a type within a queue, or any. An empty name means any.

    It ends at `until`, if that is given, and when it is removed. Jobs that run go on.
    """

    id: str
    queue: str = ""
    job_type: str = ""
    reason: str = ""
    actor: str = ""
    until: datetime | None = None
    created_at: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """How many jobs of a scope run at once, how many begin in some time, and how many may wait.

    The scope is a queue, a job type, both, or everything: an empty name means any. With `per_group` it holds for each
    group of its jobs by itself, with `group_id` for that group alone, in the place of the one for each.

    At most `concurrency` jobs run at once. At most `rate` begin within any `per_ms`; with `burst`, as many may begin at
    once, and permits come back evenly. No job is added where `max_size` jobs of its group wait.
    """

    id: str
    queue: str = ""
    job_type: str = ""
    per_group: bool = False
    group_id: str | None = None
    concurrency: int | None = None
    rate: int | None = None
    per_ms: int | None = None
    burst: int | None = None
    max_size: int | None = None
    actor: str = ""
    created_at: Any = None
    updated_at: Any = None

    @property
    def is_of_groups(self) -> bool:
        """Whether it holds for groups and not for all jobs of its scope."""
        return self.per_group or self.group_id is not None

    @property
    def per(self) -> timedelta | None:
        """The time that `rate` is about."""
        return None if self.per_ms is None else timedelta(milliseconds=self.per_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCounts:
    """How many jobs of a group wait to run, now or later, and how many run."""

    waiting: int = 0
    active: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Duty:
    """Something that workers do for all, once in a while: its id is its name.

    It belongs to whoever moves `due_at`. `report` says what it did last, `error` why it failed, if it did; `state` is
    what it remembers from one time to the next.
    """

    id: str
    due_at: Any = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    done_by: str = ""
    report: JSON = None
    error: str = ""
    state: JSON = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """What happened to jobs in some time.

    `enqueued` jobs were added. `started` executions began. `completed` jobs did so, `failed` ones failed for good,
    `retried` attempts failed and others follow, `cancelled` jobs were stopped for good.
    """

    enqueued: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts(Flow):
    """What happened, and how long it took: for waits and for runs the number, the sum and a histogram.

    A histogram counts by `domain.statistics.BOUNDS`; zeros at its end are left out.
    """

    ran: int = 0
    run_ms_sum: int = 0
    run_hist: tuple[int, ...] = ()
    waited: int = 0
    wait_ms_sum: int = 0
    wait_hist: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStat(Counts):
    """What one writer counted of one job type of one queue in one bucket: a minute, an hour or a day in UTC.

    Writers are workers, by their ids; 0 stands for what is counted for all of them. No two write the same row.
    """

    resolution: Resolution
    bucket: datetime
    queue: str
    job_type: str
    writer: int = 0
    updated_at: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueGauge:
    """How many jobs of a queue there were in each condition at one moment of the minute `bucket`.

    `scheduled` become ready by themselves at a time, `waiting` once a token is closed. `workers` are those alive that
    take from the queue, `oldest_ready_s` the seconds for which the first ready job had been ready.
    """

    bucket: datetime
    queue: str
    ready: int = 0
    running: int = 0
    scheduled: int = 0
    waiting: int = 0
    oldest_ready_s: int | None = None
    workers: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Permits:
    """How many of the wanted permits a rate bucket gave, and in how many seconds the next one is there."""

    granted: int
    retry_after: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a worker asks for. Empty `queues`, `job_types` and `ids` mean any.

    `crashed` False takes only jobs that never took a worker process down with them; True takes only those that did,
    so that a worker can run them alone. No group may have more than `group_concurrency` jobs running, here or anywhere
    else, for another to be claimed (Conveyor "groupConcurrency"); of `exclude_groups` none are.
    """

    limit: int
    worker_id: int
    locked_by: str
    queues: tuple[str, ...] = ()
    exclude_queues: tuple[str, ...] = ()
    job_types: tuple[str, ...] = ()
    exclude_job_types: tuple[str, ...] = ()
    ids: tuple[int, ...] = field(default=())
    crashed: bool | None = False
    exclude_groups: tuple[str, ...] = ()
    group_concurrency: int | None = None
