"""The tables. Statuses, types and reasons are plain text, validated in code, so that a new word needs no migration.

Only `stores.orm` and the admin use these; everything else speaks to a JobQueue.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q


def _word(length: int = 16, **options: object) -> models.CharField[str, str]:
    return models.CharField(max_length=length, **options)  # type: ignore[arg-type]


class Job(models.Model):
    """A job; see `domain.records.Job` for what the fields mean.

    `stage` is the store's own mark, seen by no other layer: "later" or "claimable" while `ready_at` is set, NULL
    otherwise. Each has its partial indexes, so that only rows that are due stand in those that claims read: jobs of a
    group in one, in which groups take turns, all others in two.
    """

    id = models.BigAutoField(primary_key=True)
    job_type = _word(128)
    queue = _word(128, db_default="default", default="default")
    status = _word(db_default="pending", default="pending")
    stage = _word(null=True, editable=False)
    payload = models.JSONField(null=True)
    priority = models.IntegerField(db_default=0, default=0)
    position = models.BigIntegerField(db_default=0, default=0)
    lifo = models.BooleanField(db_default=False, default=False)
    run_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    attempts = models.IntegerField(db_default=0, default=0)
    max_attempts = models.IntegerField(db_default=3, default=3)
    claim_seq = models.BigIntegerField(db_default=0, default=0)
    resuming = models.BooleanField(db_default=False, default=False)
    crash_count = models.IntegerField(db_default=0, default=0)
    retried_count = models.IntegerField(db_default=0, default=0)

    worker_id = models.BigIntegerField(null=True)
    locked_by = _word(255, null=True)
    locked_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    last_started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_failed_at = models.DateTimeField(null=True)
    last_retried_at = models.DateTimeField(null=True)
    last_cancelled_at = models.DateTimeField(null=True)

    pending_reason = models.TextField(null=True)
    failure_reason = _word(32, null=True)
    error_history = models.JSONField(null=True)

    timeout_ms = models.BigIntegerField(null=True)
    isolate = models.BooleanField(db_default=False, default=False)
    retry_delay_ms = models.BigIntegerField(null=True)
    retry_backoff = _word(db_default="", default="", blank=True)
    retry_delay_max_ms = models.BigIntegerField(null=True)
    dead_letter_job_type = _word(128, null=True)
    dead_letter_job_id = models.BigIntegerField(null=True)
    dead_lettered_at = models.DateTimeField(null=True)

    output = models.JSONField(null=True)
    progress = models.SmallIntegerField(null=True)
    progress_message = models.TextField(null=True)
    progress_data = models.JSONField(null=True)

    tags = models.JSONField(null=True)
    idempotency_key = _word(255, null=True)
    dedup_key = _word(255, null=True)
    dedup_until = models.DateTimeField(null=True)
    group_id = _word(255, null=True)
    parent_id = models.BigIntegerField(null=True)
    open_dependencies = models.IntegerField(db_default=0, default=0)

    wait_until = models.DateTimeField(null=True)
    wait_token_id = _word(64, null=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = _word(255, null=True)
    pause_reason = models.TextField(null=True)
    paused_until = models.DateTimeField(null=True)
    held_ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    cron_schedule_id = models.BigIntegerField(null=True)
    scheduled_for = models.DateTimeField(null=True)
    context = models.JSONField(null=True)

    class Meta:
        verbose_name = "job"
        verbose_name_plural = "jobs"
        permissions: ClassVar = [
            ("retry_job", "Can retry job"),
            ("cancel_job", "Can cancel job"),
            ("pause_job", "Can pause job"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "-priority", "position", "ready_at", "id"],
                condition=Q(stage="claimable", group_id__isnull=True),
                name="dataqueue_job_claimable",
            ),
            models.Index(
                fields=["queue", "job_type", "-priority", "position", "ready_at", "id"],
                condition=Q(stage="claimable", group_id__isnull=True),
                name="dataqueue_job_lane",
            ),
            models.Index(fields=["ready_at", "id"], condition=Q(stage="later"), name="dataqueue_job_later"),
            models.Index(
                fields=["queue", "job_type", "group_id", "-priority", "position", "ready_at", "id"],
                condition=Q(stage="claimable", group_id__isnull=False),
                name="dataqueue_job_turn",
            ),
            models.Index(
                fields=["group_id", "queue", "job_type", "status"],
                condition=Q(group_id__isnull=False, finished_at__isnull=True),
                name="dataqueue_job_group",
            ),
            models.Index(
                fields=["queue", "id"],
                condition=Q(stage="claimable", crash_count__gt=0),
                name="dataqueue_job_crashed",
            ),
            models.Index(
                fields=["worker_id", "id"],
                condition=Q(worker_id__isnull=False),
                name="dataqueue_job_worker",
            ),
            models.Index(
                fields=["status", "finished_at", "id"],
                condition=Q(finished_at__isnull=False),
                name="dataqueue_job_finished",
            ),
            # Lists of the newest jobs of a status, a queue or a type, and the values there are of these.
            models.Index(fields=["status", "id"], name="dataqueue_job_status"),
            models.Index(fields=["queue", "id"], name="dataqueue_job_queue"),
            models.Index(fields=["job_type", "id"], name="dataqueue_job_type"),
            models.Index(
                fields=["wait_token_id", "id"],
                condition=Q(wait_token_id__isnull=False),
                name="dataqueue_job_wait_token",
            ),
            models.Index(fields=["dedup_key"], condition=Q(dedup_key__isnull=False), name="dataqueue_job_dedup"),
            models.Index(fields=["parent_id", "id"], condition=Q(parent_id__isnull=False), name="dataqueue_job_parent"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                opclasses=["varchar_pattern_ops"],  # compares bytes on PostgreSQL, and finds keys by their beginning
                name="dataqueue_job_idempotency",
            ),
            # The fence: claim_seq is odd exactly while the job is processing.
            models.CheckConstraint(
                condition=Q(status="processing", claim_seq=F("claim_seq").bitor(1))
                | (~Q(status="processing") & ~Q(claim_seq=F("claim_seq").bitor(1))),
                name="dataqueue_job_fence",
            ),
        ]

    def __str__(self) -> str:
        return f"job {self.pk}"


class JobTag(models.Model):
    """One tag of one job: the index behind searches by tag. The job's own list is the truth for display."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.BigIntegerField()
    tag = _word(128)

    class Meta:
        verbose_name = "job tag"
        verbose_name_plural = "job tags"
        indexes: ClassVar = [models.Index(fields=["job_id"], name="dataqueue_jobtag_job")]
        constraints: ClassVar = [models.UniqueConstraint(fields=["tag", "job_id"], name="dataqueue_jobtag_unique")]

    def __str__(self) -> str:
        return self.tag


class JobEvent(models.Model):
    """One thing that happened to a job, written in the same transaction as the change itself."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.BigIntegerField()
    event_type = _word(32)
    created_at = models.DateTimeField()
    claim_seq = models.BigIntegerField(db_default=0, default=0)
    attempt = models.IntegerField(db_default=0, default=0)
    worker_id = models.BigIntegerField(null=True)
    actor = _word(255, db_default="", default="", blank=True)
    metadata = models.JSONField(null=True)

    class Meta:
        verbose_name = "job event"
        verbose_name_plural = "job events"
        indexes: ClassVar = [
            models.Index(fields=["job_id", "id"], name="dataqueue_jobevent_job"),
            models.Index(fields=["created_at", "id"], name="dataqueue_jobevent_created"),
        ]

    def __str__(self) -> str:
        return f"{self.event_type} of job {self.job_id}"


class Step(models.Model):
    """One piece of a handler's history; see `domain.records.Step`."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.BigIntegerField()
    kind = _word()
    name = _word(255)
    result = models.JSONField(null=True)
    until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    claim_seq = models.BigIntegerField(db_default=0, default=0)
    attempt = models.IntegerField(db_default=0, default=0)

    class Meta:
        verbose_name = "step"
        verbose_name_plural = "steps"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job_id", "kind", "name"], name="dataqueue_step_unique")
        ]

    def __str__(self) -> str:
        return f"step {self.pk} of job {self.job_id}"


class JobLog(models.Model):
    """One line that a job's handler logged."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.BigIntegerField()
    created_at = models.DateTimeField()
    level = _word()
    logger = _word(255, db_default="", default="", blank=True)
    message = models.TextField()
    claim_seq = models.BigIntegerField(db_default=0, default=0)
    attempt = models.IntegerField(db_default=0, default=0)

    class Meta:
        verbose_name = "job log"
        verbose_name_plural = "job logs"
        indexes: ClassVar = [
            models.Index(fields=["job_id", "id"], name="dataqueue_joblog_job"),
            models.Index(fields=["created_at", "id"], name="dataqueue_joblog_created"),
        ]

    def __str__(self) -> str:
        return f"line {self.pk} of job {self.job_id}"


class Token(models.Model):
    """Something that somebody else completes, and that jobs can wait for; see `domain.records.Token`."""

    id = _word(64, primary_key=True)
    job_id = models.BigIntegerField(null=True)
    status = _word()
    output = models.JSONField(null=True)
    timeout_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    completed_by = _word(255, db_default="", default="", blank=True)
    tags = models.JSONField(null=True)
    answer_schema = models.JSONField(null=True)
    due_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "token"
        verbose_name_plural = "tokens"
        indexes: ClassVar = [
            models.Index(fields=["job_id"], condition=Q(job_id__isnull=False), name="dataqueue_token_job"),
            models.Index(fields=["due_at", "id"], condition=Q(due_at__isnull=False), name="dataqueue_token_due"),
        ]

    def __str__(self) -> str:
        return self.id


class CancelRequest(models.Model):
    """That a running job is to stop; see `domain.records.CancelRequest`. Its id is the job's."""

    id = models.BigIntegerField(primary_key=True)
    claim_seq = models.BigIntegerField()
    created_at = models.DateTimeField()
    actor = _word(255, db_default="", default="", blank=True)
    reason = models.TextField(db_default="", default="", blank=True)

    class Meta:
        verbose_name = "cancel request"
        verbose_name_plural = "cancel requests"

    def __str__(self) -> str:
        return f"request to cancel job {self.pk}"


class Worker(models.Model):
    """One start of a worker process; see `domain.records.Worker`."""

    id = models.BigAutoField(primary_key=True)
    label = _word(255)
    hostname = _word(255, db_default="", default="", blank=True)
    pid = models.BigIntegerField(db_default=0, default=0)
    queues = models.JSONField()
    exclude_queues = models.JSONField(default=list)
    job_types = models.JSONField()
    concurrency = models.IntegerField(db_default=1, default=1)
    lease_ms = models.BigIntegerField(db_default=30_000, default=30_000)
    beat = models.BigIntegerField(db_default=0, default=0)
    started_at = models.DateTimeField()
    last_beat_at = models.DateTimeField()
    stopping_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "worker"
        verbose_name_plural = "workers"

    def __str__(self) -> str:
        return self.label


class CronSchedule(models.Model):
    """What adds a job again and again; see `domain.records.CronSchedule`."""

    id = models.BigAutoField(primary_key=True)
    schedule_name = _word(255)
    job_type = _word(128)
    payload = models.JSONField(null=True)
    options = models.JSONField(default=dict)
    cron_expression = _word(255, db_default="", default="", blank=True)
    timezone = _word(64, db_default="UTC", default="UTC")
    every_ms = models.BigIntegerField(null=True)
    start_at = models.DateTimeField(null=True)
    end_at = models.DateTimeField(null=True)
    max_runs = models.BigIntegerField(null=True)
    runs = models.BigIntegerField(db_default=0, default=0)
    catch_up = models.IntegerField(db_default=1, default=1)
    overlap = _word(db_default="skip", default="skip")
    jitter_ms = models.BigIntegerField(db_default=0, default=0)
    status = _word(db_default="active", default="active")
    paused_at = models.DateTimeField(null=True)
    paused_by = _word(255, db_default="", default="", blank=True)
    pause_reason = models.TextField(db_default="", default="", blank=True)
    declared = models.BooleanField(db_default=False, default=False)
    next_run_at = models.DateTimeField(null=True)
    last_tick_at = models.DateTimeField(null=True)
    last_enqueued_at = models.DateTimeField(null=True)
    last_job_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name = "schedule"
        verbose_name_plural = "schedules"
        permissions: ClassVar = [("run_cronschedule", "Can run schedule"), ("pause_cronschedule", "Can pause schedule")]
        indexes: ClassVar = [
            models.Index(
                fields=["next_run_at", "id"],
                condition=Q(next_run_at__isnull=False),
                name="dataqueue_schedule_due",
            ),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["schedule_name"], name="dataqueue_schedule_name")]

    def __str__(self) -> str:
        return self.schedule_name


class CronTick(models.Model):
    """A moment at which a schedule was due; see `domain.records.CronTick`."""

    id = models.BigAutoField(primary_key=True)
    schedule_id = models.BigIntegerField()
    tick_at = models.DateTimeField()
    outcome = _word()
    job_id = models.BigIntegerField(null=True)
    actor = _word(255, db_default="", default="", blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "tick"
        verbose_name_plural = "ticks"
        indexes: ClassVar = [
            models.Index(fields=["schedule_id", "id"], name="dataqueue_tick_schedule"),
            models.Index(fields=["created_at", "id"], name="dataqueue_tick_created"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["schedule_id", "tick_at"], condition=~Q(outcome="by_hand"), name="dataqueue_tick_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"tick {self.pk} of schedule {self.schedule_id}"


class Duty(models.Model):
    """Something that workers do for all, once in a while; see `domain.records.Duty`. Its id is its name."""

    id = _word(64, primary_key=True)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    done_by = _word(255, db_default="", default="", blank=True)
    report = models.JSONField(null=True)
    error = models.TextField(db_default="", default="", blank=True)
    state = models.JSONField(null=True)

    class Meta:
        verbose_name = "duty"
        verbose_name_plural = "duties"

    def __str__(self) -> str:
        return self.id


class Queue(models.Model):
    """A queue that was declared; see `domain.records.Queue`."""

    id = _word(128, primary_key=True)
    description = models.TextField(db_default="", default="", blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "queue"
        verbose_name_plural = "queues"
        permissions: ClassVar = [("pause_queue", "Can pause queue")]

    def __str__(self) -> str:
        return self.id


class Pause(models.Model):
    """That jobs of a scope are not claimed; see `domain.records.Pause`."""

    id = models.TextField(primary_key=True)
    queue = _word(128, db_default="", default="", blank=True)
    job_type = _word(128, db_default="", default="", blank=True)
    reason = models.TextField(db_default="", default="", blank=True)
    actor = _word(255, db_default="", default="", blank=True)
    until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "pause"
        verbose_name_plural = "pauses"

    def __str__(self) -> str:
        return self.id


class Limit(models.Model):
    """How many jobs of a scope may run, begin or wait; see `domain.records.Limit`."""

    id = models.TextField(primary_key=True)
    queue = _word(128, db_default="", default="", blank=True)
    job_type = _word(128, db_default="", default="", blank=True)
    per_group = models.BooleanField(db_default=False, default=False)
    group_id = _word(255, null=True, blank=True)
    concurrency = models.IntegerField(null=True, blank=True)
    rate = models.IntegerField(null=True, blank=True)
    per_ms = models.BigIntegerField(null=True, blank=True)
    burst = models.IntegerField(null=True, blank=True)
    max_size = models.IntegerField(null=True, blank=True)
    actor = _word(255, db_default="", default="", blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name = "limit"
        verbose_name_plural = "limits"
        permissions: ClassVar = [("set_limit", "Can set limit")]

    def __str__(self) -> str:
        return self.id


class ControlStamp(models.Model):
    """One row, changed with each change of pauses and limits, by which a claim knows that it has not missed one."""

    id = models.SmallIntegerField(primary_key=True)
    stamp = _word(32)

    class Meta:
        verbose_name = "stamp of controls"
        verbose_name_plural = "stamps of controls"

    def __str__(self) -> str:
        return self.stamp


class RateBucket(models.Model):
    """How a rate or a limit stands; its row is also what claims under a limit lock, one after the other.

    `begun` are [time, number] of what began lately, where a sliding window counts it.
    """

    key = models.TextField(primary_key=True)
    tokens = models.FloatField(null=True)
    at = models.DateTimeField()
    begun = models.JSONField(null=True)
    closed_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "rate bucket"
        verbose_name_plural = "rate buckets"

    def __str__(self) -> str:
        return self.key


class Turn(models.Model):
    """The group of a queue and job type whose turn was last; see `domain.admission`."""

    id = models.TextField(primary_key=True)
    group_id = _word(255)

    class Meta:
        verbose_name = "turn"
        verbose_name_plural = "turns"

    def __str__(self) -> str:
        return self.id


class QueueStat(models.Model):
    """What one writer counted in one bucket of time; see `domain.records.QueueStat`."""

    id = models.BigAutoField(primary_key=True)
    resolution = _word()
    bucket = models.DateTimeField()
    queue = _word(128)
    job_type = _word(128)
    writer = models.BigIntegerField(db_default=0, default=0)
    enqueued = models.BigIntegerField(db_default=0, default=0)
    started = models.BigIntegerField(db_default=0, default=0)
    completed = models.BigIntegerField(db_default=0, default=0)
    failed = models.BigIntegerField(db_default=0, default=0)
    retried = models.BigIntegerField(db_default=0, default=0)
    cancelled = models.BigIntegerField(db_default=0, default=0)
    ran = models.BigIntegerField(db_default=0, default=0)
    run_ms_sum = models.BigIntegerField(db_default=0, default=0)
    run_hist = models.JSONField(null=True)
    waited = models.BigIntegerField(db_default=0, default=0)
    wait_ms_sum = models.BigIntegerField(db_default=0, default=0)
    wait_hist = models.JSONField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name = "statistic"
        verbose_name_plural = "statistics"
        indexes: ClassVar = [models.Index(fields=["resolution", "updated_at"], name="dataqueue_stat_updated")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["resolution", "bucket", "queue", "job_type", "writer"], name="dataqueue_stat_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resolution} {self.bucket:%Y-%m-%d %H:%M} of {self.queue}"


class QueueGauge(models.Model):
    """How many jobs of a queue there were at a moment; see `domain.records.QueueGauge`."""

    id = models.BigAutoField(primary_key=True)
    bucket = models.DateTimeField()
    queue = _word(128)
    ready = models.BigIntegerField(db_default=0, default=0)
    running = models.BigIntegerField(db_default=0, default=0)
    scheduled = models.BigIntegerField(db_default=0, default=0)
    waiting = models.BigIntegerField(db_default=0, default=0)
    oldest_ready_s = models.BigIntegerField(null=True)
    workers = models.IntegerField(db_default=0, default=0)

    class Meta:
        verbose_name = "gauge"
        verbose_name_plural = "gauges"
        constraints: ClassVar = [models.UniqueConstraint(fields=["bucket", "queue"], name="dataqueue_gauge_unique")]

    def __str__(self) -> str:
        return f"{self.queue} at {self.bucket:%Y-%m-%d %H:%M}"
