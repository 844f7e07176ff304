"""Imports from the file to the report, by a real worker; each job may run twice."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from dataqueue_django import FailureReason, Job, JobStatus, get_queue
from example_project.fieldbook import jobs
from example_project.fieldbook.jobs import build_report, import_airports, import_chunk
from example_project.fieldbook.models import Airport, Chunk, Import, ImportState
from example_project.fieldbook.views import SHIPPED
from example_project.fieldbook.watching import watch

from .conftest import HEADER, csv_file

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], None]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three rows, so that small files have several."""
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 3)


def stored(data: bytes) -> Import:
    """An import that waits for its job."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Import.objects.create(name="a.csv", sha256=sha256, file=ContentFile(data, name=f"{sha256}.csv"))


def started(data: bytes) -> Import:
    """An import with its job."""
    with transaction.atomic():
        record = stored(data)
        record.job_id = import_airports.enqueue(import_id=record.pk).id
        record.save()
    return record


def good(number: int, name: str = "Field", latitude: float = 40) -> str:
    return f"Z{number:03},{name},Town,NY,USA,{latitude},-70"


def facts() -> list[Any]:
    """Everything that an import leaves in the tables, apart from times and numbers of jobs."""
    return [
        list(Airport.objects.order_by("iata").values()),
        list(Chunk.objects.order_by("number").values("number", "accepted", "rejected", "rows")),
        list(Import.objects.values("state", "rows", "report", "report_file", "rejects_file")),
        [list(record.rejected_rows.values()) for record in Import.objects.all()],
    ]


def job_of(job_id: int | None) -> Job:
    job = get_queue().get_job(job_id or 0)
    assert job is not None
    return job


def test_a_file_becomes_airports_and_a_report(work: Work) -> None:
    record = started(csv_file(*(good(n) for n in range(7)), "bad,,,,,,", good(0)))
    work()
    record.refresh_from_db()
    watched = watch(record)
    assert record.state == ImportState.FINISHED
    assert (record.rows, watched.accepted, watched.rejected, watched.percent) == (9, 7, 2, 100)
    assert Airport.objects.count() == record.report["total"]["airports"] == 7
    assert [line.job.status for line in watched.jobs] == [JobStatus.COMPLETED] * 5
    assert [chunk.size for chunk in record.chunks.all()] == [3, 3, 3]
    assert not watched.is_running


def test_the_shipped_file_is_imported_without_rejects(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 500)
    record = started(SHIPPED.read_bytes())
    work()
    record.refresh_from_db()
    assert (record.state, record.rows, record.rejected_rows.count()) == (ImportState.FINISHED, 3376, 0)
    assert Airport.objects.count() == 3376


def test_a_known_airport_is_brought_up_to_date(work: Work) -> None:
    started(csv_file(good(1, "Old name"), good(2)))
    work()
    newer = started(csv_file(good(1, "New name")))
    work()
    assert Airport.objects.count() == 2
    assert Airport.objects.get(iata="Z001").name == "New name"
    assert Airport.objects.get(iata="Z001").source == newer


def test_every_job_may_run_again(work: Work) -> None:
    record = started(csv_file(*(good(n) for n in range(7)), "bad,,,,,,"))
    work()
    before = facts()
    again = [
        import_airports.enqueue(import_id=record.pk).id,
        *import_chunk.enqueue_many({"chunk_id": chunk.pk} for chunk in Chunk.objects.all()),
        build_report.enqueue(import_id=record.pk).id,
    ]
    work()
    assert facts() == before
    assert {job_of(job_id).status for job_id in again} == {JobStatus.COMPLETED}


def test_rejects_can_be_put_right_and_uploaded(work: Work) -> None:
    record = started(csv_file(good(1), "Z002,Field,Town,New York,USA,40,-70"))
    work()
    record.refresh_from_db()
    with record.rejects_file.open("r") as file:
        text = file.read()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["line"], row["problem"]) == ("3", "state must be two capital letters, such as NY")
    started(text.replace("New York", "NY").encode())
    work()
    assert set(Airport.objects.values_list("iata", flat=True)) == {"Z001", "Z002"}


def test_a_file_that_turns_out_bad_fails_at_once_and_says_why(work: Work) -> None:
    record = started(f'{HEADER}\nZ001,"open'.encode())
    work()
    record.refresh_from_db()
    job = job_of(record.job_id)
    assert (job.status, job.failure_reason, job.attempts) == (JobStatus.FAILED, FailureReason.GIVEN_UP, 1)
    assert record.state == ImportState.FAILED
    assert record.problem == watch(record).failure == "Line 2 cannot be read as CSV: unexpected end of data."


def test_a_job_that_fails_for_good_shows_on_the_import(work: Work) -> None:
    record = started(csv_file(good(1)))
    record.file.storage.delete(record.file.name)
    record.job_id = import_airports.using(max_attempts=1).enqueue(import_id=record.pk).id
    record.save()
    work()
    watched = watch(record)
    assert watched.state == ImportState.FAILED
    assert "No such file" in watched.failure


def test_an_import_that_is_gone_is_given_up(work: Work) -> None:
    job = import_airports.enqueue(import_id=999)
    work()
    assert job_of(job.id).failure_reason == FailureReason.GIVEN_UP


def test_the_report_is_asked_for_by_the_signal_once() -> None:
    record = stored(csv_file(good(1)))
    assert record.report_job_id is None
    record.state = ImportState.IMPORTED
    record.save()
    record.refresh_from_db()
    first = record.report_job_id
    record.save()
    record.refresh_from_db()
    assert record.report_job_id == first
    assert job_of(first).job_type == "build_report"


def test_the_report_is_not_asked_for_when_the_transaction_is_rolled_back() -> None:
    record = stored(csv_file(good(1)))
    with transaction.atomic():
        record.state = ImportState.IMPORTED
        record.save()
        transaction.set_rollback(True)
    fresh = Import.objects.get()
    assert (fresh.state, fresh.report_job_id) == (ImportState.WAITING, None)
    assert build_report.using(idempotency_key=f"report {fresh.pk}").enqueue(import_id=fresh.pk).existed is False


def test_progress_grows_with_the_chunks() -> None:
    record = stored(csv_file(good(1)))
    assert watch(record).percent == 0
    record.state, record.rows = ImportState.IMPORTING, 6
    record.save()
    chunks = [Chunk(source=record, number=n, first_line=n, last_line=n, size=3) for n in (1, 2)]
    Chunk.objects.bulk_create(chunks)
    assert watch(record).percent == 5
    Chunk.objects.filter(number=1).update(done_at=record.created_at)
    assert watch(record).percent == 50
    Chunk.objects.update(done_at=record.created_at)
    assert watch(record).percent == 95


def test_an_import_may_move_on_while_it_is_looked_at(work: Work) -> None:
    record = started(csv_file(good(1), "bad,,,,,,"))
    work()
    watched = watch(record)
    assert (record.state, watched.percent, watched.is_running) == (ImportState.WAITING, 95, True)
