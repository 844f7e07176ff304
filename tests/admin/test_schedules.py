"""Schedules: the list, the page of one, forms, and what may be done to them, by permission and through the queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.test import Client
from django.utils import timezone

from dataqueue_django import job
from dataqueue_django.admin import schedules
from dataqueue_django.admin.schedule_forms import OPTIONS as FORM_OPTIONS
from dataqueue_django.admin.schedule_forms import ScheduleForm, said_of
from dataqueue_django.domain.records import CronSchedule as Record
from dataqueue_django.domain.records import ScheduleStatus, TickOutcome
from dataqueue_django.domain.schedules import EDITABLE, OPTIONS
from dataqueue_django.handlers import registry
from dataqueue_django.models import CronSchedule, CronTick, Duty
from dataqueue_django.queue import JobQueue
from tests.admin.pages import ids_in, page_of, said, staff, statements
from tests.admin.test_pages import HOSTILE, Elements, assert_strict

SCHEDULES = "/admin/dataqueue/cronschedule/"
TICKS = "/admin/dataqueue/crontick/"
NOW = datetime(2030, 1, 1, tzinfo=UTC)
VERBS = {"run": "run", "pause": "pause", "resume": "pause", "edit": "change", "delete": "delete"}
"""Each verb, and the permission that it takes."""

FILLED = {
    "schedule_name": "nightly",
    "job_type": "report",
    "payload": '{"day": "mon"}',
    "cron_expression": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "catch_up": "1",
    "overlap": "skip",
    "jitter": "0",
}


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    known = set(registry.types())

    @job("report", queue="reports")
    def report(day: str = "today") -> None: ...

    @job("other")
    def other(payload: Any) -> None: ...

    yield
    for added in set(registry.types()) - known:
        registry.remove(added)


@pytest.fixture
def declared(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the id of a schedule that the code declares."""
    said = {"nightly report": {"job_type": "report", "cron": "0 2 * * *", "timezone": "Asia/Kolkata"}}
    monkeypatch.setattr(queue, "settings", replace(queue.settings, schedules=said))
    queue.declare_cron_jobs()
    [found] = queue.list_cron_jobs()
    return found.id


def a_schedule(queue: JobQueue, name: str = "hourly", **options: Any) -> int:
    """Return the id of a new schedule."""
    return queue.add_cron_job(name, None, "report", every=3600, **options)


def schedule_page(id: int, verb: str = "") -> str:
    """Return the address of a schedule's page, or of a verb on it."""
    return f"{SCHEDULES}{id}/do/{verb}/" if verb else f"{SCHEDULES}{id}/change/"


def kept(queue: JobQueue, id: int) -> Record:
    """Return a schedule that must exist."""
    found = queue.get_cron_job(id)
    assert found is not None
    return found


def text_of(answer: Any) -> str:
    """Return a page as text."""
    assert answer.status_code == 200
    return str(answer.content.decode())


# -- the list


def test_the_list_tells_what_fires_when(
    client: Client, queue: JobQueue, declared: int, settings: Any, database: str
) -> None:
    settings.TIME_ZONE = "America/New_York"
    hourly = a_schedule(queue)
    paused = a_schedule(queue, "paused")
    over = a_schedule(queue, "over", max_runs=1)
    queue.pause_cron_job(paused, reason="holidays", actor="ann")
    CronSchedule.objects.using(database).filter(pk=over).update(next_run_at=None)
    CronSchedule.objects.using(database).filter(pk=declared).update(next_run_at=NOW)
    job_id = queue.run_cron_job(hourly)
    text = text_of(client.get(SCHEDULES))
    for words in ("every 1 h", "0 2 * * * (Asia/Kolkata)", "Over", "Active", "Paused", "holidays, ann", "In code",
                  "Stored", "Dec. 31, 2029, 7 p.m.", "(Jan. 1, 2030, 5:30 a.m. Asia/Kolkata)",
                  f'<a href="{page_of(job_id or 0)}">job {job_id}</a>'):  # fmt: skip
        assert words in text
    for query, found in (
        ("place=code", {declared}),
        ("place=stored", {hourly, paused, over}),
        ("status=paused", {paused}),
        ("status=active&place=stored", {hourly, over}),
        ("q=hourly", {hourly}),
        ("q=hour", set()),
        ("q=" + "x" * 300, set()),
    ):
        assert set(ids_in(client.get(f"{SCHEDULES}?{query}"))) == found
    for query, status in (("place=x", 302), ("status=over", 302), ("payload__icontains=a", 400), ("after=x", 302)):
        assert client.get(f"{SCHEDULES}?{query}").status_code == status


def test_a_zone_that_nobody_knows_is_no_error(client: Client, queue: JobQueue, database: str) -> None:
    id = queue.add_cron_job("x", "@daily", "report")
    for zone in ("No/Zone", "../etc", "Europe", "", "x" * 64):
        CronSchedule.objects.using(database).filter(pk=id).update(timezone=zone)
        assert client.get(SCHEDULES).status_code == 200
        assert "which this machine does not know" in text_of(client.get(schedule_page(id)))


# -- the page


def test_the_page_of_a_schedule(client: Client, queue: JobQueue, database: str) -> None:
    id = queue.add_cron_job(
        "berlin", "0 9 * * 1-5", "report", {"day": "mon"}, timezone="Asia/Kolkata", max_runs=5, tags=["vip"],
        catch_up="none", overlap="replace",
    )  # fmt: skip
    CronTick.objects.using(database).bulk_create(
        CronTick(schedule_id=id, tick_at=NOW + timedelta(hours=n), outcome="enqueued", job_id=n, created_at=NOW)
        for n in range(1, 61)
    )
    job_id = queue.run_cron_job(id, actor="ann")
    with statements() as sent:
        text = text_of(client.get(schedule_page(id)))
    assert len(sent) <= 12
    assert text.count("Asia/Kolkata)</span>") == 5
    for words in ("0 / 5", "&quot;day&quot;: &quot;mon&quot;", "vip", "Run by hand", "ann", ">none<",
                  "the last job is cancelled", f'<a href="{page_of(job_id or 0)}">'):  # fmt: skip
        assert words in text
    assert text.count("A job was added") == 49
    assert "All ticks, there are more" in text
    [url] = re.findall(rf'href="({TICKS}\?schedule={id})"', text)
    assert "61 ticks" in text_of(client.get(url))
    page = text_of(client.get(page_of(job_id or 0)))
    assert f'<a href="{schedule_page(id)}">berlin</a>' in page
    queue.remove_cron_job(id)
    assert f"{id}, which is deleted" in text_of(client.get(page_of(job_id or 0)))


def test_the_page_of_one_without_a_zone_has_ten_runs(client: Client, queue: JobQueue) -> None:
    text = text_of(client.get(schedule_page(a_schedule(queue))))
    [runs] = re.findall(r'<ol class="dq-runs">(.*?)</ol>', text)
    assert runs.count("<li>") == 10
    assert "dq-there" not in runs


def test_one_that_is_declared_says_so(client: Client, queue: JobQueue, declared: int) -> None:
    text = text_of(client.get(schedule_page(declared)))
    assert "This schedule is declared in the project&#x27;s code" in text
    verbs = set(re.findall(rf"{SCHEDULES}{declared}/do/(\w+)/", text))
    assert verbs == {"run", "pause"}
    before = kept(queue, declared)
    for verb in ("edit", "delete"):
        assert "is declared in the project&#x27;s code" in text_of(client.get(schedule_page(declared, verb)))
        answer = client.post(schedule_page(declared, verb), FILLED, follow=True)
        assert said(answer) == ["Schedule nightly report is not in a state for it; nothing was changed."]
    assert kept(queue, declared) == before


def test_one_that_code_no_longer_has_can_be_deleted(client: Client, queue: JobQueue, declared: int) -> None:
    queue.settings = replace(queue.settings, schedules={})
    queue.declare_cron_jobs()
    text = text_of(client.get(schedule_page(declared)))
    assert "which no longer has it" in text
    assert schedule_page(declared, "edit") not in text
    client.post(schedule_page(declared, "delete"))
    assert queue.get_cron_job(declared) is None


def test_odd_rows_break_no_page(client: Client, queue: JobQueue, database: str) -> None:
    id = a_schedule(queue)
    rows = CronSchedule.objects.using(database).filter(pk=id)
    rows.update(status="news", overlap="news", last_job_id=7)
    assert text_of(client.get(schedule_page(id)))
    CronTick.objects.using(database).create(schedule_id=id, tick_at=NOW, outcome="news", created_at=NOW)
    assert "news" in text_of(client.get(TICKS))


# -- adding and changing


def test_adding(client: Client, queue: JobQueue, admin_user: Any) -> None:
    assert f"{SCHEDULES}add/" in text_of(client.get(SCHEDULES))
    form = client.get(f"{SCHEDULES}add/").context["adminform"].form
    assert {"report", "other"} <= {value for value, _ in form.fields["job_type"].choices}
    more = {"queue": "mail", "priority": "4", "timeout": "1.5", "tags": "vip\r\ntwo words\r\n", "max_runs": "3",
            "isolate": "true", "retry_backoff": "linear", "end_at": "2040-01-31T09:00:00"}  # fmt: skip
    answer = client.post(f"{SCHEDULES}add/", {**FILLED, **more}, follow=True)
    [found] = queue.list_cron_jobs()
    assert answer.redirect_chain == [(schedule_page(found.id), 302)]
    assert said(answer) == ["Schedule nightly: added."]
    assert (found.cron_expression, found.timezone, found.payload) == ("0 2 * * *", "Europe/Berlin", {"day": "mon"})
    assert found.options == {"queue": "mail", "priority": 4, "timeout": 1.5, "tags": ["vip", "two words"],
                             "isolate": True, "retry_backoff": "linear"}  # fmt: skip
    assert (found.max_runs, found.declared, found.every_ms) == (3, False, None)
    assert found.end_at == timezone.make_aware(datetime(2040, 1, 31, 9))
    [entry] = LogEntry.objects.all()
    assert (entry.action_flag, entry.object_id, entry.object_repr) == (ADDITION, str(found.id), "nightly")
    assert entry.user_id == admin_user.pk


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cron_expression": "61 * * * *"}, "field 1, the minute, cannot be &#x27;61&#x27;"),
        ({"cron_expression": "* * * *"}, "has 4 fields; expected five"),
        ({"cron_expression": ""}, "needs a cron expression or an interval"),
        ({"every": "60"}, "expected one of them"),
        ({"timezone": "Europe/Berln"}, "Did you mean &#x27;Europe/Berlin&#x27;?"),
        ({"timezone": "<script>alert(1)</script>"}, "timezone is"),
        ({"payload": "{"}, "This is no JSON"),
        ({"payload": "[" * 100_000}, "This is no JSON: it is too long or too deep."),
        ({"payload": "9" * 10_000}, "This is no JSON: it is too long or too deep."),
        ({"payload": "NaN"}, "NaN"),
        ({"payload": '{"dya": "mon"}'}, "dya"),
        ({"payload": '"\\u0000"'}, "payload"),
        ({"job_type": "repotr"}, "Select a valid choice"),
        ({"schedule_name": ""}, "This field is required"),
        ({"schedule_name": "x" * 256}, "expected a name of 1 to 255 characters"),
        ({"schedule_name": "taken"}, "A schedule named &#x27;taken&#x27; exists already"),
        ({"max_runs": "0"}, "max_runs is 0"),
        ({"max_runs": "9" * 5000}, "Enter a whole number"),
        ({"priority": "99999999999"}, "priority is 99999999999"),
        ({"max_attempts": "0"}, "max_attempts is 0"),
        ({"jitter": "-1"}, "jitter is -1"),
        ({"jitter": "inf"}, "Enter a number"),
        ({"catch_up": "-1"}, "catch_up is -1"),
        ({"overlap": "x"}, "Select a valid choice"),
        ({"force_kill_on_timeout": "true"}, "expected a timeout"),
        ({"tags": "x" * 200}, "tags holds"),
        ({"end_at": "2020-01-01T00:00:00"}, "never fires"),
        ({"start_at": "2031-01-01T00:00:00", "end_at": "2030-01-01T00:00:00"}, "expected a time after start_at"),
        ({"start_at": "nonsense"}, "Enter a valid date/time"),
        ({"queue": " "}, ""),
    ],
)
def test_what_is_wrong_is_said_at_the_form(client: Client, queue: JobQueue, given: dict[str, str], words: str) -> None:
    a_schedule(queue, "taken")
    answer = client.post(f"{SCHEDULES}add/", {**FILLED, **given})
    if not words:
        assert answer.status_code == 302
        return
    text = text_of(answer)
    assert words in text
    assert "<script>alert" not in text
    assert [one.schedule_name for one in queue.list_cron_jobs()] == ["taken"]
    assert LogEntry.objects.count() == 0


def test_changing(client: Client, queue: JobQueue) -> None:
    options = {"tags": ["a", "b"], "priority": 2, "isolate": False, "retry_backoff": True}
    id = a_schedule(queue, start_at=datetime(2031, 5, 1, 12, 30, 15, 250, tzinfo=UTC), **options)
    before = kept(queue, id)
    form = client.get(schedule_page(id, "edit")).context["adminform"].form
    posted = {name: form[name].value() for name in form.fields}
    posted = {name: "" if value is None else form.fields[name].widget.format_value(value)
              if name == "start_at" else value for name, value in posted.items()}  # fmt: skip
    posted |= {"isolate": "false", "tags": "a\r\nb"}
    answer = client.post(schedule_page(id, "edit"), posted, follow=True)
    assert said(answer) == ["Nothing was changed."]
    assert kept(queue, id) == before
    changed = {"every": "", "cron_expression": "@daily", "tags": "", "priority": "5", "payload": '{"day": "x"}'}
    answer = client.post(schedule_page(id, "edit"), {**posted, **changed}, follow=True)
    assert said(answer) == ["Schedule hourly: changed payload, cron_expression, every, priority, tags."]
    after = kept(queue, id)
    assert (after.cron_expression, after.every_ms, after.payload) == ("0 0 * * *", None, {"day": "x"})
    assert after.options == {"priority": 5, "isolate": False, "retry_backoff": True}
    assert after.start_at == before.start_at
    assert LogEntry.objects.get().action_flag == CHANGE
    text = text_of(client.post(schedule_page(id, "edit"), {**posted, **changed, "cron_expression": "x"}))
    assert "has 1 fields" in text
    assert kept(queue, id) == after


def test_changing_one_whose_handler_is_gone(client: Client, queue: JobQueue) -> None:
    id = queue.add_cron_job("old", "@daily", "gone", allow_unknown=True)
    answer = client.post(schedule_page(id, "edit"), {**FILLED, "job_type": "gone", "payload": "", "priority": "1"})
    assert answer.status_code == 302
    assert (kept(queue, id).job_type, kept(queue, id).options) == ("gone", {"priority": 1})


def test_a_form_can_say_all_that_a_schedule_has() -> None:
    record = Record(schedule_name="x", job_type="report", every_ms=1500)
    form = ScheduleForm(record=record, job_types=["report"])
    assert set(FORM_OPTIONS) == set(OPTIONS)
    assert set(form.fields) == set(EDITABLE) - {"allow_overlap"}
    assert {name for _, part in form.parts() for name in part["fields"]} == set(form.fields)
    assert (said_of(record)["every"], said_of(record)["payload"]) == (1.5, "")
    odd = said_of(replace(record, payload={"a": "\u202egnp\x1b"}))["payload"]
    assert "\\u202egnp\\u001b" in odd


# -- acting


def test_running_pausing_resuming_and_deleting(client: Client, queue: JobQueue, admin_user: Any) -> None:
    id = a_schedule(queue)
    who = f"user {admin_user.pk} {admin_user.username}"

    def do(verb: str, **data: str) -> list[str]:
        assert "csrfmiddlewaretoken" in text_of(client.get(schedule_page(id, verb)))
        return said(client.post(schedule_page(id, verb), data, follow=True))

    assert do("pause", reason=" holidays ") == ["Schedule hourly: paused."]
    paused = kept(queue, id)
    assert (paused.status, paused.pause_reason, paused.paused_by) == (ScheduleStatus.PAUSED, "holidays", who)
    assert f"holidays, {who}" in text_of(client.get(schedule_page(id)))
    assert said(client.post(schedule_page(id, "pause"), follow=True)) == [
        "Schedule hourly is not in a state for it; nothing was changed."
    ]
    assert do("resume") == ["Schedule hourly: resumed."]
    assert kept(queue, id).status is ScheduleStatus.ACTIVE
    [told] = do("run")
    [tick] = queue.get_cron_ticks(id)
    assert told == f"Schedule hourly: job {tick.job_id} was added."
    assert (tick.outcome, tick.actor) == (TickOutcome.BY_HAND, who)
    assert do("run") == ["Schedule hourly is not in a state for it; nothing was changed."]
    assert do("delete") == ["Schedule hourly: deleted."]
    assert queue.get_cron_job(id) is None
    told = [(entry.action_flag, entry.change_message) for entry in LogEntry.objects.order_by("pk")]  # type: ignore[assignment]
    assert [flag for flag, _ in told] == [CHANGE, CHANGE, CHANGE, DELETION]


def test_a_reason_that_is_too_long_is_refused(client: Client, queue: JobQueue) -> None:
    id = a_schedule(queue)
    for reason in ("x" * 1001, "a\0b"):
        [told] = said(client.post(schedule_page(id, "pause"), {"reason": reason}, follow=True))
        assert "expected a string of at most 1,000 characters" in told
    assert kept(queue, id).status is ScheduleStatus.ACTIVE


def test_a_job_that_cannot_be_added_is_said(client: Client, queue: JobQueue, database: str) -> None:
    ids = [a_schedule(queue), a_schedule(queue, "second")]
    rows = CronSchedule.objects.using(database)
    rows.filter(pk=ids[0]).update(options={"force_kill_on_timeout": True})
    [told] = said(client.post(schedule_page(ids[0], "run"), follow=True))
    assert "expected a timeout" in told
    refused, done = said(act(client, "run", ids))
    assert refused.startswith("schedule hourly: force_kill_on_timeout is True")
    assert done == "1 run, 1 skipped: not in a state for it."


def act(client: Client, action: str, ids: list[int], **more: Any) -> Any:
    """Post an action of the list and return the page that follows."""
    return client.post(SCHEDULES, {"action": f"{action}_selected", "_selected_action": ids, **more}, follow=True)


def test_actions_of_the_list(client: Client, queue: JobQueue, declared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [declared, a_schedule(queue), a_schedule(queue, "second")]
    assert said(act(client, "pause", ids[:2])) == ["2 paused."]
    assert said(act(client, "pause", ids)) == ["1 paused, 2 skipped: not in a state for it."]
    assert said(act(client, "resume", ids[:2])) == ["2 resumed."]
    assert said(act(client, "run", ids)) == ["3 run."]
    assert said(act(client, "run", ids)) == ["0 run, 3 skipped: not in a state for it."]
    assert LogEntry.objects.count() == 8
    act(client, "delete", ids)
    assert len(queue.list_cron_jobs()) == 3
    monkeypatch.setattr(schedules, "MOST", 2)
    [text] = said(act(client, "resume", ids[:1], select_across="1"))
    assert text == "More than 2 schedules are selected, so nothing was done. Narrow the list."


def test_one_that_is_gone(client: Client, queue: JobQueue) -> None:
    for verb in VERBS:
        for method in (client.get, client.post):
            for object_id in ("4711", "x", "99999999999999999999"):
                answer = method(f"{SCHEDULES}{object_id}/do/{verb}/", follow=True)
                assert said(answer) == ["This schedule does not exist any more."]
    assert client.get(schedule_page(1, "nonsense")).status_code == 404


def test_one_that_goes_meanwhile(client: Client, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    id = a_schedule(queue)
    fits = schedules.CronScheduleAdmin.fits

    def late(self: Any, verb: Any, row: Any) -> bool:
        queue.remove_cron_job(row.pk)
        return fits(self, verb, row)

    monkeypatch.setattr(schedules.CronScheduleAdmin, "fits", late)
    assert client.post(schedule_page(id, "edit"), FILLED)["Location"] == SCHEDULES
    id = a_schedule(queue)
    assert client.post(schedule_page(id, "pause"), follow=True).status_code == 200
    assert LogEntry.objects.count() == 0


# -- who may


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_permission(queue: JobQueue, verb: str) -> None:
    id = a_schedule(queue)
    if verb == "resume":
        queue.pause_cron_job(id)
    before, permission = kept(queue, id), VERBS[verb]
    others = {"run", "pause", "change", "delete", "add"} - {permission}
    browser = Client()
    browser.force_login(staff("view_cronschedule", *(f"{other}_cronschedule" for other in others)))
    assert schedule_page(id, verb) not in text_of(browser.get(schedule_page(id)))
    for address in {schedule_page(id, verb), *({f"{SCHEDULES}{id}/delete/"} if verb == "delete" else ())}:
        assert browser.get(address).status_code == 403
        assert browser.post(address, FILLED).status_code == 403
    act(browser, verb, [id])
    assert kept(queue, id) == before
    browser.force_login(staff(f"{permission}_cronschedule"))
    if permission != "change":  # for Django, who may change may also view
        assert browser.post(schedule_page(id, verb), FILLED).status_code == 403
    browser.force_login(staff("view_cronschedule", f"{permission}_cronschedule"))
    assert schedule_page(id, verb) in text_of(browser.get(schedule_page(id)))
    assert browser.post(schedule_page(id, verb), {**FILLED, "priority": "1"}).status_code == 302
    assert queue.get_cron_job(id) != before or queue.get_cron_ticks(id)


def test_adding_has_its_permission(queue: JobQueue) -> None:
    browser = Client()
    browser.force_login(staff(*(f"{verb}_cronschedule" for verb in ("view", "run", "pause", "change", "delete"))))
    assert "/add/" not in text_of(browser.get(SCHEDULES)).split("content-main")[1]
    for method in (browser.get, browser.post):
        assert method(f"{SCHEDULES}add/", FILLED).status_code == 403
    browser.force_login(staff("view_cronschedule", "add_cronschedule"))
    assert browser.post(f"{SCHEDULES}add/", FILLED).status_code == 302
    assert len(queue.list_cron_jobs()) == 1


def test_who_may_see_jobs_alone_sees_no_schedules(viewer: Client, queue: JobQueue) -> None:
    id = a_schedule(queue)
    for address in (SCHEDULES, TICKS, schedule_page(id), "/admin/dataqueue/duty/"):
        assert viewer.get(address).status_code == 403


def test_who_may_only_look_has_no_buttons(queue: JobQueue) -> None:
    id = a_schedule(queue)
    browser = Client()
    browser.force_login(staff("view_cronschedule"))
    assert browser.get(SCHEDULES).context["action_form"] is None
    assert "dq-verb" not in text_of(browser.get(schedule_page(id)))
    assert browser.post(schedule_page(id), FILLED).status_code == 403


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_a_post_from_elsewhere_is_refused(queue: JobQueue, admin_user: Any, verb: str) -> None:
    id = a_schedule(queue)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    before = queue.list_cron_jobs()
    assert browser.post(schedule_page(id, verb) if verb else f"{SCHEDULES}add/", FILLED).status_code == 403
    assert queue.list_cron_jobs() == before
    assert queue.get_cron_ticks(id) == []


# -- what a page shows


@pytest.mark.parametrize("evil", HOSTILE)
def test_what_people_write_is_shown_literally(client: Client, queue: JobQueue, database: str, evil: str) -> None:
    id = a_schedule(queue)
    addresses = (SCHEDULES, TICKS, "/admin/dataqueue/duty/", schedule_page(id), schedule_page(id, "run"),
                 schedule_page(id, "edit"))  # fmt: skip
    bland: dict[str, Elements] = {}
    for content in ("bland", evil):
        name = content if content.isprintable() else "odd"
        CronSchedule.objects.using(database).filter(pk=id).update(
            schedule_name=name, job_type=name, payload={content: [content]}, cron_expression=content, every_ms=None,
            timezone=content, paused_by=content, pause_reason=content, status="paused", options={"tags": [content]},
        )  # fmt: skip
        CronTick.objects.using(database).all().delete()
        CronTick.objects.using(database).create(
            schedule_id=id, tick_at=NOW, outcome="skipped", actor=content, created_at=NOW
        )
        Duty.objects.using(database).all().delete()
        Duty.objects.using(database).create(
            id=name, due_at=NOW, done_by=content, report={content: content}, error=content, state=[content]
        )
        for address in addresses:
            text = text_of(client.get(address))
            found = Elements(text)
            assert_strict(text)
            if "edit" not in address:  # a form has to show what is stored as it is
                assert "\x1b" not in text
                assert "\u202e" not in text
            if content == "bland":
                bland[address] = found
            else:
                assert (found.tags, found.attributes) == (bland[address].tags, bland[address].attributes)


def test_ticks_and_duties_are_for_looking(client: Client, queue: JobQueue, database: str) -> None:
    id = a_schedule(queue)
    job_id = queue.run_cron_job(id, actor="ann")
    Duty.objects.using(database).create(id="clean", due_at=NOW, done_by="w1", report={"jobs": 3}, error="it broke")
    tick = CronTick.objects.using(database).get()
    text = text_of(client.get(TICKS))
    for words in ("Run by hand", "ann", f'href="{schedule_page(id)}"', f'href="{page_of(job_id or 0)}"'):
        assert words in text
    assert ids_in(client.get(f"{TICKS}?schedule={id + 1}")) == []
    assert client.get(f"{TICKS}?schedule=x").status_code == 302
    text = text_of(client.get("/admin/dataqueue/duty/"))
    for words in ("clean", "w1", "{&quot;jobs&quot;: 3}", "it broke"):
        assert words in text
    for model, key in (("crontick", tick.pk), ("duty", "clean")):
        assert client.get(f"/admin/dataqueue/{model}/{key}/change/").status_code == 200
        for verb in ("change", "delete"):
            assert client.post(f"/admin/dataqueue/{model}/{key}/{verb}/", {"post": "yes"}).status_code == 403
        assert client.get(f"/admin/dataqueue/{model}/add/").status_code == 403


def test_lists_stay_cheap(queue: JobQueue, database: str) -> None:
    CronSchedule.objects.using(database).bulk_create(
        CronSchedule(schedule_name=f"s{n:05}", job_type="report", every_ms=60_000, created_at=NOW, updated_at=NOW)
        for n in range(12_000)
    )
    browser = Client()
    browser.force_login(staff(*(f"{verb}_cronschedule" for verb in ("view", "run", "pause", "change", "delete"))))
    for query in ("", "?place=code", "?status=paused", "?q=s00007", "?after=5000", "?before="):
        with statements() as sent:
            assert browser.get(SCHEDULES + query).status_code == 200
        assert len(sent) <= 8
    assert "10\u00a0000+ schedules" in text_of(browser.get(SCHEDULES))


def test_the_rules_are_those_of_the_domain(queue: JobQueue, declared: int, make_row: Callable[[int], Any]) -> None:
    record = schedules.record_of(make_row(declared))
    full = kept(queue, declared)
    for name in ("schedule_name", "job_type", "status", "next_run_at", "paused_by", "pause_reason", "declared"):
        assert getattr(record, name) == getattr(full, name)


@pytest.fixture
def make_row(database: str) -> Callable[[int], Any]:
    """Return a function that reads a schedule's row."""
    return lambda id: CronSchedule.objects.using(database).get(pk=id)
