"""The work behind the album: a thumbnail for each photograph and size, and a contact sheet of them all.

    make_thumbnail 160 ──┐
    make_thumbnail 480 ──┤  whichever leaves none of the album's thumbnails open, finished or found impossible,
    make_thumbnail 960 ──┘  asks for make_contact_sheet in its own transaction

Any of them may run again: the same picture gives the same bytes, and nothing changes but what differs.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.fields.files import FieldFile

from dataqueue_django import GiveUp, JobContext, job

from .models import Album, Photo, Thumbnail
from .pictures import SHEET_CELL, BadPicture, Picture, contact_sheet, thumbnail


@job(takes_context=True, timeout=60, retry_delay=2, give_up_on=Photo.DoesNotExist)
def make_thumbnail(ctx: JobContext, photo_id: int, size: int, sha256: str) -> dict[str, Any]:
    """Make one photograph's thumbnail of one size, from the very bytes with this hash."""
    photo = Photo.objects.get(pk=photo_id)
    data = _content(photo.file)
    ctx.set_progress(20, "Read the picture")
    try:
        picture = _made(data, size, sha256)
    except BadPicture as why:
        _note_problem(photo, size, str(why))
        raise GiveUp(str(why)) from why  # the same bytes would fail again
    ctx.set_progress(80, "Made it smaller")
    ctx.signal.raise_if_aborted()
    _keep(photo, size, picture)
    ctx.set_progress(100, f"{picture.width} × {picture.height}")
    return {"width": picture.width, "height": picture.height, "bytes": len(picture.data), "sha256": picture.sha256}


@job(takes_context=True, timeout=120, max_attempts=5, retry_delay=2, give_up_on=Album.DoesNotExist)
def make_contact_sheet(ctx: JobContext, album_id: int, version: int) -> dict[str, Any]:
    """Put the album's smallest thumbnails on one sheet; does nothing when the album has changed meanwhile."""
    album = Album.objects.get(pk=album_id)
    if album.version != version:
        return {"outdated": True}  # the change asked for a sheet of its own, or its last thumbnail will
    sheet = contact_sheet([_content(one.file) for one in _on_sheet(album)])
    ctx.set_progress(80, "Drew the sheet")
    ctx.signal.raise_if_aborted()
    if not _keep_sheet(album_id, version, sheet):
        return {"outdated": True}
    ctx.set_progress(100, f"{sheet.width} × {sheet.height}")
    return {"width": sheet.width, "height": sheet.height, "bytes": len(sheet.data), "sha256": sheet.sha256}


def locked(album_id: int) -> Album:
    """Return the album for a change, once all others that are changing it have committed."""
    return Album.objects.select_for_update().get(pk=album_id)


def changed(album: Album) -> None:
    """Note in the caller's transaction that a locked album has changed: its sheet goes, and a new one is asked for.

    While thumbnails are still to come, asking is left to the last of them.
    """
    discard(album.sheet)
    album.sheet, album.sheet_version = "", None
    album.version += 1
    is_complete = not Thumbnail.objects.filter(photo__album=album, file="", problem="").exists()
    if is_complete and _on_sheet(album).exists():
        album.sheet_job_id = _ask_for_sheet(album)
    album.save()


def _ask_for_sheet(album: Album) -> int:
    bound = make_contact_sheet.using(idempotency_key=f"contact sheet {album.pk} {album.version}", tags=["album"])
    return bound.enqueue(album_id=album.pk, version=album.version).id


def discard(file: FieldFile) -> None:
    """Delete a file once the caller's transaction has committed."""
    if file:
        storage, name = file.storage, file.name
        transaction.on_commit(lambda: storage.delete(name), robust=True)


def _made(data: bytes, size: int, sha256: str) -> Picture:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadPicture("The stored file is not the one that was uploaded.")
    return thumbnail(data, size)


def _keep(photo: Photo, size: int, picture: Picture) -> None:
    """Record a thumbnail, its file being written first; the file goes again if the photograph is gone by now."""
    values = {"width": picture.width, "height": picture.height, "bytes": len(picture.data), "sha256": picture.sha256}
    field = Thumbnail._meta.get_field("file")
    # The name says what is inside, so a rename never puts other bytes under a name that a page already shows.
    name = field.generate_filename(None, f"{photo.pk}-{size}-{picture.sha256[:16]}.jpg")
    name = field.storage.save(name, ContentFile(picture.data))
    try:
        _settle(photo, size, file=name, problem="", **values)
    except Photo.DoesNotExist:
        field.storage.delete(name)
        raise


def _note_problem(photo: Photo, size: int, problem: str) -> None:
    _settle(photo, size, file="", problem=problem, width=0, height=0, bytes=0, sha256="")


def _settle(photo: Photo, size: int, **values: Any) -> None:
    """Write a thumbnail's outcome, if it is news; the last one of the album asks for the contact sheet."""
    with transaction.atomic():
        album = locked(photo.album_id)  # one after the other, to see the others
        row = Thumbnail.objects.filter(photo=photo, size=size).first()
        if row is None:
            raise Photo.DoesNotExist(f"Photo {photo.pk} was removed.")
        before = {name: row.file.name if name == "file" else getattr(row, name) for name in values}
        if before == values:
            return
        if row.file.name != values["file"]:
            discard(row.file)
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=list(values))
        changed(album)


def _keep_sheet(album_id: int, version: int, sheet: Picture) -> bool:
    """Record the sheet unless the album has changed; return whether it was recorded."""
    field = Album._meta.get_field("sheet")
    name = field.generate_filename(None, f"{album_id}-{version}-{sheet.sha256[:16]}.jpg")
    name = field.storage.save(name, ContentFile(sheet.data))
    with transaction.atomic():
        album = locked(album_id)
        if album.version != version:
            field.storage.delete(name)
            return False
        if album.sheet.name != name:
            discard(album.sheet)
        album.sheet = name
        album.sheet_version, album.sheet_sha256 = version, sheet.sha256
        album.sheet_width, album.sheet_height, album.sheet_bytes = sheet.width, sheet.height, len(sheet.data)
        album.save()
        return True


def _on_sheet(album: Album) -> QuerySet[Thumbnail]:
    """The thumbnails that the album's sheet shows, in its order."""
    return Thumbnail.objects.filter(photo__album=album, size=SHEET_CELL).exclude(file="").order_by("photo_id")


def _content(file: FieldFile) -> bytes:
    with file.open("rb") as opened:
        return opened.read()
