"""From a photograph to its thumbnails and the contact sheet, by a real worker; each job may run twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import F

from dataqueue_django import FailureReason, Job, JobStatus, get_queue
from dataqueue_django.testing import run_job
from example_project.album import changing, jobs, shipped, watching
from example_project.album.changing import AlbumFull, Given, add_photos, remove_photo, try_again
from example_project.album.jobs import make_contact_sheet, make_thumbnail
from example_project.album.models import Album, Photo, Thumbnail
from example_project.album.pictures import SIZES, BadPicture, fitted, sheet_size
from example_project.album.storages import WholeFileStorage
from example_project.album.watching import watch

from .drawing import bomb, cut_off, jpeg

pytestmark = pytest.mark.django_db(transaction=True)

Work = Callable[[], None]


def added(*pictures: bytes) -> list[Photo]:
    return add_photos(Given(data, f"Picture {n}") for n, data in enumerate(pictures))[0]


def facts() -> list[Any]:
    """Everything that the jobs leave in the tables, apart from numbers of jobs."""
    return [
        list(Thumbnail.objects.values("photo", "size", "file", "width", "height", "bytes", "sha256", "problem")),
        list(Album.objects.values("version", "sheet", "sheet_version", "sheet_width", "sheet_height", "sheet_sha256")),
    ]


def files(folder: Path) -> dict[str, str]:
    """The files in a folder, with their hashes."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def jobs_of(job_type: str) -> list[Job]:
    return [job for job in reversed(get_queue().get_all_jobs()) if job.job_type == job_type]


def test_the_shipped_photographs_get_their_thumbnails_and_a_sheet(work: Work, fieldbook: Path) -> None:
    add_photos(Given(one.read(), one.title, one.credit) for one in shipped.PHOTOS)
    work()
    stored = files(fieldbook)
    for row in Thumbnail.objects.select_related("photo"):
        assert (row.width, row.height) == fitted(row.photo.width, row.photo.height, row.size)
        assert row.sha256 == stored[row.file.name]
        assert row.bytes == row.file.size
    album = Album.objects.get()
    assert Thumbnail.objects.exclude(file="").count() == len(shipped.PHOTOS) * len(SIZES)
    assert (album.sheet_width, album.sheet_height) == sheet_size(len(shipped.PHOTOS))
    assert (album.sheet_version, album.sheet_sha256) == (album.version, stored[album.sheet.name])
    assert len(jobs_of("make_contact_sheet")) == 1
    assert len(stored) == len(shipped.PHOTOS) * (1 + len(SIZES)) + 1
    watched = watch(album)
    assert (watched.percent, watched.is_running, watched.message) == (100, False, "Done")


def test_what_changes_while_a_page_is_made_is_on_it(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers finish between one query of a page and the next; it may not take that for the end and stop reloading."""
    added(jpeg())
    before = Album.objects.get()
    find, looks = watching._jobs, []

    def and_work_meanwhile(ids: Any) -> Any:
        looks.append(work()) if not looks else None
        return find(ids)

    monkeypatch.setattr(watching, "_jobs", and_work_meanwhile)
    watched = watch(before)
    assert (watched.percent, watched.is_running, watched.message) == (100, False, "Done")
    assert [bool(one.file) for one in watched.photos[0].thumbnails] == [True] * len(SIZES)
    watched = watch(before)
    assert (watched.percent, watched.is_running, watched.message) == (100, False, "Done")


def test_an_album_that_never_holds_still_is_shown_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    added(jpeg())
    find = watching._jobs

    def and_change_meanwhile(ids: Any) -> Any:
        found = find(ids)
        Album.objects.update(version=F("version") + 1)
        return found

    monkeypatch.setattr(watching, "_jobs", and_change_meanwhile)
    Thumbnail.objects.update(job_id=None)
    assert watch(Album.objects.get()).is_running


def test_an_album_that_goes_while_a_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    added(jpeg())
    album = Album.objects.get()
    Album.objects.all().delete()
    assert watch(album).photos == []


def test_each_job_says_all_that_is_known_about_it() -> None:
    (photo,) = added(jpeg())
    found = jobs_of("make_thumbnail")
    assert [job.payload for job in found] == [
        {"photo_id": photo.pk, "size": size, "sha256": photo.sha256} for size in SIZES
    ]
    assert [job.tags for job in found] == [("album", f"photo-{photo.pk}")] * 3
    assert [job.priority for job in found] == [20, 10, 0]
    assert [job.idempotency_key for job in found] == [f"thumbnail {photo.pk} {n} {photo.sha256}" for n in SIZES]
    assert {job.timeout_ms for job in found} == {60_000}
    assert [row.job_id for row in photo.thumbnails.all()] == [job.id for job in found]


def test_the_photograph_and_its_jobs_are_stored_together(fieldbook: Path) -> None:
    with pytest.raises(RuntimeError, match="not this time"), transaction.atomic():
        added(jpeg())
        assert len(jobs_of("make_thumbnail")) == 3
        raise RuntimeError("not this time")
    assert not get_queue().get_all_jobs()
    assert not Photo.objects.exists()


def test_all_pictures_are_added_or_none(fieldbook: Path) -> None:
    with pytest.raises(BadPicture):
        added(jpeg(), jpeg(40, 30), b"no picture")
    assert not Photo.objects.exists()
    assert not get_queue().get_all_jobs()
    assert not files(fieldbook)


def test_the_album_has_room_for_so_many(monkeypatch: pytest.MonkeyPatch, fieldbook: Path) -> None:
    monkeypatch.setattr(changing, "MOST_PHOTOS", 2)
    added(jpeg(), jpeg(40, 30))
    before = files(fieldbook)
    with pytest.raises(AlbumFull, match="remove one first"):
        added(jpeg(50, 30))
    assert files(fieldbook) == before
    assert add_photos([Given(jpeg(), "again")])[0] == []


def test_every_job_may_run_again(work: Work, fieldbook: Path) -> None:
    added(jpeg(), cut_off(), jpeg(1000, 1000))
    work()
    before, stored = facts(), files(fieldbook)
    again = [
        make_thumbnail.enqueue(photo_id=row.photo_id, size=row.size, sha256=row.photo.sha256).id
        for row in Thumbnail.objects.select_related("photo")
    ]
    again.append(make_contact_sheet.enqueue(album_id=1, version=Album.objects.get().version).id)
    work()
    assert facts() == before
    assert files(fieldbook) == stored
    seen = [get_queue().get_job(job_id) for job_id in again]
    assert [job.status for job in seen if job] == ["completed"] * 3 + ["failed"] * 3 + ["completed"] * 4


@pytest.mark.parametrize("bad", [cut_off(), bomb(300, 200)], ids=["cut off", "empty inside"])
def test_a_broken_picture_fails_at_once_and_the_sheet_does_without_it(work: Work, bad: bytes) -> None:
    good, broken = added(jpeg(), bad)
    work()
    failed = [job for job in jobs_of("make_thumbnail") if job.payload["photo_id"] == broken.pk]
    assert [(j.status, j.failure_reason, j.attempts) for j in failed] == [("failed", FailureReason.GIVEN_UP, 1)] * 3
    shown = watch(Album.objects.get()).photos
    assert [(one.photo, one.problem) for one in shown] == [(good, ""), (broken, "The picture is damaged or cut off.")]
    album = Album.objects.get()
    assert (album.sheet_width, album.sheet_height) == sheet_size(1)


def test_a_bomb_that_came_past_the_form_is_not_decoded(work: Work) -> None:
    (photo,) = added(jpeg())
    data = bomb()
    photo.file.storage.save(photo.file.name, file_of(data))
    sha256 = hashlib.sha256(data).hexdigest()
    job = make_thumbnail.enqueue(photo_id=photo.pk, size=160, sha256=sha256)
    done = run_job(job)
    assert (done.failure_reason, done.attempts) == (FailureReason.GIVEN_UP, 1)
    assert "more than 40 million pixels" in done.error_history[-1]["message"]


def test_a_file_that_is_not_the_one_that_came_is_refused() -> None:
    (photo,) = added(jpeg())
    photo.file.storage.save(photo.file.name, file_of(jpeg(40, 30)))
    done = run_job(jobs_of("make_thumbnail")[0])
    assert done.failure_reason == FailureReason.GIVEN_UP
    assert "not the one that was uploaded" in done.error_history[-1]["message"]


def test_a_removed_photograph_takes_its_upcoming_jobs_and_files_with_it(work: Work, fieldbook: Path) -> None:
    kept, gone = added(jpeg(), jpeg(40, 30))
    work()
    late = added(jpeg(50, 30))[0]
    assert remove_photo(late) == 3
    assert remove_photo(gone) == 0
    work()
    album = Album.objects.get()
    assert [one.photo for one in watch(album).photos] == [kept]
    assert [job.status for job in jobs_of("make_thumbnail")] == [JobStatus.COMPLETED] * 6 + [JobStatus.CANCELLED] * 3
    assert (album.sheet_version, album.sheet_width) == (album.version, sheet_size(1)[0])
    assert set(files(fieldbook)) == {
        kept.file.name,
        album.sheet.name,
        *(row.file.name for row in Thumbnail.objects.filter(photo=kept)),
    }


def test_with_the_last_photograph_the_sheet_goes(work: Work, fieldbook: Path) -> None:
    (photo,) = added(jpeg())
    work()
    remove_photo(photo)
    work()
    assert not files(fieldbook)
    assert not Album.objects.get().sheet


def test_without_a_small_thumbnail_there_is_no_sheet(work: Work) -> None:
    (photo,) = added(jpeg())
    Thumbnail.objects.filter(photo=photo, size=160).update(problem="Said somebody.")
    get_queue().cancel_job(jobs_of("make_thumbnail")[0].id)
    work()
    assert photo.thumbnails.exclude(file="").count() == 2
    assert not jobs_of("make_contact_sheet")


def test_a_changed_album_shows_no_old_sheet(work: Work, fieldbook: Path) -> None:
    added(jpeg())
    work()
    old = Album.objects.get().sheet.name
    added(jpeg(40, 30))
    assert not Album.objects.get().sheet
    assert old not in files(fieldbook)


def test_removing_is_undone_with_its_transaction(work: Work, fieldbook: Path) -> None:
    (photo,) = added(jpeg())
    before = files(fieldbook)
    with pytest.raises(RuntimeError), transaction.atomic():
        remove_photo(Photo.objects.get())
        raise RuntimeError
    assert files(fieldbook) == before
    assert [job.status for job in jobs_of("make_thumbnail")] == [JobStatus.PENDING] * 3
    work()
    assert photo.thumbnails.exclude(file="").count() == 3


def test_a_job_whose_photograph_is_removed_while_it_runs_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, fieldbook: Path
) -> None:
    (photo,) = added(jpeg())
    made = jobs._made

    def removed_meanwhile(*arguments: Any) -> Any:
        picture = made(*arguments)
        remove_photo(Photo.objects.get(pk=photo.pk))
        return picture

    monkeypatch.setattr(jobs, "_made", removed_meanwhile)
    done = run_job(jobs_of("make_thumbnail")[0])
    assert done.failure_reason == FailureReason.GIVEN_UP
    assert not files(fieldbook)


def test_a_sheet_of_an_album_that_changed_meanwhile_is_left_to_the_next(work: Work) -> None:
    added(jpeg())
    work()
    before = facts()
    outdated = run_job(make_contact_sheet.enqueue(album_id=1, version=1))
    assert (outdated.status, outdated.output) == ("completed", {"outdated": True})
    assert facts() == before


def test_what_failed_can_be_tried_again(work: Work) -> None:
    good, broken = added(jpeg(), jpeg(40, 30))
    whole = jpeg(40, 30)
    broken.file.storage.save(broken.file.name, file_of(b"broken"))
    work()
    assert watch(Album.objects.get()).photos[1].can_be_retried
    assert try_again(good) == 0
    broken.file.storage.save(broken.file.name, file_of(whole))
    assert try_again(broken) == 3
    waiting = watch(Album.objects.get())
    assert (waiting.is_running, waiting.sheet, waiting.photos[1].problem) == (True, None, "")
    work()
    album = Album.objects.get()
    assert Thumbnail.objects.exclude(file="").count() == 6
    assert (album.sheet_version, album.sheet_width) == (album.version, sheet_size(2)[0])
    assert [job.attempts for job in jobs_of("make_thumbnail")] == [1, 1, 1, 2, 2, 2]


def test_half_a_file_is_never_seen(fieldbook: Path) -> None:
    storage = WholeFileStorage()
    storage.save("a/picture.jpg", file_of(b"whole"))

    class Breaks:
        name = "picture.jpg"

        def chunks(self) -> Any:
            yield b"ha"
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        storage._save("a/picture.jpg", Breaks())
    assert files(fieldbook) == {"a/picture.jpg": hashlib.sha256(b"whole").hexdigest()}


def file_of(data: bytes) -> Any:
    return ContentFile(data)
