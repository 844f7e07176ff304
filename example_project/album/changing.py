"""What visitors do to the album, each in one transaction with what it asks of the queue."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from django.core.files.base import ContentFile
from django.db import transaction

from dataqueue_django import get_queue

from .jobs import changed, discard, locked, make_thumbnail
from .models import Album, Photo, Thumbnail
from .pictures import SIZES, facts_of

MOST_PHOTOS = 60
ONLY = 1
"""The key of the one album."""

PRIORITIES = dict(zip(SIZES, (20, 10, 0), strict=True))
"""The small ones first: the page shows them."""


class AlbumFull(Exception):
    """There is no room for another photograph; the message is meant for the visitor."""


class Given(NamedTuple):
    """A picture's bytes, and what to write below it."""

    data: bytes
    title: str
    credit: str = ""


def add_photos(given: Iterable[Given]) -> tuple[list[Photo], list[Photo]]:
    """Add pictures and a job for each of their thumbnails; return those added and those that were there before.

    All or none. Raises BadPicture for one that is not acceptable, and AlbumFull.
    """
    added: list[Photo] = []
    found: list[Photo] = []
    try:
        with transaction.atomic():
            Album.objects.get_or_create(pk=ONLY)
            album = locked(ONLY)
            for one in given:
                sha256 = hashlib.sha256(one.data).hexdigest()
                if known := album.photos.filter(sha256=sha256).first():
                    found.append(known)
                else:
                    added.append(_add(album, one, sha256))
            if added:
                changed(album)
    except BaseException:
        for photo in added:
            photo.file.storage.delete(photo.file.name)  # files know nothing of transactions
        raise
    return added, found


def remove_photo(photo: Photo) -> int:
    """Take a photograph out of the album, with its files and its upcoming jobs; return how many jobs were cancelled.

    A job that is running finds the photograph gone and gives up.
    """
    with transaction.atomic():
        album = locked(photo.album_id)
        for one in photo.thumbnails.all():
            discard(one.file)
        discard(photo.file)
        cancelled: int = get_queue().cancel_all_upcoming_jobs({"tags": [_tag(photo)]})
        photo.delete()
        changed(album)
    return cancelled


def try_again(photo: Photo) -> int:
    """Retry the jobs of the thumbnails that are missing; return how many will run again."""
    queue = get_queue()
    with transaction.atomic():
        album = locked(photo.album_id)
        missing = photo.thumbnails.filter(file="").exclude(job_id=None)
        again = [one.pk for one in missing if queue.retry_job(one.job_id)]
        if again:
            Thumbnail.objects.filter(pk__in=again).update(problem="")
            changed(album)
    return len(again)


def _add(album: Album, given: Given, sha256: str) -> Photo:
    if album.photos.count() >= MOST_PHOTOS:
        raise AlbumFull(f"The album holds {MOST_PHOTOS} photographs, which is the limit; remove one first.")
    facts = facts_of(given.data)
    photo = Photo(
        album=album,
        title=given.title,
        credit=given.credit,
        width=facts.width,
        height=facts.height,
        bytes=len(given.data),
        sha256=sha256,
    )
    # A name of our own: what the visitor's file was called reaches no file system.
    photo.file.save(f"{secrets.token_hex(16)}.{facts.ending}", ContentFile(given.data), save=False)
    photo.save()
    _ask_for_thumbnails(photo)
    return photo


def _ask_for_thumbnails(photo: Photo) -> None:
    """Store a row and a job for each size."""
    job_ids = get_queue().add_jobs(
        {
            "job_type": make_thumbnail.job_type,
            "payload": {"photo_id": photo.pk, "size": size, "sha256": photo.sha256},
            "idempotency_key": f"thumbnail {photo.pk} {size} {photo.sha256}",
            "priority": PRIORITIES[size],
            "tags": ["album", _tag(photo)],
        }
        for size in SIZES
    )
    Thumbnail.objects.bulk_create(
        Thumbnail(photo=photo, size=size, job_id=job_id) for size, job_id in zip(SIZES, job_ids, strict=True)
    )


def _tag(photo: Photo) -> str:
    return f"photo-{photo.pk}"
