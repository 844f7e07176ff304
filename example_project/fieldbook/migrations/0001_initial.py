import django.db.models.deletion
from django.db import migrations, models

import example_project.fieldbook.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Import",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255, verbose_name="file name")),
                ("sha256", models.CharField(max_length=64, unique=True, verbose_name="SHA-256 of the file")),
                ("file", models.FileField(max_length=255, upload_to="uploads")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("importing", "importing"),
                            ("imported", "imported, report to come"),
                            ("finished", "finished"),
                            ("failed", "failed"),
                        ],
                        default="waiting",
                        max_length=20,
                    ),
                ),
                ("problem", models.TextField(blank=True, verbose_name="why it failed")),
                ("rows", models.PositiveIntegerField(default=0)),
                ("report", models.JSONField(blank=True, null=True)),
                (
                    "report_file",
                    models.FileField(
                        blank=True,
                        max_length=255,
                        storage=example_project.fieldbook.models.results_storage,
                        upload_to="reports",
                    ),
                ),
                (
                    "rejects_file",
                    models.FileField(
                        blank=True,
                        max_length=255,
                        storage=example_project.fieldbook.models.results_storage,
                        upload_to="rejects",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("job_id", models.BigIntegerField(blank=True, null=True, verbose_name="import job")),
                ("report_job_id", models.BigIntegerField(blank=True, null=True, verbose_name="report job")),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Airport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("iata", models.CharField(max_length=4, unique=True, verbose_name="code")),
                ("name", models.CharField(max_length=200)),
                ("city", models.CharField(blank=True, max_length=200)),
                ("state", models.CharField(db_index=True, max_length=2)),
                ("country", models.CharField(blank=True, max_length=200)),
                ("latitude", models.FloatField()),
                ("longitude", models.FloatField()),
                (
                    "source",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="airports",
                        to="fieldbook.import",
                        verbose_name="last import",
                    ),
                ),
            ],
            options={
                "ordering": ["iata"],
            },
        ),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("first_line", models.PositiveIntegerField()),
                ("last_line", models.PositiveIntegerField()),
                ("size", models.PositiveIntegerField(verbose_name="number of rows")),
                ("rows", models.JSONField(default=list)),
                ("accepted", models.PositiveIntegerField(default=0)),
                ("rejected", models.PositiveIntegerField(default=0)),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                ("job_id", models.BigIntegerField(blank=True, null=True)),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="chunks", to="fieldbook.import"
                    ),
                ),
            ],
            options={
                "ordering": ["source", "number"],
                "constraints": [models.UniqueConstraint(fields=("source", "number"), name="fieldbook_chunk_once")],
            },
        ),
        migrations.CreateModel(
            name="RejectedRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("line", models.PositiveIntegerField()),
                ("cells", models.JSONField()),
                ("problems", models.JSONField(help_text="[[column, message], …]")),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rejected_rows", to="fieldbook.import"
                    ),
                ),
            ],
            options={
                "ordering": ["source", "line"],
                "constraints": [models.UniqueConstraint(fields=("source", "line"), name="fieldbook_rejected_row_once")],
            },
        ),
    ]
