"""Queues, pauses and limits: lists, pages and forms, and what may be done there, by permission and by POST."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.test import Client
from django.utils import timezone

from dataqueue_django.admin import controls
from dataqueue_django.models import Limit, Pause, Queue
from dataqueue_django.queue import JobQueue
from tests.admin.pages import ids_in, said, staff, statements
from tests.admin.test_pages import HOSTILE, Elements, assert_strict

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("queue", "pause", "limit")
PERMISSION = {"queue": "pause_queue", "pause": "pause_queue", "limit": "set_limit"}
VERBS = {"queue": "pause", "pause": "resume", "limit": "remove"}
EVERY = ("view_queue", "view_pause", "view_limit", "pause_queue", "set_limit")


def listed(name: str) -> str:
    """Return the address of a list."""
    return f"/admin/dataqueue/{name}/"


def page(name: str, key: str, verb: str = "") -> str:
    """Return the address of a row's page, or of a verb on it."""
    return f"{listed(name)}{quote(key)}/do/{verb}/" if verb else f"{listed(name)}{quote(key)}/change/"


def text_of(answer: Any) -> str:
    """Return a page as text."""
    assert answer.status_code == 200
    return str(answer.content.decode())


def all_of(queue: JobQueue) -> dict[str, str]:
    """Store a queue, a pause of another one and a limit, and return their keys."""
    queue.declare_queue("mail", description="letters")
    pause = queue.pause_queue("other", reason="the relay is down", actor="ann")
    limit = queue.set_limit(job_type="send", per_group=True, concurrency=2, rate=5, per=1, actor="bob")
    return {"queue": "mail", "pause": pause.id, "limit": limit.id}


def state(queue: JobQueue) -> Any:
    """Return what holds."""
    return queue.get_pauses(), queue.get_limits()


def act(client: Client, name: str, action: str, keys: list[str], **more: Any) -> Any:
    """Post an action of a list and return the page that follows."""
    data = {"action": f"{action}_selected", "_selected_action": keys, **more}
    return client.post(listed(name), data, follow=True)


# -- looking


def test_the_lists_tell_what_holds(client: Client, queue: JobQueue, database: str) -> None:
    all_of(queue)
    queue.pause_queue("mail", reason="holidays", actor="ann")
    Pause.objects.using(database).create(id="/t", job_type="t", until=NOW - timedelta(days=9000), created_at=NOW)
    text = text_of(client.get(listed("queue")))
    for words in ("mail", "letters", "Paused (queue mail, holidays, ann)"):
        assert words in text
    text = text_of(client.get(listed("pause")))
    for words in ("queue other", "the relay is down", "type t", "Ended", "ann"):
        assert words in text
    text = text_of(client.get(listed("limit")))
    for words in ("type send, each group", "2 at once, 5 per 1 s", "bob"):
        assert words in text


def test_a_queue_is_paused_by_a_pause_of_everything(client: Client, queue: JobQueue) -> None:
    all_of(queue)
    assert "</span> Open</span>" in text_of(client.get(listed("queue")))
    queue.pause_job_type("send", queue="mail")
    assert "</span> Open</span>" in text_of(client.get(listed("queue")))
    queue.pause_all()
    text = text_of(client.get(page("queue", "mail")))
    assert "Paused (all jobs)" in text
    assert page("queue", "mail", "pause") in text
    assert page("queue", "mail", "resume") not in text


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_not_edited(client: Client, queue: JobQueue, name: str) -> None:
    key = all_of(queue)[name]
    before = state(queue)
    text_of(client.get(page(name, key)))
    assert client.post(page(name, key), {"reason": "x", "concurrency": 9}).status_code == 403
    assert client.post(f"{listed(name)}{quote(key)}/delete/", {"post": "yes"}).status_code == 404
    client.post(listed(name), {"action": "delete_selected", "_selected_action": [key], "post": "yes"})
    assert state(queue) == before


# -- acting


def test_pausing_and_resuming_a_queue(client: Client, queue: JobQueue, admin_user: Any) -> None:
    all_of(queue)
    who = f"user {admin_user.pk} {admin_user.username}"
    assert 'name="reason"' in text_of(client.get(page("queue", "mail", "pause")))
    answer = client.post(page("queue", "mail", "pause"), {"reason": " holidays "}, follow=True)
    assert said(answer) == ["Queue mail: paused."]
    [pause] = [pause for pause in queue.get_pauses() if pause.queue == "mail"]
    assert (pause.reason, pause.actor) == ("holidays", who)
    refused = "Queue mail is not in a state for it; nothing was changed."
    assert said(client.post(page("queue", "mail", "pause"), follow=True)) == [refused]
    assert said(client.post(page("queue", "mail", "resume"), follow=True)) == ["Queue mail: resumed."]
    assert said(client.post(page("queue", "mail", "resume"), follow=True)) == [refused]
    assert said(act(client, "queue", "pause", ["mail"])) == ["1 paused."]
    assert said(act(client, "queue", "resume", ["mail"])) == ["1 resumed."]
    assert said(act(client, "queue", "resume", ["mail"])) == ["0 resumed, 1 skipped: not in a state for it."]
    [told] = said(act(client, "queue", "pause", ["mail"], reason="x" * 1001))
    assert "expected a string of at most 1,000 characters" in told
    assert {entry.action_flag for entry in LogEntry.objects.all()} == {CHANGE}
    [told] = said(client.post(page("queue", "mail", "pause"), {"reason": "x" * 1001}, follow=True))
    assert "expected a string of at most 1,000 characters" in told


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"queue": "mail"}, "queue mail"),
        ({"job_type": "send"}, "type send"),
        ({"queue": "ma/il%", "job_type": "send_x"}, "type send_x of queue ma/il%"),
        ({}, "all jobs"),
    ],
)
def test_resuming_each_kind_of_pause(client: Client, queue: JobQueue, scope: dict[str, str], words: str) -> None:
    def pause() -> str:
        if "job_type" in scope:
            return queue.pause_job_type(scope["job_type"], queue=scope.get("queue")).id
        return (queue.pause_queue(scope["queue"]) if scope else queue.pause_all()).id

    key = pause()
    other = queue.pause_queue("another").id
    assert page("pause", key, "resume") in text_of(client.get(page("pause", key)))
    answer = client.post(page("pause", key, "resume"), follow=True)
    assert said(answer) == [f"Pause of {words}: resumed."]
    assert answer.redirect_chain[-1][0] == listed("pause")
    assert [one.id for one in queue.get_pauses()] == [other]
    assert said(client.post(page("pause", key, "resume"), follow=True)) == ["This pause does not exist any more."]
    assert said(act(client, "pause", "resume", [pause(), "gone", "a\0b"])) == ["1 resumed."]
    Pause.objects.using(queue.store.database).create(  # type: ignore[attr-defined]
        id="old/", queue="old", until=timezone.now(), created_at=NOW
    )
    assert page("pause", "old/", "resume") not in text_of(client.get(page("pause", "old/")))
    refused = "Pause of queue old is not in a state for it; nothing was changed."
    assert said(client.post(page("pause", "old/", "resume"), follow=True)) == [refused]
    assert {entry.action_flag for entry in LogEntry.objects.all()} == {DELETION}


@pytest.mark.parametrize("scope", [{"queue": "mail"}, {"job_type": "send", "per_group": True}, {"group_id": "a/=b"}])
def test_removing_a_limit(client: Client, queue: JobQueue, scope: dict[str, Any]) -> None:
    other = queue.set_limit(queue="another", concurrency=1).id
    key = queue.set_limit(**scope, concurrency=1).id
    assert page("limit", key, "remove") in text_of(client.get(page("limit", key)))
    text_of(client.get(page("limit", key, "remove")))
    answer = client.post(page("limit", key, "remove"), follow=True)
    assert said(answer)[0].endswith(": removed.")
    assert [one.id for one in queue.get_limits()] == [other]
    queue.set_limit(**scope, concurrency=1)
    assert said(act(client, "limit", "remove", [key])) == ["1 removed."]
    assert [one.id for one in queue.get_limits()] == [other]


def test_more_than_an_action_takes_is_refused(client: Client, queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [queue.pause_queue(name).id for name in "abc"]
    monkeypatch.setattr(controls, "MOST", 2)
    assert said(act(client, "pause", "resume", keys)) == [
        "More than 2 are selected, so nothing was done. Narrow the list."
    ]
    assert len(queue.get_pauses()) == 3


# -- adding


def test_pausing_by_a_form(client: Client, queue: JobQueue, admin_user: Any, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    address = f"{listed('pause')}add/"
    assert "Asia/Kolkata" in text_of(client.get(address))
    filled = {"queue": "mail", "job_type": "send", "reason": "holidays", "until": "2031-05-01T12:00"}
    answer = client.post(address, filled, follow=True)
    assert said(answer) == ["Pause of type send of queue mail: set."]
    [pause] = queue.get_pauses()
    assert (pause.queue, pause.job_type, pause.reason, pause.until) == (
        "mail", "send", "holidays", datetime(2031, 5, 1, 6, 30, tzinfo=UTC),
    )  # fmt: skip
    assert pause.actor == f"user {admin_user.pk} {admin_user.username}"
    client.post(address, {"queue": "mail"})
    client.post(address, {"everything": "on"})
    assert {(one.queue, one.job_type) for one in queue.get_pauses()} == {("mail", "send"), ("mail", ""), ("", "")}
    assert {entry.action_flag for entry in LogEntry.objects.all()} == {ADDITION}


@pytest.mark.parametrize(
    ("filled", "words"),
    [
        ({}, "Name a queue or a job type, or else choose everything."),
        ({"queue": "x", "everything": "on"}, "Name a queue or a job type, or else choose everything."),
        ({"queue": "x", "until": "2020-01-01T00:00"}, "expected a time that is still to come"),
        ({"queue": "x" * 200}, "queue is"),
        ({"queue": "x", "until": "soon"}, "Enter a valid date/time"),
    ],
)
def test_a_form_that_pauses_nothing(client: Client, queue: JobQueue, filled: dict[str, str], words: str) -> None:
    assert words in text_of(client.post(f"{listed('pause')}add/", filled))
    assert queue.get_pauses() == []


def test_setting_a_limit_by_a_form(client: Client, queue: JobQueue, admin_user: Any) -> None:
    address = f"{listed('limit')}add/"
    text_of(client.get(address))
    answer = client.post(
        address, {"job_type": "send", "per_group": "on", "rate": "5", "per": "0.5", "burst": "3"}, follow=True
    )
    assert said(answer) == ["Limit of type send, each group: set."]
    client.post(address, {"queue": "mail", "concurrency": "0"})
    each, mail = queue.get_limits()
    assert (each.job_type, each.per_group, each.rate, each.per_ms, each.burst) == ("send", True, 5, 500, 3)
    assert (mail.queue, mail.concurrency, mail.actor) == ("mail", 0, f"user {admin_user.pk} {admin_user.username}")
    for filled, words in (({}, "The limit limits nothing"), ({"rate": "5"}, "rate is given without per")):
        assert words in text_of(client.post(address, filled))
    assert len(queue.get_limits()) == 2


# -- who may


@pytest.mark.parametrize("name", NAMES)
def test_acting_has_its_permission(queue: JobQueue, name: str) -> None:
    key, verb = all_of(queue)[name], VERBS[name]
    before, mine = state(queue), PERMISSION[name]
    browser = Client()
    browser.force_login(staff(*(one for one in EVERY if one != mine), "pause_job", "change_limit", "add_pause"))
    text = text_of(browser.get(page(name, key)))
    assert page(name, key, verb) not in text
    assert browser.get(listed(name)).context["action_form"] is None
    for method in (browser.get, browser.post):
        assert method(page(name, key, verb)).status_code == 403
        assert method(f"{listed(name)}add/", {"queue": "x", "concurrency": 1}).status_code == 403
    act(browser, name, verb, [key])
    browser.force_login(staff(mine))
    assert browser.post(page(name, key, verb)).status_code == 403
    assert browser.get(listed(name)).status_code == 403
    assert state(queue) == before
    browser.force_login(staff(f"view_{name}", mine))
    assert browser.post(page(name, key, verb)).status_code == 302
    assert state(queue) != before


@pytest.mark.parametrize("name", NAMES)
def test_a_post_from_elsewhere_is_refused(queue: JobQueue, admin_user: Any, name: str) -> None:
    key = all_of(queue)[name]
    before = state(queue)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin_user)
    for address in (page(name, key, VERBS[name]), f"{listed(name)}add/", listed(name)):
        assert browser.post(address, {"queue": "x", "concurrency": 1}).status_code == 403
    assert state(queue) == before


def test_who_may_see_jobs_alone_sees_none_of_it(viewer: Client, queue: JobQueue) -> None:
    keys = all_of(queue)
    for name in NAMES:
        assert viewer.get(listed(name)).status_code == 403
        assert viewer.get(page(name, keys[name])).status_code == 403


# -- what a page shows


@pytest.mark.parametrize("evil", HOSTILE)
def test_what_people_write_is_shown_literally(client: Client, queue: JobQueue, database: str, evil: str) -> None:
    bland: dict[tuple[str, str], Elements] = {}
    for content in ("bland", evil):
        for model in (Queue, Pause, Limit):
            model.objects.using(database).all().delete()
        key = content if content.isprintable() else "odd"
        Queue.objects.using(database).create(id=key, description=content, created_at=NOW)
        Pause.objects.using(database).create(
            id=key, queue=content, job_type=content, reason=content, actor=content, created_at=NOW
        )
        Limit.objects.using(database).create(
            id=key, queue=content, job_type=content, group_id=content, actor=content, rate=1, per_ms=1,
            created_at=NOW, updated_at=NOW,
        )  # fmt: skip
        for name in NAMES:
            for kind, address in {
                "list": listed(name), "page": page(name, key), "verb": page(name, key, VERBS[name])
            }.items():  # fmt: skip
                text = text_of(client.get(address))
                assert_strict(text)
                assert "\x1b" not in text
                assert "\u202e" not in text
                found = Elements(text)
                if content == "bland":
                    bland[name, kind] = found
                else:
                    before = bland[name, kind]
                    assert (found.tags, found.attributes) == (before.tags, before.attributes)


def test_lists_stay_cheap(queue: JobQueue, database: str) -> None:
    all_of(queue)
    keys = [f"q{n:05}" for n in range(12_000)]
    Queue.objects.using(database).bulk_create(Queue(id=key, created_at=timezone.now()) for key in keys)
    browser = Client()
    browser.force_login(staff(*EVERY))
    for name in NAMES:
        for query in ("", "?after=q00100", "?before="):
            with statements() as sent:
                assert browser.get(listed(name) + query).status_code == 200
            assert len(sent) <= 8
            assert not [sql for _, sql, _ in sent if "dataqueue_job" in sql]
    assert ids_in(browser.get(listed("queue") + "?after=q00100"))[0] == "q00101"
