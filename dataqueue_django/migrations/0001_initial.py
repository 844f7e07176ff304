"""All tables (one migration until the first release)."""

import django.db.models.expressions
from django.db import migrations, models

from ._storage import set_storage_options


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CancelRequest",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("claim_seq", models.BigIntegerField()),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("reason", models.TextField(blank=True, db_default="", default="")),
            ],
            options={
                "verbose_name": "cancel request",
                "verbose_name_plural": "cancel requests",
            },
        ),
        migrations.CreateModel(
            name="ControlStamp",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("stamp", models.CharField(max_length=32)),
            ],
            options={
                "verbose_name": "stamp of controls",
                "verbose_name_plural": "stamps of controls",
            },
        ),
        migrations.CreateModel(
            name="Duty",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("done_by", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("report", models.JSONField(null=True)),
                ("error", models.TextField(blank=True, db_default="", default="")),
                ("state", models.JSONField(null=True)),
            ],
            options={
                "verbose_name": "duty",
                "verbose_name_plural": "duties",
            },
        ),
        migrations.CreateModel(
            name="Limit",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("queue", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("job_type", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("per_group", models.BooleanField(db_default=False, default=False)),
                ("group_id", models.CharField(blank=True, max_length=255, null=True)),
                ("concurrency", models.IntegerField(blank=True, null=True)),
                ("rate", models.IntegerField(blank=True, null=True)),
                ("per_ms", models.BigIntegerField(blank=True, null=True)),
                ("burst", models.IntegerField(blank=True, null=True)),
                ("max_size", models.IntegerField(blank=True, null=True)),
                ("actor", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "limit",
                "verbose_name_plural": "limits",
                "permissions": [("set_limit", "Can set limit")],
            },
        ),
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("queue", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("job_type", models.CharField(blank=True, db_default="", default="", max_length=128)),
                ("reason", models.TextField(blank=True, db_default="", default="")),
                ("actor", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "pause",
                "verbose_name_plural": "pauses",
            },
        ),
        migrations.CreateModel(
            name="Queue",
            fields=[
                ("id", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("description", models.TextField(blank=True, db_default="", default="")),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "queue",
                "verbose_name_plural": "queues",
                "permissions": [("pause_queue", "Can pause queue")],
            },
        ),
        migrations.CreateModel(
            name="RateBucket",
            fields=[
                ("key", models.TextField(primary_key=True, serialize=False)),
                ("tokens", models.FloatField(null=True)),
                ("at", models.DateTimeField()),
                ("begun", models.JSONField(null=True)),
                ("closed_until", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "rate bucket",
                "verbose_name_plural": "rate buckets",
            },
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("group_id", models.CharField(max_length=255)),
            ],
            options={
                "verbose_name": "turn",
                "verbose_name_plural": "turns",
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("label", models.CharField(max_length=255)),
                ("hostname", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("pid", models.BigIntegerField(db_default=0, default=0)),
                ("queues", models.JSONField()),
                ("exclude_queues", models.JSONField(default=list)),
                ("job_types", models.JSONField()),
                ("concurrency", models.IntegerField(db_default=1, default=1)),
                ("lease_ms", models.BigIntegerField(db_default=30000, default=30000)),
                ("beat", models.BigIntegerField(db_default=0, default=0)),
                ("started_at", models.DateTimeField()),
                ("last_beat_at", models.DateTimeField()),
                ("stopping_at", models.DateTimeField(null=True)),
                ("expired_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
            },
        ),
        migrations.CreateModel(
            name="CronSchedule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("schedule_name", models.CharField(max_length=255)),
                ("job_type", models.CharField(max_length=128)),
                ("payload", models.JSONField(null=True)),
                ("options", models.JSONField(default=dict)),
                ("cron_expression", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("timezone", models.CharField(db_default="UTC", default="UTC", max_length=64)),
                ("every_ms", models.BigIntegerField(null=True)),
                ("start_at", models.DateTimeField(null=True)),
                ("end_at", models.DateTimeField(null=True)),
                ("max_runs", models.BigIntegerField(null=True)),
                ("runs", models.BigIntegerField(db_default=0, default=0)),
                ("catch_up", models.IntegerField(db_default=1, default=1)),
                ("overlap", models.CharField(db_default="skip", default="skip", max_length=16)),
                ("jitter_ms", models.BigIntegerField(db_default=0, default=0)),
                ("status", models.CharField(db_default="active", default="active", max_length=16)),
                ("paused_at", models.DateTimeField(null=True)),
                ("paused_by", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("pause_reason", models.TextField(blank=True, db_default="", default="")),
                ("declared", models.BooleanField(db_default=False, default=False)),
                ("next_run_at", models.DateTimeField(null=True)),
                ("last_tick_at", models.DateTimeField(null=True)),
                ("last_enqueued_at", models.DateTimeField(null=True)),
                ("last_job_id", models.BigIntegerField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "schedule",
                "verbose_name_plural": "schedules",
                "permissions": [("run_cronschedule", "Can run schedule"), ("pause_cronschedule", "Can pause schedule")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_run_at__isnull", False)),
                        fields=["next_run_at", "id"],
                        name="dataqueue_schedule_due",
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("schedule_name",), name="dataqueue_schedule_name")],
            },
        ),
        migrations.CreateModel(
            name="CronTick",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("schedule_id", models.BigIntegerField()),
                ("tick_at", models.DateTimeField()),
                ("outcome", models.CharField(max_length=16)),
                ("job_id", models.BigIntegerField(null=True)),
                ("actor", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "tick",
                "verbose_name_plural": "ticks",
                "indexes": [
                    models.Index(fields=["schedule_id", "id"], name="dataqueue_tick_schedule"),
                    models.Index(fields=["created_at", "id"], name="dataqueue_tick_created"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("outcome", "by_hand"), _negated=True),
                        fields=("schedule_id", "tick_at"),
                        name="dataqueue_tick_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Job",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_type", models.CharField(max_length=128)),
                ("queue", models.CharField(db_default="default", default="default", max_length=128)),
                ("status", models.CharField(db_default="pending", default="pending", max_length=16)),
                ("stage", models.CharField(editable=False, max_length=16, null=True)),
                ("payload", models.JSONField(null=True)),
                ("priority", models.IntegerField(db_default=0, default=0)),
                ("position", models.BigIntegerField(db_default=0, default=0)),
                ("lifo", models.BooleanField(db_default=False, default=False)),
                ("run_at", models.DateTimeField()),
                ("ready_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("attempts", models.IntegerField(db_default=0, default=0)),
                ("max_attempts", models.IntegerField(db_default=3, default=3)),
                ("claim_seq", models.BigIntegerField(db_default=0, default=0)),
                ("resuming", models.BooleanField(db_default=False, default=False)),
                ("crash_count", models.IntegerField(db_default=0, default=0)),
                ("retried_count", models.IntegerField(db_default=0, default=0)),
                ("worker_id", models.BigIntegerField(null=True)),
                ("locked_by", models.CharField(max_length=255, null=True)),
                ("locked_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("last_started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("last_failed_at", models.DateTimeField(null=True)),
                ("last_retried_at", models.DateTimeField(null=True)),
                ("last_cancelled_at", models.DateTimeField(null=True)),
                ("pending_reason", models.TextField(null=True)),
                ("failure_reason", models.CharField(max_length=32, null=True)),
                ("error_history", models.JSONField(null=True)),
                ("timeout_ms", models.BigIntegerField(null=True)),
                ("isolate", models.BooleanField(db_default=False, default=False)),
                ("retry_delay_ms", models.BigIntegerField(null=True)),
                ("retry_backoff", models.CharField(blank=True, db_default="", default="", max_length=16)),
                ("retry_delay_max_ms", models.BigIntegerField(null=True)),
                ("dead_letter_job_type", models.CharField(max_length=128, null=True)),
                ("dead_letter_job_id", models.BigIntegerField(null=True)),
                ("dead_lettered_at", models.DateTimeField(null=True)),
                ("output", models.JSONField(null=True)),
                ("progress", models.SmallIntegerField(null=True)),
                ("progress_message", models.TextField(null=True)),
                ("progress_data", models.JSONField(null=True)),
                ("tags", models.JSONField(null=True)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("dedup_key", models.CharField(max_length=255, null=True)),
                ("dedup_until", models.DateTimeField(null=True)),
                ("group_id", models.CharField(max_length=255, null=True)),
                ("parent_id", models.BigIntegerField(null=True)),
                ("open_dependencies", models.IntegerField(db_default=0, default=0)),
                ("wait_until", models.DateTimeField(null=True)),
                ("wait_token_id", models.CharField(max_length=64, null=True)),
                ("paused_at", models.DateTimeField(null=True)),
                ("paused_by", models.CharField(max_length=255, null=True)),
                ("pause_reason", models.TextField(null=True)),
                ("paused_until", models.DateTimeField(null=True)),
                ("held_ready_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("cancel_requested_at", models.DateTimeField(null=True)),
                ("cron_schedule_id", models.BigIntegerField(null=True)),
                ("scheduled_for", models.DateTimeField(null=True)),
                ("context", models.JSONField(null=True)),
            ],
            options={
                "verbose_name": "job",
                "verbose_name_plural": "jobs",
                "permissions": [
                    ("retry_job", "Can retry job"),
                    ("cancel_job", "Can cancel job"),
                    ("pause_job", "Can pause job"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("group_id__isnull", True), ("stage", "claimable")),
                        fields=["queue", "-priority", "position", "ready_at", "id"],
                        name="dataqueue_job_claimable",
                    ),
                    models.Index(
                        condition=models.Q(("group_id__isnull", True), ("stage", "claimable")),
                        fields=["queue", "job_type", "-priority", "position", "ready_at", "id"],
                        name="dataqueue_job_lane",
                    ),
                    models.Index(
                        condition=models.Q(("stage", "later")), fields=["ready_at", "id"], name="dataqueue_job_later"
                    ),
                    models.Index(
                        condition=models.Q(("group_id__isnull", False), ("stage", "claimable")),
                        fields=["queue", "job_type", "group_id", "-priority", "position", "ready_at", "id"],
                        name="dataqueue_job_turn",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True), ("group_id__isnull", False)),
                        fields=["group_id", "queue", "job_type", "status"],
                        name="dataqueue_job_group",
                    ),
                    models.Index(
                        condition=models.Q(("crash_count__gt", 0), ("stage", "claimable")),
                        fields=["queue", "id"],
                        name="dataqueue_job_crashed",
                    ),
                    models.Index(
                        condition=models.Q(("worker_id__isnull", False)),
                        fields=["worker_id", "id"],
                        name="dataqueue_job_worker",
                    ),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", False)),
                        fields=["status", "finished_at", "id"],
                        name="dataqueue_job_finished",
                    ),
                    models.Index(fields=["status", "id"], name="dataqueue_job_status"),
                    models.Index(fields=["queue", "id"], name="dataqueue_job_queue"),
                    models.Index(fields=["job_type", "id"], name="dataqueue_job_type"),
                    models.Index(
                        condition=models.Q(("wait_token_id__isnull", False)),
                        fields=["wait_token_id", "id"],
                        name="dataqueue_job_wait_token",
                    ),
                    models.Index(
                        condition=models.Q(("dedup_key__isnull", False)),
                        fields=["dedup_key"],
                        name="dataqueue_job_dedup",
                    ),
                    models.Index(
                        condition=models.Q(("parent_id__isnull", False)),
                        fields=["parent_id", "id"],
                        name="dataqueue_job_parent",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("idempotency_key",),
                        name="dataqueue_job_idempotency",
                        opclasses=["varchar_pattern_ops"],
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                (
                                    "claim_seq",
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("claim_seq"), "|", models.Value(1)
                                    ),
                                ),
                                ("status", "processing"),
                            ),
                            models.Q(
                                models.Q(("status", "processing"), _negated=True),
                                models.Q(
                                    (
                                        "claim_seq",
                                        django.db.models.expressions.CombinedExpression(
                                            models.F("claim_seq"), "|", models.Value(1)
                                        ),
                                    ),
                                    _negated=True,
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="dataqueue_job_fence",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
                ("event_type", models.CharField(max_length=32)),
                ("created_at", models.DateTimeField()),
                ("claim_seq", models.BigIntegerField(db_default=0, default=0)),
                ("attempt", models.IntegerField(db_default=0, default=0)),
                ("worker_id", models.BigIntegerField(null=True)),
                ("actor", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("metadata", models.JSONField(null=True)),
            ],
            options={
                "verbose_name": "job event",
                "verbose_name_plural": "job events",
                "indexes": [
                    models.Index(fields=["job_id", "id"], name="dataqueue_jobevent_job"),
                    models.Index(fields=["created_at", "id"], name="dataqueue_jobevent_created"),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
                ("created_at", models.DateTimeField()),
                ("level", models.CharField(max_length=16)),
                ("logger", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("message", models.TextField()),
                ("claim_seq", models.BigIntegerField(db_default=0, default=0)),
                ("attempt", models.IntegerField(db_default=0, default=0)),
            ],
            options={
                "verbose_name": "job log",
                "verbose_name_plural": "job logs",
                "indexes": [
                    models.Index(fields=["job_id", "id"], name="dataqueue_joblog_job"),
                    models.Index(fields=["created_at", "id"], name="dataqueue_joblog_created"),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobTag",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
                ("tag", models.CharField(max_length=128)),
            ],
            options={
                "verbose_name": "job tag",
                "verbose_name_plural": "job tags",
                "indexes": [models.Index(fields=["job_id"], name="dataqueue_jobtag_job")],
                "constraints": [models.UniqueConstraint(fields=("tag", "job_id"), name="dataqueue_jobtag_unique")],
            },
        ),
        migrations.CreateModel(
            name="QueueGauge",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("bucket", models.DateTimeField()),
                ("queue", models.CharField(max_length=128)),
                ("ready", models.BigIntegerField(db_default=0, default=0)),
                ("running", models.BigIntegerField(db_default=0, default=0)),
                ("scheduled", models.BigIntegerField(db_default=0, default=0)),
                ("waiting", models.BigIntegerField(db_default=0, default=0)),
                ("oldest_ready_s", models.BigIntegerField(null=True)),
                ("workers", models.IntegerField(db_default=0, default=0)),
            ],
            options={
                "verbose_name": "gauge",
                "verbose_name_plural": "gauges",
                "constraints": [models.UniqueConstraint(fields=("bucket", "queue"), name="dataqueue_gauge_unique")],
            },
        ),
        migrations.CreateModel(
            name="QueueStat",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("resolution", models.CharField(max_length=16)),
                ("bucket", models.DateTimeField()),
                ("queue", models.CharField(max_length=128)),
                ("job_type", models.CharField(max_length=128)),
                ("writer", models.BigIntegerField(db_default=0, default=0)),
                ("enqueued", models.BigIntegerField(db_default=0, default=0)),
                ("started", models.BigIntegerField(db_default=0, default=0)),
                ("completed", models.BigIntegerField(db_default=0, default=0)),
                ("failed", models.BigIntegerField(db_default=0, default=0)),
                ("retried", models.BigIntegerField(db_default=0, default=0)),
                ("cancelled", models.BigIntegerField(db_default=0, default=0)),
                ("ran", models.BigIntegerField(db_default=0, default=0)),
                ("run_ms_sum", models.BigIntegerField(db_default=0, default=0)),
                ("run_hist", models.JSONField(null=True)),
                ("waited", models.BigIntegerField(db_default=0, default=0)),
                ("wait_ms_sum", models.BigIntegerField(db_default=0, default=0)),
                ("wait_hist", models.JSONField(null=True)),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "statistic",
                "verbose_name_plural": "statistics",
                "indexes": [models.Index(fields=["resolution", "updated_at"], name="dataqueue_stat_updated")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("resolution", "bucket", "queue", "job_type", "writer"), name="dataqueue_stat_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Step",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField()),
                ("kind", models.CharField(max_length=16)),
                ("name", models.CharField(max_length=255)),
                ("result", models.JSONField(null=True)),
                ("until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("claim_seq", models.BigIntegerField(db_default=0, default=0)),
                ("attempt", models.IntegerField(db_default=0, default=0)),
            ],
            options={
                "verbose_name": "step",
                "verbose_name_plural": "steps",
                "constraints": [
                    models.UniqueConstraint(fields=("job_id", "kind", "name"), name="dataqueue_step_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Token",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("job_id", models.BigIntegerField(null=True)),
                ("status", models.CharField(max_length=16)),
                ("output", models.JSONField(null=True)),
                ("timeout_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("completed_at", models.DateTimeField(null=True)),
                ("completed_by", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("tags", models.JSONField(null=True)),
                ("answer_schema", models.JSONField(null=True)),
                ("due_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "token",
                "verbose_name_plural": "tokens",
                "indexes": [
                    models.Index(
                        condition=models.Q(("job_id__isnull", False)), fields=["job_id"], name="dataqueue_token_job"
                    ),
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at", "id"],
                        name="dataqueue_token_due",
                    ),
                ],
            },
        ),
        migrations.RunPython(set_storage_options, migrations.RunPython.noop, elidable=False),
    ]
