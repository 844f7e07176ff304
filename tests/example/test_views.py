"""Who may do what, what a visitor is told, and what hostile cells cannot do."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from dataqueue_django import get_queue
from example_project.fieldbook.models import Airport, Import
from example_project.fieldbook.reading import MAX_BYTES
from example_project.uploads import BoundedUploadHandler

from .conftest import csv_file

pytestmark = pytest.mark.django_db

HOME, SHIPPED, UPLOAD = (reverse(f"fieldbook:{name}") for name in ("home", "import_shipped", "import_upload"))
GOOD = "ZZ1,Field,Town,NY,USA,40,-70"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def demo(settings: Any, client: Client) -> Client:
    """A visitor of the demo, where DEBUG is on and nobody has to log in."""
    settings.DEBUG = True
    return client


def upload(client: Client, data: bytes, name: str = "a.csv") -> Any:
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, data)}, follow=True)


def rows_of_every_table() -> dict[str, list[Any]]:
    return {model._meta.label: list(model.objects.values()) for model in apps.get_models() if model.objects.exists()}


def all_pages(record: Import | None) -> list[str]:
    named = [] if record is None else [reverse(f"fieldbook:{n}", args=[record.pk]) for n in PAGES_OF_AN_IMPORT]
    return [HOME, *named]


PAGES_OF_AN_IMPORT = ("import", "rejects_file", "report_file")


class TestPermissions:
    """Outside the demo."""

    @pytest.mark.parametrize("url", [SHIPPED, UPLOAD])
    def test_strangers_are_asked_to_log_in(self, client: Client, url: str) -> None:
        answer = client.post(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("admin:login"))
        assert not Import.objects.exists()

    def test_strangers_see_no_page(self, client: Client) -> None:
        record = Import.objects.create(name="a.csv", sha256="0")
        for url in all_pages(record):
            assert client.get(url)["Location"].startswith(reverse("admin:login")), url

    def test_who_may_view_may_not_import(self, client: Client, django_user_model: type[User]) -> None:
        user = django_user_model.objects.create_user("viewer")
        user.user_permissions.add(Permission.objects.get(codename="view_import"))
        client.force_login(user)
        assert client.get(HOME).status_code == 200
        assert client.post(SHIPPED).status_code == 403
        assert not Import.objects.exists()

    def test_who_may_add_imports_may_import(self, client: Client, django_user_model: type[User]) -> None:
        user = django_user_model.objects.create_user("editor")
        user.user_permissions.add(*Permission.objects.filter(codename__in=["view_import", "add_import"]))
        client.force_login(user)
        assert client.post(SHIPPED).status_code == 302
        assert Import.objects.count() == 1

    def test_imports_are_only_looked_at_in_the_admin(self, admin_client: Client) -> None:
        record = Import.objects.create(name="a.csv", sha256="0")
        change = reverse("admin:fieldbook_import_change", args=[record.pk])
        assert admin_client.get(change).status_code == 200
        for url in (change, reverse("admin:fieldbook_import_delete", args=[record.pk])):
            assert admin_client.post(url, {"post": "yes"}).status_code == 403

    def test_the_admin_lists_airports(self, admin_client: Client) -> None:
        Airport.objects.create(iata="ZZ1", name=SCRIPT, state="NY", latitude=1, longitude=1)
        page = admin_client.get(reverse("admin:fieldbook_airport_changelist"), {"q": "ZZ1"}).content.decode()
        assert "ZZ1" in page
        assert SCRIPT not in page


class TestRequests:
    """What kind of request may do what."""

    @pytest.mark.parametrize("url", [SHIPPED, UPLOAD])
    def test_a_form_needs_its_token(self, settings: Any, url: str) -> None:
        settings.DEBUG = True
        answer = Client(enforce_csrf_checks=True).post(url, {"file": SimpleUploadedFile("a.csv", csv_file(GOOD))})
        assert answer.status_code == 403
        assert not Import.objects.exists()

    def test_with_its_token_it_works(self, settings: Any) -> None:
        settings.DEBUG = True
        client = Client(enforce_csrf_checks=True)
        client.get(HOME)
        token = client.cookies["csrftoken"].value
        assert client.post(SHIPPED, {"csrfmiddlewaretoken": token}).status_code == 302
        assert Import.objects.count() == 1

    @pytest.mark.parametrize("url", [SHIPPED, UPLOAD])
    def test_importing_takes_a_post(self, demo: Client, url: str) -> None:
        assert demo.get(url).status_code == 405
        assert not Import.objects.exists()

    @pytest.mark.parametrize("url", [HOME, f"{HOME}imports/1/"])
    def test_pages_take_no_post(self, demo: Client, url: str) -> None:
        assert demo.post(url).status_code == 405

    def test_looking_changes_nothing(self, demo: Client) -> None:
        upload(demo, csv_file(GOOD))
        before = rows_of_every_table()
        for url in all_pages(Import.objects.get()):
            demo.get(url)
            demo.head(url)
        assert rows_of_every_table() == before

    def test_an_unknown_import_is_not_found(self, demo: Client) -> None:
        for name in PAGES_OF_AN_IMPORT:
            assert demo.get(reverse(f"fieldbook:{name}", args=[999])).status_code == 404

    def test_files_that_are_not_there_yet_are_not_found(self, demo: Client) -> None:
        upload(demo, csv_file(GOOD))
        _, rejects, report = all_pages(Import.objects.get())[1:]
        assert {demo.get(rejects).status_code, demo.get(report).status_code} == {404}


class TestStarting:
    """A file becomes an import and a job."""

    def test_the_import_and_its_job_are_stored_together(self, demo: Client) -> None:
        upload(demo, csv_file(GOOD))
        record = Import.objects.get()
        job = get_queue().get_job(record.job_id or 0)
        assert job is not None
        assert (job.job_type, job.payload) == ("import_airports", {"import_id": record.pk})

    def test_the_same_file_is_the_same_import(self, demo: Client) -> None:
        first = upload(demo, csv_file(GOOD), "a.csv")
        again = upload(demo, csv_file(GOOD), "b.csv")
        assert first.request["PATH_INFO"] == again.request["PATH_INFO"]
        assert "came before" not in first.content.decode()
        assert "came before" in again.content.decode()
        assert Import.objects.count() == 1

    def test_another_file_is_another_import(self, demo: Client) -> None:
        upload(demo, csv_file(GOOD))
        upload(demo, csv_file(GOOD, "ZZ2,Field,Town,NY,USA,40,-70"))
        assert Import.objects.count() == 2

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "The file is empty."),
            (b"\xff\xfe", "not UTF-8"),
            (b"a,b\n1,2", "Missing: iata"),
            (csv_file(GOOD) + b"\n" * 2**21, "larger than 2 MiB"),
            (b"x" * 2**23, "larger than 2 MiB"),
        ],
    )
    def test_a_file_that_cannot_be_imported_is_refused(self, demo: Client, data: bytes, reason: str) -> None:
        answer = upload(demo, data)
        assert answer.status_code == 400
        assert reason in answer.content.decode()
        assert not Import.objects.exists()

    def test_no_file_is_told_as_well(self, demo: Client) -> None:
        answer = demo.post(UPLOAD)
        assert answer.status_code == 400
        assert "Choose a CSV file first." in answer.content.decode()

    def test_a_page_with_an_open_import_reloads_until_told_not_to(self, demo: Client) -> None:
        page = upload(demo, csv_file(GOOD)).content.decode()
        assert 'http-equiv="refresh"' in page
        assert "Waiting for a worker" in page
        still = demo.get(all_pages(Import.objects.get())[1], {"still": ""}).content.decode()
        assert 'http-equiv="refresh"' not in still


@pytest.mark.django_db(transaction=True)
class TestHostileCells:
    """A file is written by a stranger, and read by people with browsers and spreadsheets."""

    def test_nothing_is_run_by_the_browser(self, demo: Client, work: Callable[[], None]) -> None:
        rows = [
            f"ZZ1,{SCRIPT},{SCRIPT},NY,{SCRIPT},40,-70",
            f"{SCRIPT},{SCRIPT},{SCRIPT},{SCRIPT},{SCRIPT},{SCRIPT},{SCRIPT}",
        ]
        upload(demo, csv_file(*rows), f"{SCRIPT}.csv".replace("/", "_"))
        Import.objects.update(name=f"{SCRIPT}.csv")
        work()
        for url in all_pages(Import.objects.get())[:2]:
            page = demo.get(url).content.decode()
            assert "&lt;script&gt;" in page
            assert "<script" not in page

    def test_nothing_is_run_by_a_spreadsheet(self, demo: Client, work: Callable[[], None]) -> None:
        rows = ['ZZ1,"=HYPERLINK(""http://example.com"")",Town,NY,USA,40,-70', "=1,+1+1,-1+1,@A1,\t=1,=2,=3"]
        upload(demo, csv_file(*rows))
        work()
        for url in all_pages(Import.objects.get())[2:]:
            answer = demo.get(url)
            assert answer["Content-Disposition"].startswith("attachment")
            assert answer["Content-Type"] == "text/csv; charset=utf-8"
            assert answer["X-Content-Type-Options"] == "nosniff"
            text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
            cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
            assert any(cell.startswith("'=") for cell in cells)
            assert not [cell for cell in cells if cell.startswith(("=", "@")) or cell in ("+1+1", "-1+1")]


def test_an_upload_is_not_kept_beyond_the_limit() -> None:
    for field, most in (("file", MAX_BYTES), ("photo", 10 * 2**20), ("unknown", 0)):
        handler = BoundedUploadHandler()
        handler.new_file(field, "a.csv", "text/csv", None)
        assert handler.receive_data_chunk(b"x", most) == b"x"
        assert handler.receive_data_chunk(b"x", most + 1) is None
