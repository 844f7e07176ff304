"""The nightly digest: what it counts, when it is written, and who may start and stop it.

The settings of the tests leave the app out: every worker of every test would store its schedule, and fire it at night.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

import example_project.digest
from dataqueue_django import Job, get_queue
from dataqueue_django.domain.records import CronSchedule
from dataqueue_django.handlers import registry
from dataqueue_django.models import CronSchedule as ScheduleRow
from dataqueue_django.testing import run_job
from example_project.album.models import Album, Photo
from example_project.album.storages import whole_files
from example_project.digest.days import Day, next_change
from example_project.digest.names import SCHEDULE
from example_project.digest.numbers import STATUSES, Numbers, numbers_of
from example_project.fieldbook.models import Chunk, Import
from example_project.refunds.models import LedgerEntry, Refund

from .conftest import job_of, rows_of_every_table

pytestmark = pytest.mark.django_db(transaction=True)

PAGE, RUN, PAUSE, RESUME = (reverse(f"digest:{name}") for name in ("digest", "run", "pause", "resume"))
BERLIN = ZoneInfo("Europe/Berlin")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _installed(settings: Any) -> Iterator[None]:
    """The app's handler and templates, for the length of a test; its zone is one whose clocks change at two."""
    settings.TIME_ZONE = BERLIN.key
    templates = Path(example_project.digest.__file__).parent / "templates"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [templates]}]
    from example_project.digest import jobs

    if registry.get(SCHEDULE) is None:
        registry.register(jobs.write_digest.handler)
    yield
    registry.remove(SCHEDULE)


@pytest.fixture
def schedule() -> CronSchedule:
    """The schedule, as a worker stores it when it starts."""
    get_queue().declare_cron_jobs()
    return kept()


@pytest.fixture
def staff(demo: Client) -> Client:
    """Somebody who may pause it."""
    user = User.objects.create_user("ann", is_staff=True)
    user.user_permissions.add(permission("pause_cronschedule"))
    demo.force_login(user)
    return demo


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename, content_type__app_label="dataqueue")


def kept() -> CronSchedule:
    found = get_queue().get_cron_job_by_name(SCHEDULE)
    assert found is not None
    return found


def latest() -> Job:
    [job] = get_queue().get_jobs({"job_type": SCHEDULE}, limit=1)
    return job


def text_of(client: Client, **query: Any) -> str:
    answer = client.get(PAGE, query)
    assert answer.status_code == 200
    return answer.content.decode()


def number(text: str, id: str) -> str:
    found = re.search(rf'id="{id}">([^<]*)<', text)
    assert found is not None
    return found[1]


def due(at: datetime) -> None:
    ScheduleRow.objects.filter(schedule_name=SCHEDULE).update(next_run_at=at, last_tick_at=None)


def last_night() -> datetime:
    """The last two o'clock in Berlin."""
    now = datetime.now(BERLIN)
    at = now.replace(hour=2, minute=0, second=0, microsecond=0)
    return (at if at <= now else at - timedelta(days=1)).astimezone(UTC)


# -- days and clocks


@pytest.mark.parametrize(
    ("tick", "day", "hours"),
    [
        (datetime(2026, 11, 29, 1, tzinfo=UTC), date(2026, 11, 28), 24),
        (datetime(2027, 3, 29, 0, tzinfo=UTC), date(2027, 3, 28), 23),
        (datetime(2027, 11, 1, 1, tzinfo=UTC), date(2027, 10, 31), 25),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(tick: datetime, day: date, hours: int) -> None:
    found = Day.before(tick, BERLIN)
    assert (found.date, found.hours, found.is_over) == (day, hours, True)
    assert found.since.astimezone(BERLIN).isoformat()[:19] == f"{day}T00:00:00"


def test_the_next_change_of_clocks() -> None:
    spring = next_change(BERLIN, datetime(2026, 11, 29, 12, 34, 56, 789, tzinfo=UTC))
    assert spring is not None
    assert spring.moment == datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert (spring.old, spring.new) == (datetime(2027, 3, 28, 2), datetime(2027, 3, 28, 3))
    autumn = next_change(BERLIN, spring.moment)
    assert autumn is not None
    assert (autumn.old, autumn.new) == (datetime(2027, 10, 31, 3), datetime(2027, 10, 31, 2))
    assert next_change(ZoneInfo("UTC"), spring.moment) is None


# -- numbers


def test_the_numbers_are_those_of_the_day() -> None:
    day = Day.before(last_night(), BERLIN)
    inside, outside = day.since + timedelta(hours=1), day.until
    for moment in (inside, outside):
        source = Import.objects.create(name="a.csv", sha256=str(moment))
        Import.objects.update_or_create(pk=source.pk, defaults={"created_at": moment})
        Chunk.objects.create(
            source=source, number=1, first_line=1, last_line=9, size=9, accepted=7, rejected=2, done_at=moment
        )
        refund = Refund.objects.create(
            order=str(moment), amount=5, reason="r", email="a@b.c", state="refunded", closed_at=moment
        )
        entry = LedgerEntry.objects.create(refund=refund, amount=Decimal("12.50"), transfer="t")
        Photo.objects.create(album=Album.objects.create(), width=1, height=1, bytes=10, sha256=str(moment))
        for row in (refund, *Photo.objects.filter(sha256=str(moment))):
            type(row).objects.filter(pk=row.pk).update(created_at=moment)
        LedgerEntry.objects.filter(pk=entry.pk).update(booked_at=moment)
    queue = get_queue()
    for at in (inside, inside, outside):
        queue.add_job("other", allow_unknown=True, run_at=at)
    queue.cancel_job(queue.add_job("other", allow_unknown=True, run_at=inside))

    numbers = numbers_of(day)

    assert numbers.in_short() == {"jobs": 3, "imports": 1, "refunds": 1, "photos": 1}
    assert (numbers.rows_accepted, numbers.rows_rejected, numbers.photo_bytes) == (7, 2, 10)
    assert (numbers.refunds_closed, numbers.refunded) == ({"refunded": 1}, Decimal("12.50"))
    [line] = numbers.jobs
    assert dict(zip(STATUSES, line.counts, strict=True)) == {
        **dict.fromkeys(STATUSES, 0),
        "pending": 2,
        "cancelled": 1,
    }


def test_a_day_without_anything_has_a_digest() -> None:
    numbers = numbers_of(Day.before(last_night(), BERLIN))
    assert (numbers.jobs, numbers.in_short()) == ([], {"jobs": 0, "imports": 0, "refunds": 0, "photos": 0})


# -- by the clock


def test_a_worker_stores_the_schedule_and_fires_it(demo: Client, work: Callable[[], None]) -> None:
    assert "There is no schedule yet" in text_of(demo)
    work()
    assert (kept().cron_expression, kept().timezone, kept().declared) == ("0 2 * * *", BERLIN.key, True)
    due(last_night())
    work()
    job = latest()
    assert (job.status, job.scheduled_for) == ("completed", last_night()), job.error_history
    yesterday = (last_night().astimezone(BERLIN) - timedelta(days=1)).date()
    assert (job.output["date"], job.output["file"]) == (str(yesterday), f"digests/{yesterday}.html")
    page = text_of(demo)
    assert "by the clock" in page
    assert reverse("digest:document", args=[job.id]) in page
    assert 'http-equiv="refresh"' not in page


@pytest.mark.usefixtures("schedule")
def test_a_night_is_skipped_while_the_last_digest_is_not_written(demo: Client, work: Callable[[], None]) -> None:
    assert demo.post(RUN).status_code == 302
    due(last_night())
    assert get_queue().enqueue_due_cron_jobs() == 0
    page = text_of(demo)
    assert "skipped: the last one was not written yet" in page
    work()
    assert get_queue().count_jobs({"job_type": SCHEDULE}) == 1
    assert text_of(demo).count(reverse("digest:document", args=[latest().id])) == 1


# -- by hand


@pytest.mark.usefixtures("schedule")
def test_run_now_writes_the_day_so_far(demo: Client, work: Callable[[], None]) -> None:
    before = kept().next_run_at
    page = demo.post(RUN, follow=True).content.decode()
    assert "A digest of today so far was asked for" in page
    assert 'http-equiv="refresh"' in page
    work()
    job = latest()
    assert (job.status, job.output["jobs"], kept().next_run_at) == ("completed", 1, before), job.error_history
    answer = demo.get(reverse("digest:document", args=[job.id]))
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert (answer["Content-Type"], number(text, "jobs")) == ("text/html; charset=utf-8", "1")
    assert "so far" in text
    assert f'<th scope="row">{SCHEDULE}</th>' in text
    assert "by hand, a visitor" in text_of(demo)


@pytest.mark.usefixtures("schedule")
def test_pressed_twice_one_digest_is_asked_for(demo: Client, work: Callable[[], None]) -> None:
    demo.post(RUN)
    assert "overlap is “skip”" in demo.post(RUN, follow=True).content.decode()
    assert get_queue().count_jobs({"job_type": SCHEDULE}) == 1
    work()
    demo.post(RUN)
    assert get_queue().count_jobs({"job_type": SCHEDULE}) == 2


@pytest.mark.usefixtures("schedule")
def test_a_job_that_runs_again_replaces_its_file(demo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    demo.post(RUN)
    with monkeypatch.context() as patched:
        patched.setattr(Numbers, "in_short", lambda _: 1 / 0)  # when the file is written and the job has not ended
        assert run_job(latest().id).will_retry
    done = run_job(latest().id)
    assert (done.status, done.attempts) == ("completed", 2)
    assert whole_files().listdir("digests")[1] == [done.output["file"].removeprefix("digests/")]


def test_before_a_worker_was_there_nothing_can_be_run(staff: Client) -> None:
    staff.force_login(User.objects.create_superuser("root"))
    for url, words in ((RUN, "start a worker"), (PAUSE, "nothing to pause"), (RESUME, "nothing to resume")):
        assert words in staff.post(url, follow=True).content.decode()


# -- pausing


def test_staff_pause_and_resume(staff: Client, schedule: CronSchedule) -> None:
    page = staff.post(PAUSE, {"reason": f"holidays {SCRIPT}"}, follow=True).content.decode()
    paused = kept()
    assert (paused.status, paused.next_run_at, paused.pause_reason) == ("paused", None, f"holidays {SCRIPT}")
    assert paused.paused_by.endswith(" ann")
    assert "“holidays &lt;script&gt;" in page
    assert SCRIPT not in page
    assert 'id="runs"' not in page
    assert "nothing to pause" in staff.post(PAUSE, follow=True).content.decode()
    assert staff.post(PAUSE, {"reason": "x" * 201}).status_code == 400
    staff.post(RESUME)
    assert kept().next_run_at == schedule.next_run_at


def test_others_do_not(demo: Client, schedule: CronSchedule) -> None:
    demo.force_login(User.objects.create_user("bob"))
    assert PAUSE not in text_of(demo)
    for url in (PAUSE, RESUME):
        answer = demo.post(url)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, reverse("admin:login"))
    assert kept() == schedule


# -- the page


@pytest.mark.usefixtures("schedule")
def test_the_page_says_when_it_is_written_next(demo: Client) -> None:
    queue = get_queue()
    ScheduleRow.objects.update(timezone="Europe/Berlin", next_run_at=last_night() + timedelta(days=1))
    runs = queue.get_next_cron_runs(kept().id, 10)
    page = text_of(demo)
    table = page.partition('id="runs"')[2].partition("</table>")[0]
    assert re.findall(r'class="run"><time datetime="([^"]+)"', table) == [run.isoformat() for run in runs]
    assert table.count("02:00 CE") + table.count("03:00 CEST") == 10
    assert "in Europe/Berlin" in page


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("Europe/Berlin", ["from 02:00 to 03:00: the digest is written at 03:00 CEST, 01:00 UTC.",
                           "from 03:00 to 02:00: the digest is written at 02:00 CEST, 00:00 UTC."]),
        ("America/New_York", ["from 02:00 to 03:00: the digest is written at 03:00 EDT, 07:00 UTC.",
                              "from 02:00 to 01:00: the digest is written at 02:00 EST, 07:00 UTC."]),
        ("Asia/Kolkata", ["The clocks of Asia/Kolkata are left alone"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("schedule")
def test_the_page_says_what_happens_when_clocks_change(demo: Client, zone: str, words: list[str]) -> None:
    queue = get_queue()
    other = queue.add_cron_job("other", "0 2 * * *", SCHEDULE, timezone=zone)
    found = queue.get_cron_job(other)
    assert found is not None
    ScheduleRow.objects.filter(schedule_name=SCHEDULE).update(timezone=zone, next_run_at=found.next_run_at)
    page = text_of(demo)
    assert [sentence for sentence in words if sentence not in page] == []


@pytest.mark.usefixtures("schedule")
def test_the_page_holds_no_foreign_markup(demo: Client) -> None:
    user = User.objects.create_superuser(SCRIPT)
    demo.force_login(user)
    demo.post(RUN)
    page = text_of(demo)
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.usefixtures("schedule")
def test_a_digest_holds_no_foreign_markup(demo: Client) -> None:
    get_queue().add_job(SCRIPT, allow_unknown=True)
    demo.post(RUN)
    done = run_job(latest().id)
    answer = demo.get(reverse("digest:document", args=[done.id]))
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert answer["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.usefixtures("schedule")
def test_only_digests_are_shown(demo: Client) -> None:
    other = get_queue().add_job("other", {"file": "x"}, allow_unknown=True)
    demo.post(RUN)
    waiting = latest().id
    for job_id in (other, waiting, 10**9):
        assert demo.get(reverse("digest:document", args=[job_id])).status_code == 404
    done = run_job(waiting)
    whole_files().delete(done.output["file"])
    assert demo.get(reverse("digest:document", args=[waiting])).status_code == 404
    assert job_of(waiting).status == "completed"


# -- who may


@pytest.mark.usefixtures("schedule")
def test_strangers_are_asked_to_log_in(client: Client) -> None:
    before = rows_of_every_table()
    answers = [client.get(PAGE), client.get(reverse("digest:document", args=[1])), *map(client.post, (RUN, PAUSE))]
    assert {answer.status_code for answer in answers} == {302}
    assert rows_of_every_table() == before


@pytest.mark.usefixtures("schedule")
@pytest.mark.parametrize(
    ("codename", "statuses"),
    [
        ("view_cronschedule", [200, 403, 302]),
        ("run_cronschedule", [403, 302, 302]),
    ],
)
def test_looking_running_and_pausing_have_permissions_of_their_own(
    client: Client, codename: str, statuses: list[int]
) -> None:
    user = User.objects.create_user("somebody")
    user.user_permissions.add(permission(codename))
    client.force_login(user)
    assert [client.get(PAGE).status_code, client.post(RUN).status_code, client.post(PAUSE).status_code] == statuses
    assert kept().status == "active"


@pytest.mark.usefixtures("schedule")
def test_every_button_takes_a_post_with_its_token(settings: Any) -> None:
    settings.DEBUG = True
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = rows_of_every_table()
    assert [client.post(url).status_code for url in (RUN, PAUSE, RESUME)] == [403] * 3
    assert [client.get(url).status_code for url in (RUN, PAUSE, RESUME)] == [405] * 3
    assert rows_of_every_table() == before
