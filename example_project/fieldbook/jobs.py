"""The work behind an import: read the file, import its chunks side by side, report.

    import_airports ──┬── import_chunk ──┐
                      ├── import_chunk ──┤  the last one to finish saves the import as "imported",
                      └── import_chunk ──┘  and signals.py answers with build_report

Any of them may run again after a crash. Each writes all it has to write in one transaction, together with the note that
it did, so running again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone

from dataqueue_django import GiveUp, JobContext, job

from .models import Airport, Chunk, Import, ImportState, RejectedRow
from .reading import COLUMNS, BadFile, Problem, Row, checked, read_rows
from .reporting import Place, Report, summarise
from .spreadsheets import csv_text

CHUNK_ROWS = 500
MOST_CHUNKS = 16
PAUSE_ROWS = 100
"""Rows between two reports of progress, and between two looks at the stop signal."""


@job(takes_context=True, max_attempts=5, retry_delay=2, give_up_on=Import.DoesNotExist)
def import_airports(ctx: JobContext, import_id: int) -> dict[str, int]:
    """Read an import's file and give its rows to as many jobs as it has chunks."""
    record = Import.objects.get(pk=import_id)
    try:
        with record.file.open() as file:
            rows = read_rows(file.read())
    except BadFile as why:
        record.state, record.problem = ImportState.FAILED, str(why)
        record.save(update_fields=["state", "problem"])
        raise GiveUp(str(why)) from why  # the same bytes would fail again
    ctx.set_progress(50, f"Read {len(rows):,} rows")
    chunks = _fan_out(import_id, rows)
    ctx.set_progress(100, f"Gave {len(rows):,} rows to {chunks} jobs")
    return {"rows": len(rows), "chunks": chunks}


def _fan_out(import_id: int, rows: list[Row]) -> int:
    """Store the chunks and enqueue a job for each, in one transaction: all of it happens, once, or nothing."""
    with transaction.atomic():
        record = Import.objects.select_for_update().get(pk=import_id)
        if record.state != ImportState.WAITING:
            return record.chunks.count()
        chunks = Chunk.objects.bulk_create(_chunks(record, rows))
        job_ids = import_chunk.using(tags=[f"import {import_id}"]).enqueue_many(
            {"chunk_id": chunk.pk} for chunk in chunks
        )
        for chunk, job_id in zip(chunks, job_ids, strict=True):
            chunk.job_id = job_id
        Chunk.objects.bulk_update(chunks, ["job_id"])
        record.state, record.rows = ImportState.IMPORTING, len(rows)
        record.save(update_fields=["state", "rows"])
        return len(chunks)


def _chunks(record: Import, rows: list[Row]) -> Iterator[Chunk]:
    size = max(CHUNK_ROWS, -(-len(rows) // MOST_CHUNKS))
    for number, start in enumerate(range(0, len(rows), size), start=1):
        part = rows[start : start + size]
        yield Chunk(
            source=record,
            number=number,
            first_line=part[0].line,
            last_line=part[-1].line,
            size=len(part),
            rows=[[row.line, row.cells, row.problems] for row in part],
        )


@job(takes_context=True, max_attempts=5, retry_delay=2, give_up_on=Chunk.DoesNotExist)
def import_chunk(ctx: JobContext, chunk_id: int) -> dict[str, int]:
    """Check the rows of a chunk and import the good ones; a bad row is noted, it never fails the job."""
    chunk = Chunk.objects.select_related("source").get(pk=chunk_id)
    airports: list[Airport] = []
    rejected: list[RejectedRow] = []
    for done, row in enumerate(_rows(chunk), start=1):
        values, problems = checked(row)
        if problems:
            rejected.append(RejectedRow(source=chunk.source, line=row.line, cells=row.cells, problems=problems))
        else:
            airports.append(Airport(**values, source=chunk.source))
        if done % PAUSE_ROWS == 0 or done == len(chunk.rows):
            ctx.progress(done, chunk.size, f"Checked up to line {row.line:,}")
            _keep_pace(ctx)
    chunk = _store(chunk_id, airports, rejected)
    return {"accepted": chunk.accepted, "rejected": chunk.rejected}


def _rows(chunk: Chunk) -> Iterator[Row]:
    for line, cells, problems in chunk.rows:
        yield Row(line, cells, tuple(Problem(*problem) for problem in problems))


def _keep_pace(ctx: JobContext) -> None:
    """Let a visitor watch, if the settings say so; a worker that has to stop does not wait for this job."""
    if settings.FIELDBOOK_ROWS_PER_SECOND:
        ctx.signal.wait(PAUSE_ROWS / settings.FIELDBOOK_ROWS_PER_SECOND)
    ctx.signal.raise_if_aborted()


def _store(chunk_id: int, airports: list[Airport], rejected: list[RejectedRow]) -> Chunk:
    """Write a chunk's outcome once; the last chunk of an import makes it "imported"."""
    with transaction.atomic():
        chunk = Chunk.objects.select_for_update().get(pk=chunk_id)
        if chunk.done_at is not None:
            return chunk
        Airport.objects.bulk_create(
            sorted(airports, key=lambda airport: airport.iata),  # in one order, or two imports could deadlock
            update_conflicts=True,
            unique_fields=["iata"],
            update_fields=[*COLUMNS[1:], "source"],
        )
        RejectedRow.objects.bulk_create(rejected)
        chunk.accepted, chunk.rejected, chunk.rows = len(airports), len(rejected), []
        chunk.done_at = timezone.now()
        chunk.save()
        record = Import.objects.select_for_update().get(pk=chunk.source_id)  # one after the other, to see the others
        if not record.chunks.filter(done_at=None).exists():
            record.state = ImportState.IMPORTED
            record.save(update_fields=["state"])
        return chunk


@job(takes_context=True, max_attempts=5, retry_delay=2, give_up_on=Import.DoesNotExist)
def build_report(ctx: JobContext, import_id: int) -> dict[str, Any]:
    """Summarise the whole book, write the report and the rejected rows as files, and finish the import."""
    ctx.set_progress(10, "Counting airports")
    places = Airport.objects.order_by("iata").values_list(*Place._fields)
    report = summarise(Place(*values) for values in places.iterator())
    ctx.set_progress(50, "Writing the files")
    with transaction.atomic():
        record = Import.objects.select_for_update().get(pk=import_id)
        if record.state == ImportState.FINISHED:
            return {"states": len(record.report["states"])}
        record.report = report.as_json()
        record.report_file.save(f"import-{import_id}.csv", _report_file(report), save=False)
        record.rejects_file.save(f"import-{import_id}.csv", _rejects_file(record), save=False)
        record.state, record.finished_at = ImportState.FINISHED, timezone.now()
        record.save()
    ctx.set_progress(100, "Done")
    return {"states": len(report.states)}


def _report_file(report: Report) -> ContentFile:
    lines = [*report.states, *([report.total] if report.total else [])]
    header = ["state", "airports", "northernmost_iata", "northernmost_name", "northernmost_latitude"]
    header += ["mean_latitude", "mean_longitude"]
    text = csv_text(header, ([getattr(line, column) for column in header] for line in lines))
    return ContentFile(text.encode())


def _rejects_file(record: Import) -> ContentFile:
    """The rejected rows as they were, with their lines and problems in front: put right, the file can be uploaded."""
    rows = (
        [
            row.line,
            "; ".join(f"{column or 'row'} {message}" for column, message in row.problems),
            *(row.cells[column] for column in COLUMNS),
        ]
        for row in record.rejected_rows.order_by("line").iterator()
    )
    return ContentFile(csv_text(["line", "problem", *COLUMNS], rows).encode())
