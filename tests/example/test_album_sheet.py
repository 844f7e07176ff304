"""The album on each database, in processes of its own: the last of many thumbnails asks for the contact sheet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.db import connections, transaction

from dataqueue_django import JobStatus, get_queue
from example_project.album.models import Album, Thumbnail
from example_project.album.pictures import SIZES, sheet_size
from tests.database_urls import url_of
from tests.harness.workers import ROOT, SHORT_CLOCKS, WorkerProcess, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CLOCKS = {**SHORT_CLOCKS, "LEASE": 60}
"""Nobody dies here: a worker that a busy machine keeps waiting is not to be taken for dead."""

PHOTOS = 3
WORKERS = 3
ADD = f"""
import django
django.setup()
from example_project.album import shipped
from example_project.album.changing import Given, add_photos, remove_photo, try_again
photos, _ = add_photos(Given(one.read(), one.title) for one in shipped.PHOTOS[:{PHOTOS}])
"""
REMOVE_AND_RETRY = f"""{ADD}
from dataqueue_django import get_queue
assert remove_photo(photos[0]) == 3
for thumbnail in photos[1].thumbnails.all():
    assert get_queue().cancel_job(thumbnail.job_id)
assert try_again(photos[1]) == 3
assert try_again(photos[2]) == 0
"""


@pytest.fixture
def site(any_alias: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the example project on the test's database; what it writes is the test's own."""
    return {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DATABASE_URL": url_of(any_alias),
        "DEMO_FOLDER": str(tmp_path / "site"),
        "DATAQUEUE_WORKER": json.dumps(CLOCKS),
    }


@contextmanager
def workers(site: dict[str, str], folder: Path) -> Iterator[list[WorkerProcess]]:
    """Workers with a slot for each thumbnail between them."""
    with ExitStack() as stack:
        slots = ["--concurrency", str(PHOTOS * len(SIZES) // WORKERS)]
        yield [
            stack.enter_context(WorkerProcess(site["DATABASE_URL"], *slots, folder=folder, extra=site))
            for _ in range(WORKERS)
        ]


@contextmanager
def nobody_changes_the_album(alias: str, waiting: int) -> Iterator[None]:
    """Hold the album's row until so many others wait for it; on SQLite one at a time writes in any case."""
    if connections[alias].vendor != "postgresql":
        yield
        return
    with transaction.atomic(using=alias):
        Album.objects.using(alias).select_for_update().get()
        yield
        wait_until(lambda: waiters(alias) == waiting, what=lambda: f"{waiters(alias)} of {waiting} wait for the album")
        assert not Thumbnail.objects.using(alias).exclude(file="").exists()


def waiters(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        found: int = cursor.fetchone()[0]
    return found


def run(program: str, site: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], env={**os.environ, **site}, cwd=ROOT, check=True)


def test_removing_and_trying_again(any_alias: str, site: dict[str, str], tmp_path: Path) -> None:
    run(REMOVE_AND_RETRY, site)
    queue = get_queue(any_alias)
    assert queue.count_jobs_by("status") == {JobStatus.CANCELLED: 3, JobStatus.PENDING: 6}
    assert Thumbnail.objects.using(any_alias).count() == 6
    with WorkerProcess(site["DATABASE_URL"], "--burst", folder=tmp_path / "logs", extra=site) as worker:
        assert worker.wait() == 0, worker.output
    album = Album.objects.using(any_alias).get()
    assert (album.sheet_version, album.sheet_width) == (album.version, sheet_size(2)[0])
    assert queue.count_jobs_by("status") == {JobStatus.CANCELLED: 3, JobStatus.COMPLETED: 7}


def test_the_sheet_is_made_once_and_shows_all(any_alias: str, site: dict[str, str], tmp_path: Path) -> None:
    run(ADD, site)
    queue = get_queue(any_alias)
    with workers(site, tmp_path / "logs") as running:
        with nobody_changes_the_album(any_alias, PHOTOS * len(SIZES)):
            pass
        # A worker stores the outcomes of its jobs a moment after they are over, and not in their order.
        wait_until(
            lambda: (
                queue.count_jobs({"job_type": "make_contact_sheet", "status": "completed"})
                and not queue.count_jobs({"statuses": ["pending", "processing", "failed"]})
            ),
            what=lambda: "\n".join(worker.output for worker in running),
        )
    album = Album.objects.using(any_alias).get()
    assert not Thumbnail.objects.using(any_alias).filter(file="").exists()
    assert queue.count_jobs_by("job_type", "status") == {
        ("make_thumbnail", JobStatus.COMPLETED): PHOTOS * len(SIZES),
        ("make_contact_sheet", JobStatus.COMPLETED): 1,
    }
    assert album.sheet_version == album.version == 1 + PHOTOS * len(SIZES), "each change counts"
    assert (album.sheet_width, album.sheet_height) == sheet_size(PHOTOS)
    assert (tmp_path / "site" / "media" / album.sheet.name).stat().st_size == album.sheet_bytes
