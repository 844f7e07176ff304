"""Fixtures for the example project: its files go to a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from dataqueue_django import Job, get_queue
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions

HEADER = "iata,name,city,state,country,latitude,longitude"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "demo: starts the whole demo in processes of its own; takes seconds")


@pytest.fixture(autouse=True)
def fieldbook(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings that the app needs; the value is the folder that uploads and results go to."""
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setenv("TEST_MEDIA_ROOT", str(settings.MEDIA_ROOT))  # for isolated handlers
    settings.FIELDBOOK_ROWS_PER_SECOND = 0
    settings.FIELDBOOK_STEP_SECONDS = 0
    settings.SITE_URL = "http://testserver"
    settings.REFUND_APPROVER = "approver@example.com"
    settings.REFUND_APPROVAL_TIMEOUT = "48h"
    settings.REFUND_LINK_SECONDS = 3600
    settings.WEBHOOK_SECRET = "webhooks"
    settings.WEBHOOK_RECEIVERS = []
    settings.DRIP_DAY_SECONDS = 24 * 3600.0
    settings.FILE_UPLOAD_HANDLERS = [
        "example_project.uploads.BoundedUploadHandler",
        "django.core.files.uploadhandler.MemoryFileUploadHandler",
        "django.core.files.uploadhandler.TemporaryFileUploadHandler",
    ]
    return tmp_path / "media"


@pytest.fixture
def demo(settings: Any, client: Client) -> Client:
    """A visitor of the demo, where DEBUG is on and nobody has to log in."""
    settings.DEBUG = True
    return client


@pytest.fixture
def work(transactional_db: None) -> Callable[[], None]:
    """Run all jobs that are ready, and those that they lead to, with a real worker."""

    def run() -> None:
        assert WorkerLoop(get_queue(), ProcessorOptions(burst=True, poll_interval=0.05)).run() == 0

    return run


def csv_file(*rows: str, header: str = HEADER) -> bytes:
    """The bytes of a CSV file with these rows below the header."""
    return "\n".join([header, *rows, ""]).encode()


def rows_of_every_table() -> dict[str, list[Any]]:
    return {model._meta.label: list(model.objects.values()) for model in apps.get_models() if model.objects.exists()}


def job_of(job_id: int | None) -> Job:
    job = get_queue().get_job(job_id or 0)
    assert job is not None
    return job


def work_to_the_end(work: Callable[[], None], job_id: int | None) -> Job:
    """Run a job until it is over, with its waits and retries, which have to be short."""
    while not job_of(job_id).is_terminal:
        work()
    return job_of(job_id)
