"""What strangers send: previews and patterns that end, those that are stopped, and who may send them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image

from dataqueue_django import FailureReason, Job, JobStatus, get_queue
from dataqueue_django.testing import run_job
from example_project.album.storages import whole_files
from example_project.untrusted.bombs import bomb
from example_project.untrusted.forms import MAX_SCAN_BYTES, SENTENCE, WITHOUT_END
from example_project.untrusted.jobs import preview_name, preview_scan, scan_name, try_pattern

from .conftest import rows_of_every_table
from .drawing import encoded

pytestmark = pytest.mark.django_db(transaction=True)

PAGE, SCAN, BOMB, PATTERN = (reverse(f"untrusted:{name}") for name in ("untrusted", "upload", "upload_bomb", "pattern"))
POSTS = (SCAN, BOMB, PATTERN)
ENDLESS = {"pattern": WITHOUT_END, "text": SENTENCE}


@pytest.fixture(autouse=True)
def guard_of_pillow() -> Iterator[None]:
    """Put the guard back that a handler lifts in its process: without isolation that is this one."""
    before = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture
def little_memory(settings: Any) -> None:
    """The memory that the example's own settings give."""
    alias = settings.DATAQUEUE["default"]
    worker = {**alias.get("WORKER", {}), "ISOLATE_MEMORY": 1024}
    settings.DATAQUEUE = {**settings.DATAQUEUE, "default": {**alias, "WORKER": worker}}


def upload(client: Client, data: bytes) -> Any:
    return client.post(SCAN, {"scan": SimpleUploadedFile("plan.png", data)}, follow=True)


def latest() -> Job:
    [job] = get_queue().get_all_jobs(limit=1)
    return job


def plan(width: int = 1000, height: int = 1400) -> bytes:
    return encoded(Image.new("1", (width, height), 1), "PNG")


def test_a_bomb_is_small_and_whole() -> None:
    """What it claims it holds: a decoder that reads it to its end finds nothing wrong."""
    assert len(bomb()) < 200_000
    with Image.open(io.BytesIO(bomb(1001))) as image:
        image.load()
        assert (image.size, image.getextrema()) == ((1001, 1001), (0, 0))


@pytest.mark.usefixtures("little_memory")
def test_a_bomb_is_stopped_and_the_page_says_why(demo: Client, work: Callable[[], None]) -> None:
    demo.post(BOMB)
    work()
    job = latest()
    assert (job.status, job.failure_reason, job.attempts) == (JobStatus.FAILED, FailureReason.HANDLER_ERROR, 1)
    assert job.error_history[-1]["type"] == "MemoryError"
    assert "MemoryError" in demo.get(PAGE).content.decode()


def test_a_pattern_without_end_is_stopped_and_others_go_on(demo: Client, work: Callable[[], None]) -> None:
    demo.post(PATTERN, ENDLESS)
    demo.post(PATTERN, {"pattern": r"\w+ far", "text": SENTENCE})
    work()
    other, job = get_queue().get_all_jobs()
    assert (job.status, job.failure_reason, job.attempts) == (JobStatus.FAILED, FailureReason.TIMEOUT, 1)
    assert (other.status, other.output) == (JobStatus.COMPLETED, "are far")
    assert other.finished_at < job.finished_at
    page = demo.get(PAGE).content.decode()
    assert "ran longer than 2 s" in page
    assert "Matches “are far”" in page
    assert 'http-equiv="refresh"' not in page


@pytest.mark.usefixtures("little_memory")
def test_a_scan_gets_its_preview_in_another_process(demo: Client, work: Callable[[], None]) -> None:
    page = upload(demo, plan()).content.decode()
    assert 'http-equiv="refresh"' in page
    work()
    job = latest()
    assert (job.status, job.output) == (JobStatus.COMPLETED, {"width": 457, "height": 640}), job.error_history
    [link] = re.findall(r'href="([^"]+\.jpg)"', demo.get(PAGE).content.decode())
    answer = demo.get(link)
    assert answer["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(b"".join(answer.streaming_content))) as image:  # type: ignore[attr-defined]
        assert image.size == (457, 640)


@pytest.mark.parametrize("data", [b"no picture", plan()[:-40], encoded(Image.new("RGB", (9, 9)), "JPEG")])
def test_what_is_no_scan_is_given_up(data: bytes) -> None:
    whole_files().save(scan_name("a"), ContentFile(data))
    done = run_job(preview_scan.enqueue(sha256="a"))
    assert (done.status, done.failure_reason) == (JobStatus.FAILED, FailureReason.GIVEN_UP)
    assert "not a PNG picture" in done.error_history[-1]["message"]
    assert not whole_files().exists(preview_name("a"))


def test_what_is_no_pattern_is_given_up() -> None:
    done = run_job(try_pattern.enqueue(pattern="(", text="x"))
    assert (done.status, done.failure_reason) == (JobStatus.FAILED, FailureReason.GIVEN_UP)
    assert "no regular expression" in done.error_history[-1]["message"]
    assert run_job(try_pattern.enqueue(pattern="y", text="x")).output is None


def test_strangers_are_asked_to_log_in(client: Client) -> None:
    before = rows_of_every_table()
    answers = [client.get(PAGE), client.get(reverse("untrusted:preview", args=["a"])), *map(client.post, POSTS)]
    assert {answer.status_code for answer in answers} == {302}
    assert rows_of_every_table() == before


@pytest.mark.parametrize(("permission", "page", "post"), [("view_job", 200, 403), ("add_job", 403, 302)])
def test_looking_and_sending_have_permissions_of_their_own(
    client: Client, permission: str, page: int, post: int
) -> None:
    user = User.objects.create_user("somebody")
    user.user_permissions.add(Permission.objects.get(codename=permission, content_type__app_label="dataqueue"))
    client.force_login(user)
    assert client.get(PAGE).status_code == page
    assert client.post(PATTERN, ENDLESS).status_code == post


def test_sending_takes_a_post_with_its_token(settings: Any) -> None:
    settings.DEBUG = True
    client = Client(enforce_csrf_checks=True)
    before = rows_of_every_table()
    assert [client.post(url).status_code for url in POSTS] == [403] * 3
    assert [client.get(url).status_code for url in POSTS] == [405] * 3
    assert rows_of_every_table() == before


def test_what_is_too_large_or_missing_is_told(demo: Client) -> None:
    for answer, reason in (
        (upload(demo, b"\0" * (MAX_SCAN_BYTES + 1)), "larger than 10 MiB"),
        (demo.post(SCAN), "Choose a scan first."),
        (demo.post(PATTERN, {"pattern": "x" * 201, "text": "x"}), "at most 200 characters"),
    ):
        assert answer.status_code == 400
        assert reason in answer.content.decode()
    assert get_queue().count_jobs() == 0
    assert demo.get(reverse("untrusted:preview", args=["a"])).status_code == 404


def test_the_page_holds_no_foreign_markup(demo: Client) -> None:
    demo.post(PATTERN, {"pattern": "<script>alert(1)</script>", "text": "x"})
    page = demo.get(PAGE).content.decode()
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)
