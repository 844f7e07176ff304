"""Airports, and what is known about each import: its chunks and the rows it could not take."""

from django.core.files.storage import FileSystemStorage
from django.db import models
from django.urls import reverse


class ImportState(models.TextChoices):
    """How far an import has come."""

    WAITING = "waiting", "waiting"
    IMPORTING = "importing", "importing"
    IMPORTED = "imported", "imported, report to come"
    FINISHED = "finished", "finished"
    FAILED = "failed", "failed"


def results_storage() -> FileSystemStorage:
    """Return the storage for files that a job writes: a job that runs again replaces what it wrote before."""
    return FileSystemStorage(allow_overwrite=True)


class Import(models.Model):
    """One CSV file; the same bytes are imported once."""

    name = models.CharField("file name", max_length=255)
    sha256 = models.CharField("SHA-256 of the file", max_length=64, unique=True)
    file = models.FileField(upload_to="uploads", max_length=255)
    state = models.CharField(max_length=20, choices=ImportState, default=ImportState.WAITING)
    problem = models.TextField("why it failed", blank=True)
    rows = models.PositiveIntegerField(default=0)
    report = models.JSONField(null=True, blank=True)
    report_file = models.FileField(storage=results_storage, upload_to="reports", max_length=255, blank=True)
    rejects_file = models.FileField(storage=results_storage, upload_to="rejects", max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    job_id = models.BigIntegerField("import job", null=True, blank=True)
    report_job_id = models.BigIntegerField("report job", null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of the import's page."""
        return reverse("fieldbook:import", args=[self.pk])


class Chunk(models.Model):
    """Some rows of a file, imported by one job in one transaction.

    The counts are written together with the airports, so a job that runs again after a crash finds either nothing done
    or everything. `rows` is emptied then.
    """

    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    first_line = models.PositiveIntegerField()
    last_line = models.PositiveIntegerField()
    size = models.PositiveIntegerField("number of rows")
    rows = models.JSONField(default=list)
    accepted = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    done_at = models.DateTimeField(null=True, blank=True)
    job_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["source", "number"]
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="fieldbook_chunk_once")]

    def __str__(self) -> str:
        return f"lines {self.first_line:,} to {self.last_line:,}"


class RejectedRow(models.Model):
    """A row that could not be imported, with each column at fault and why."""

    source = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="rejected_rows")
    line = models.PositiveIntegerField()
    cells = models.JSONField()
    problems = models.JSONField(help_text="[[column, message], …]")

    class Meta:
        ordering = ["source", "line"]
        constraints = [models.UniqueConstraint(fields=["source", "line"], name="fieldbook_rejected_row_once")]

    def __str__(self) -> str:
        return f"line {self.line}"


class Airport(models.Model):
    """A place to land; known by its code."""

    iata = models.CharField("code", max_length=4, unique=True)
    name = models.CharField(max_length=200)
    city = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=2, db_index=True)
    country = models.CharField(max_length=200, blank=True)
    latitude = models.FloatField()
    longitude = models.FloatField()
    source = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, blank=True, related_name="airports", verbose_name="last import"
    )

    class Meta:
        ordering = ["iata"]

    def __str__(self) -> str:
        return f"{self.iata} {self.name}"
