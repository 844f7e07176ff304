"""Who may do what to the album, what a visitor is told, and what a hostile upload cannot do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dataqueue_django import get_queue
from example_project.album import shipped
from example_project.album.changing import Given, add_photos
from example_project.album.jobs import make_contact_sheet
from example_project.album.models import Album, Photo, Thumbnail
from example_project.album.pictures import MAX_BYTES

from .drawing import SVG, bomb, cut_off, encoded, jpeg
from .drawing import drawn as picture

pytestmark = pytest.mark.django_db

PAGE, SHIPPED, UPLOAD, SHEET, RETRY_SHEET = (
    reverse(f"album:{name}") for name in ("album", "add_shipped", "upload", "sheet", "retry_sheet")
)
SCRIPT = "<script>alert(1)</script>"
DEEDS = ("remove", "retry")


@pytest.fixture
def demo(settings: Any, client: Client) -> Client:
    """A visitor of the demo, where DEBUG is on and nobody has to log in."""
    settings.DEBUG = True
    return client


def upload(client: Client, data: bytes, name: str = "a.jpg", **fields: str) -> Any:
    return client.post(UPLOAD, {"photo": SimpleUploadedFile(name, data), **fields}, follow=True)


def deed(name: str, photo: Photo | None = None) -> str:
    return reverse(f"album:{name}", args=[photo.pk if photo else 1])


def added(*pictures: bytes) -> list[Photo]:
    return add_photos(Given(data, f"Picture {n}") for n, data in enumerate(pictures))[0]


def rows_of_every_table() -> dict[str, list[Any]]:
    return {model._meta.label: list(model.objects.values()) for model in apps.get_models() if model.objects.exists()}


def user_who_may(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user("somebody")
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


class TestPermissions:
    """Outside the demo."""

    def test_strangers_are_asked_to_log_in(self, client: Client) -> None:
        (photo,) = added(jpeg())
        before = rows_of_every_table()
        pages = [PAGE, SHEET, reverse("album:thumbnail", args=[photo.pk, 160])]
        answers = [client.get(url) for url in pages]
        answers += [client.post(url) for url in [SHIPPED, UPLOAD, RETRY_SHEET, *(deed(name, photo) for name in DEEDS)]]
        assert {answer.status_code for answer in answers} == {302}
        assert all(answer["Location"].startswith(reverse("admin:login")) for answer in answers)
        assert rows_of_every_table() == before

    @pytest.mark.parametrize(
        ("permission", "allowed"),
        [("view_photo", []), ("add_photo", [SHIPPED]), ("delete_photo", ["remove"]), ("change_photo", ["retry"])],
    )
    def test_each_deed_has_its_own_permission(self, client: Client, permission: str, allowed: list[str]) -> None:
        (photo,) = added(jpeg())
        user_who_may(client, permission)
        for name, url in [("retry", deed("retry", photo)), ("remove", deed("remove", photo)), (SHIPPED, SHIPPED)]:
            assert client.post(url).status_code == (302 if name in allowed else 403), name
        assert client.get(PAGE).status_code == (200 if permission == "view_photo" else 403)

    def test_photographs_are_only_looked_at_in_the_admin(self, admin_client: Client) -> None:
        (photo,) = added(jpeg())
        assert admin_client.get(reverse("admin:album_photo_changelist")).status_code == 200
        for name in ("change", "delete"):
            url = reverse(f"admin:album_photo_{name}", args=[photo.pk])
            assert admin_client.post(url, {"post": "yes"}).status_code == 403


class TestRequests:
    """What kind of request may do what."""

    def test_each_form_needs_its_token(self, settings: Any) -> None:
        settings.DEBUG = True
        (photo,) = added(jpeg())
        before = rows_of_every_table()
        client = Client(enforce_csrf_checks=True)
        for url in [SHIPPED, RETRY_SHEET, *(deed(name, photo) for name in DEEDS)]:
            assert client.post(url).status_code == 403
        assert upload(client, jpeg(40, 30)).status_code == 403
        assert rows_of_every_table() == before

    @pytest.mark.parametrize("url", [SHIPPED, UPLOAD, RETRY_SHEET, *(deed(name) for name in DEEDS)])
    def test_changing_takes_a_post(self, demo: Client, url: str) -> None:
        assert demo.get(url).status_code == demo.head(url).status_code == 405

    def test_looking_changes_nothing(self, demo: Client) -> None:
        assert demo.get(PAGE).status_code == 200
        assert not Album.objects.exists()
        added(jpeg())
        before = rows_of_every_table()
        demo.get(PAGE)
        demo.head(PAGE)
        assert rows_of_every_table() == before

    def test_what_is_not_there_is_not_found(self, demo: Client) -> None:
        for url in (SHEET, reverse("album:thumbnail", args=[1, 160]), reverse("album:thumbnail", args=[1, 161])):
            assert demo.get(url).status_code == 404
        for url in (RETRY_SHEET, *(deed(name) for name in DEEDS)):
            assert demo.post(url).status_code == 404
        (photo,) = added(jpeg())
        assert demo.get(reverse("album:thumbnail", args=[photo.pk, 160])).status_code == 404

    def test_the_page_costs_the_same_whatever_it_shows(self, demo: Client) -> None:
        counts = []
        for width in (30, 40, 50):
            added(jpeg(width, 30))
            with CaptureQueriesContext(connection) as queries:
                demo.get(PAGE)
            counts.append(len(queries))
        assert counts[0] == counts[1] == counts[2] <= 6


class TestUploading:
    """A file becomes a photograph and jobs, or a sentence."""

    def test_a_picture_is_kept_under_a_name_of_ours(self, demo: Client) -> None:
        page = upload(demo, jpeg(), "../../evil name.php.jpg", credit="Somebody, CC0")
        photo = Photo.objects.get()
        assert re.fullmatch(r"album/photos/[0-9a-f]{32}\.jpg", photo.file.name)
        assert (photo.title, photo.credit, photo.width, photo.height) == ("evil name.php", "Somebody, CC0", 300, 200)
        assert photo.file.open().read() == jpeg()
        photo.file.close()
        assert "Its thumbnails are on their way." in page.content.decode()
        assert 'http-equiv="refresh"' in page.content.decode()
        assert 'http-equiv="refresh"' not in demo.get(PAGE, {"still": ""}).content.decode()

    def test_the_ending_is_that_of_the_content(self, demo: Client) -> None:
        upload(demo, encoded(picture(30, 20), "PNG"), "a.jpg")
        assert Photo.objects.get().file.name.endswith(".png")

    def test_the_same_picture_is_there_once(self, demo: Client) -> None:
        upload(demo, jpeg(), "a.jpg")
        again = upload(demo, jpeg(), "b.jpg")
        assert "in the album already" in again.content.decode()
        assert (Photo.objects.count(), get_queue().count_jobs()) == (1, 3)

    def test_one_button_adds_what_is_shipped_once(self, demo: Client) -> None:
        page = demo.post(SHIPPED, follow=True).content.decode()
        assert (Photo.objects.count(), get_queue().count_jobs()) == (6, 18)
        assert [re.sub("<.*?>", " ", text).split("  ")[1] for text in re.findall("<figcaption>(.*?)</span>", page)] == [
            one.credit for one in shipped.PHOTOS
        ]
        assert "6 of these photographs are" in demo.post(SHIPPED, follow=True).content.decode()
        assert get_queue().count_jobs() == 18

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "The file is empty."),
            (b"no picture", "The file is not a JPEG or PNG picture."),
            (SVG, "The file is not a JPEG or PNG picture."),
            (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "The file is not a JPEG or PNG picture."),
            (bomb(), "The picture has more than 40 million pixels, which is the limit."),
            (b"\xff" * (MAX_BYTES + 1), "The file is larger than 10 MiB, which is the limit."),
            (b"\xff" * (MAX_BYTES + 2**20), "The file is larger than 10 MiB, which is the limit."),
        ],
        ids=["empty", "text", "svg", "gif", "bomb", "too large", "much too large"],
    )
    def test_what_is_no_picture_is_refused(self, demo: Client, fieldbook: Any, data: bytes, reason: str) -> None:
        answer = upload(demo, data)
        assert answer.status_code == 400
        assert reason in answer.content.decode()
        assert not Photo.objects.exists()
        assert not list(fieldbook.rglob("*.*"))

    def test_no_file_is_told_as_well(self, demo: Client) -> None:
        answer = demo.post(UPLOAD)
        assert answer.status_code == 400
        assert "Choose a photograph first." in answer.content.decode()

    def test_a_full_album_is_told(self, demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("example_project.album.changing.MOST_PHOTOS", 0)
        answer = upload(demo, jpeg())
        assert answer.status_code == 400
        assert "remove one first" in answer.content.decode()

    @pytest.mark.parametrize("name", ["\u202egpj.exe", "_.jpg", "a\tb\x07.jpg", f"{'x' * 240}.jpg"])
    def test_strange_file_names_become_plain_titles(self, demo: Client, name: str) -> None:
        assert upload(demo, jpeg(), name).status_code == 200
        title = Photo.objects.get().title
        assert title.isprintable()
        assert 1 <= len(title) <= 100


@pytest.mark.django_db(transaction=True)
class TestSeeing:
    """What comes of it."""

    def test_pictures_are_sent_as_pictures(self, demo: Client, work: Callable[[], None]) -> None:
        (photo,) = added(jpeg())
        work()
        for url in (SHEET, *(reverse("album:thumbnail", args=[photo.pk, size]) for size in (160, 480, 960))):
            answer = demo.get(url)
            data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
            assert data.startswith(b"\xff\xd8\xff")
            assert answer["Content-Type"] == "image/jpeg"
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert "private" in answer["Cache-Control"]
            assert f"{url}?" in demo.get(PAGE).content.decode()

    def test_a_broken_picture_is_shown_and_can_be_tried_again(self, demo: Client, work: Callable[[], None]) -> None:
        upload(demo, cut_off())
        work()
        photo = Photo.objects.get()
        page = demo.get(PAGE).content.decode()
        assert "This picture cannot be shown." in page
        assert "The picture is damaged or cut off." in page
        assert 'http-equiv="refresh"' not in page
        assert get_queue().count_jobs_by("status") == {"failed": 3}
        again = demo.post(deed("retry", photo), follow=True).content.decode()
        assert "3 thumbnails will be tried again" in again
        assert get_queue().count_jobs_by("status") == {"pending": 3}
        nothing = demo.post(deed("retry", photo), follow=True).content.decode()
        assert "there is nothing to try again" in nothing

    def test_a_sheet_that_failed_can_be_tried_again(self, demo: Client, work: Callable[[], None]) -> None:
        (photo,) = added(jpeg())
        work()
        album = Album.objects.get()
        small = Thumbnail.objects.get(photo=photo, size=160)
        data = small.file.open().read()
        small.file.storage.save(small.file.name, ContentFile(b"broken"))
        small.file.close()
        Album.objects.update(sheet_version=None)
        job = make_contact_sheet.using(max_attempts=1).enqueue(album_id=album.pk, version=album.version)
        Album.objects.update(sheet_job_id=job.id)
        work()
        page = demo.get(PAGE).content.decode()
        assert "The contact sheet could not be made." in page
        small.file.storage.save(small.file.name, ContentFile(data))
        assert "will be tried again" in demo.post(RETRY_SHEET, follow=True).content.decode()
        work()
        assert Album.objects.get().sheet_version == album.version
        assert "needs no retry" in demo.post(RETRY_SHEET, follow=True).content.decode()

    def test_removing_cancels_and_says_so(self, demo: Client) -> None:
        (photo,) = added(jpeg())
        page = demo.post(deed("remove", photo), follow=True).content.decode()
        assert "“Picture 0” was removed. 3 upcoming jobs were cancelled." in page
        assert get_queue().count_jobs_by("status") == {"cancelled": 3}
        assert not Photo.objects.exists()

    def test_the_page_holds_no_foreign_markup_and_no_inline_code(self, demo: Client, work: Callable[[], None]) -> None:
        upload(demo, jpeg(), title=SCRIPT, credit=SCRIPT)
        upload(demo, cut_off(), title=f'"{SCRIPT}', credit=f'"{SCRIPT}')
        for _ in range(2):
            page = demo.get(PAGE).content.decode()
            assert "&lt;script&gt;" in page
            assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
            work()
