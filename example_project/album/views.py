"""The album's page, its pictures, and what visitors may do to it."""

from __future__ import annotations

from pathlib import PurePath

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe

from dataqueue_django import get_queue
from example_project.access import open_in_demo

from . import shipped
from .changing import AlbumFull, Given, add_photos, remove_photo, try_again
from .forms import PhotoForm
from .models import Album, Photo, Thumbnail
from .pictures import BadPicture
from .watching import watch

REFRESH_SECONDS = 1
LONGEST_TITLE = 100

# The address of each picture on the page names its content, so a browser may keep it.
keep_picture = cache_control(private=True, max_age=24 * 3600)


@require_safe
@never_cache
@open_in_demo("album.view_photo")
def show_album(request: HttpRequest) -> HttpResponse:
    """Show the photographs; the page reloads itself until there is nothing new to come."""
    return _page(request, PhotoForm())


@require_POST
@open_in_demo("album.add_photo")
def add_shipped(request: HttpRequest) -> HttpResponse:
    """Add the photographs that come with the project."""
    return _add(request, PhotoForm(), [Given(one.read(), one.title, one.credit) for one in shipped.PHOTOS])


@require_POST
@open_in_demo("album.add_photo")
def upload(request: HttpRequest) -> HttpResponse:
    """Add a visitor's photograph, or say what is wrong with it."""
    form = PhotoForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, form, status=400)
    file = form.cleaned_data["photo"]
    title = form.cleaned_data["title"] or _title_of(file)
    return _add(request, form, [Given(file.read(), title, form.cleaned_data["credit"])])


@require_POST
@open_in_demo("album.delete_photo")
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a photograph out of the album, and its upcoming jobs out of the queue."""
    photo = get_object_or_404(Photo, pk=pk)
    cancelled = remove_photo(photo)
    jobs = (
        f" {_counted(cancelled, 'upcoming job')} {'was' if cancelled == 1 else 'were'} cancelled." if cancelled else ""
    )
    messages.info(request, f"“{photo.title}” was removed.{jobs}")
    return redirect("album:album")


@require_POST
@open_in_demo("album.change_photo")
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the missing thumbnails of a photograph tried again."""
    photo = get_object_or_404(Photo, pk=pk)
    again = try_again(photo)
    what = f"{_counted(again, 'thumbnail')} will be tried again" if again else "there is nothing to try again"
    messages.info(request, f"“{photo.title}”: {what}.")
    return redirect(photo)


@require_POST
@open_in_demo("album.change_photo")
def retry_sheet(request: HttpRequest) -> HttpResponse:
    """Have the contact sheet tried again."""
    album = get_object_or_404(Album, sheet_job_id__isnull=False)
    again = get_queue().retry_job(album.sheet_job_id)
    messages.info(request, "The contact sheet will be tried again." if again else "The contact sheet needs no retry.")
    return redirect("album:album")


@require_safe
@keep_picture
@open_in_demo("album.view_photo")
def thumbnail(request: HttpRequest, pk: int, size: int) -> FileResponse:
    """Show a photograph in one of its sizes."""
    return _picture(get_object_or_404(Thumbnail, photo=pk, size=size).file)


@require_safe
@keep_picture
@open_in_demo("album.view_photo")
def sheet(request: HttpRequest) -> FileResponse:
    """Show the contact sheet."""
    return _picture(get_object_or_404(Album).sheet)


def _add(request: HttpRequest, form: PhotoForm, given: list[Given]) -> HttpResponse:
    try:
        added, found = add_photos(given)
    except (AlbumFull, BadPicture) as why:
        form.full_clean()
        form.add_error(None, str(why))
        return _page(request, form, status=400)
    if found:
        there = f"“{found[0].title}” is" if len(found) == 1 else f"{len(found)} of these photographs are"
        messages.info(request, f"{there} in the album already, so nothing is added twice.")
    return redirect((added or found)[0])


def _page(request: HttpRequest, form: PhotoForm, status: int = 200) -> HttpResponse:
    watched = watch(Album.objects.first())
    context = {
        "form": form,
        "watched": watched,
        "shipped": shipped.PHOTOS,
        "refresh": REFRESH_SECONDS if watched.is_running and status == 200 and "still" not in request.GET else None,
    }
    return render(request, "album/album.html", context, status=status)


def _title_of(file: UploadedFile) -> str:
    """A title from a file name that anybody may have chosen."""
    stem = "".join(letter if letter.isprintable() else " " for letter in PurePath(file.name or "").stem)
    return " ".join(stem.replace("_", " ").split())[:LONGEST_TITLE] or "Untitled"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _picture(file: FieldFile) -> FileResponse:
    if not file:
        raise Http404("There is no such picture yet.")
    return FileResponse(file.open("rb"), content_type="image/jpeg")
