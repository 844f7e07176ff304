"""The page of one job: everything is there, literally, and never too much of it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from dataqueue_django.domain.records import Kind
from dataqueue_django.models import Job, JobEvent, JobLog, JobTag, RateBucket, Step, Token, Worker
from dataqueue_django.queue import JobQueue
from tests.admin.pages import LIST, page_of, said, statements

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "</pre></td><svg/onload=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onclick='alert(1)",
    "javascript:alert(1)",
    "{{ request.user.password }}{% load static %}{% debug %}",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "&lt;b&gt;",
    "%s %(x)s {0} {x}",
]  # fmt: skip


class Elements(HTMLParser):
    """Counts what a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.inline = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        external = any(name in ("src", "type") for name, _ in attrs)
        self._inside = tag if tag in ("script", "style") and not external else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline += data.strip()


def update(where: JobQueue, job_id: int, /, **fields: Any) -> None:
    """Write columns of a job's row."""
    Job.objects.using(where.store.database).filter(pk=job_id).update(**fields)  # type: ignore[attr-defined]


def test_what_a_job_is_and_why(client: Client, queue: JobQueue) -> None:
    job_id = queue.add_job(
        "send_invoice",
        {"order_id": 7, "to": "é"},
        tags=["vip", "two words"],
        idempotency_key="inv-7",
        priority=4,
        allow_unknown=True,
    )
    text = client.get(page_of(job_id)).content.decode()
    explanation = queue.explain_job(job_id)
    assert explanation is not None
    assert explanation.text.replace("'", "&#x27;") in text
    for words in (
        "Ready",
        "send_invoice",
        "inv-7",
        "&quot;order_id&quot;: 7",
        "&quot;to&quot;: &quot;é&quot;",
        "0 / 3",
    ):
        assert words in text
    assert 'href="/admin/dataqueue/job/?q=tag%3Avip"' in text
    [link] = re.findall(r'href="([^"]*two[^"]*)"', text)
    assert [row.pk for row in client.get(link.replace("&amp;", "&")).context["cl"].result_list] == [job_id]


def test_errors_are_shown_the_newest_first(client: Client, queue: JobQueue) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    entries = [
        {
            "attempt": n,
            "reason": "handler_error",
            "type": "ValueError",
            "message": f"said {n}",
            "traceback": f"where {n}",
        }
        for n in (1, 2)
    ]
    update(queue, job_id, error_history=entries)
    text = client.get(page_of(job_id)).content.decode()
    assert text.index("said 2\nwhere 2") < text.index("said 1\nwhere 1")
    update(queue, job_id, error_history=["not", {"as": "known"}, None])
    assert "as known" in client.get(page_of(job_id)).content.decode()


def test_the_last_events_and_a_link_to_all(client: Client, queue: JobQueue, database: str) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    few = client.get(page_of(job_id)).content.decode()
    assert "All events" in few
    assert "there are more" not in few
    events = [
        JobEvent(job_id=job_id, event_type="edited", created_at=NOW, attempt=n, metadata={"n": n})
        for n in range(10_000)
    ]
    JobEvent.objects.using(database).bulk_create(events)
    with statements() as sent:
        text = client.get(page_of(job_id)).content.decode()
    assert len(sent) <= 14
    assert text.count("<td>edited</td>") == 50
    assert "n: 9999" in text
    assert "n: 9949" not in text
    assert "there are more" in text
    [url] = re.findall(r'href="(/admin/dataqueue/jobevent/\?[^"]*)"', text)
    assert "10\u00a0000+ job events" in client.get(url).content.decode()


def test_large_values_are_cut_and_can_be_shown_whole(client: Client, queue: JobQueue) -> None:
    job_id = queue.add_job("t", {"text": "p" * 900_000}, allow_unknown=True)
    errors = [{"attempt": 1, "type": "ValueError", "message": "e" * 1_000_000}]
    update(queue, job_id, error_history=errors, output={"text": "o" * 500_000}, progress_message="m" * 50_000)
    cut = client.get(page_of(job_id)).content.decode()
    assert len(cut) < 100_000
    for name, letter, size in (("payload", "p", 900_000), ("errors", "e", 1_000_000), ("output", "o", 500_000)):
        assert f"?show={name}" in cut
        whole = client.get(page_of(job_id), {"show": name}).content.decode()
        assert letter * size in whole
        assert f"?show={name}" not in whole
        assert len(whole) < size + 100_000


@pytest.mark.parametrize("evil", HOSTILE)
def test_everything_is_shown_literally(client: Client, queue: JobQueue, database: str, evil: str) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    page, listed, events = page_of(job_id), LIST, f"/admin/dataqueue/jobevent/?job={job_id}"
    bland = {}
    for content in ("bland", evil):
        update(
            queue, job_id, job_type=content, queue=content, payload={content: [content]}, output=content,
            error_history=[{"message": content, "traceback": content, content: content}], tags=[content],
            status="failed", context={content: content},
            idempotency_key=content, locked_by=content, progress_message=content, group_id=content, paused_by=content,
            pause_reason=content, paused_at=NOW,
            failure_reason=content[:32], pending_reason=content, dead_letter_job_type=content,
            progress_data=[content], wait_token_id=content,
        )  # fmt: skip
        JobEvent.objects.using(database).filter(job_id=job_id).update(
            event_type=content[:32], actor=content, metadata={content: content}
        )
        leave(database, job_id, content)
        others = [f"/admin/dataqueue/{name}/?job={job_id}" for name in ("step", "joblog", "token")]
        for address in (page, listed, events, page_of(job_id, "retry"), *others):
            answer = client.get(address)
            assert answer.status_code == 200
            found = Elements(answer.content.decode())
            assert "\x1b" not in answer.content.decode()
            assert "\u202e" not in answer.content.decode()
            if content == "bland":
                bland[address] = found
            else:
                assert found.tags == bland[address].tags
                assert found.attributes == bland[address].attributes


def leave(database: str, job_id: int, content: str) -> None:
    """Leave one step, one line of the log and one token of a job, all of whose texts are `content`."""
    for model in (Step, JobLog, Token):
        model.objects.using(database).filter(job_id=job_id).delete()
    Step.objects.using(database).create(
        job_id=job_id, kind=content[:16], name=content, result={content: [content]}, created_at=NOW
    )
    JobLog.objects.using(database).create(
        job_id=job_id, level=content[:16], logger=content, message=content, created_at=NOW
    )
    Token.objects.using(database).create(
        id=content if content.isprintable() else "wp_odd", job_id=job_id, status=content[:16],
        output={content: content}, created_at=NOW, timeout_at=NOW, completed_by=content, tags=[content],
        answer_schema={content: content},
    )  # fmt: skip


@pytest.mark.parametrize("evil", HOSTILE)
def test_what_handlers_leave_is_shown_literally(client: Client, queue: JobQueue, database: str, evil: str) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    bland: dict[str, Elements] = {}
    for content in ("bland", evil):
        leave(database, job_id, content)
        keys = {m.__name__.lower(): m.objects.using(database).get(job_id=job_id).pk for m in (Step, JobLog, Token)}
        update(queue, job_id, status="waiting", wait_token_id=keys["token"], ready_at=None, stage=None)
        for name, key in {**keys, "job": job_id}.items():
            text = client.get(row_page(name, key)).content.decode()
            assert "\x1b" not in text
            assert "\u202e" not in text
            found = Elements(text)
            if content == "bland":
                bland[name] = found
            else:
                assert (found.tags, found.attributes) == (bland[name].tags, bland[name].attributes)


def test_the_history_of_a_handler_and_its_log(client: Client, queue: JobQueue, database: str) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    assert '<h2 id="dq-step"' not in client.get(page_of(job_id)).content.decode()
    Step.objects.using(database).bulk_create(
        Step(job_id=job_id, kind="step", name=f"page {n}", result={"read": "r" * 100_000}, created_at=NOW)
        for n in range(60)
    )
    JobLog.objects.using(database).bulk_create(
        JobLog(job_id=job_id, level="INFO", logger="shop", message=f"line {n}.", created_at=NOW) for n in range(60)
    )
    text = client.get(page_of(job_id)).content.decode()
    assert len(text) < 100_000
    assert text.count("<td>page ") == 50
    assert text.index("page 59") < text.index("page 10<")
    assert "page 9<" not in text
    assert "{&quot;read&quot;: &quot;rrr" in text
    assert ">line 59.<" in text
    assert ">line 9.<" not in text
    for name, words in (("step", "All steps, there are more"), ("joblog", "All lines, there are more")):
        [url] = re.findall(rf'href="(/admin/dataqueue/{name}/\?job={job_id})">{words}<', text)
        assert f"60 {name.replace('jobl', 'job l')}s" in client.get(url).content.decode()
    key = Step.objects.using(database).filter(job_id=job_id).latest("id").pk
    assert "r" * 9_000 in client.get(row_page("step", key)).content.decode()
    assert "r" * 100_000 in client.get(row_page("step", key), {"show": "result"}).content.decode()


def test_what_a_job_waits_for(client: Client, queue: JobQueue, database: str) -> None:
    token = queue.create_token(timeout="48h", tags=["approval"])
    job_id = queue.add_job("t", allow_unknown=True)
    assert "Waits for" not in client.get(page_of(job_id)).content.decode()
    update(queue, job_id, status="waiting", wait_token_id=token.id, ready_at=None, stage=None)
    text = client.get(page_of(job_id)).content.decode()
    assert f"Its handler waits for the token {token.id} to be completed." in text
    [url] = re.findall(rf'<a href="([^"]*)">{token.id}</a>: Waiting, times out', text)
    assert url == row_page("token", token.id)
    page = client.get(url).content.decode()
    assert f'<a href="{page_of(job_id)}">{job_id}</a>' in page
    queue.complete_token(token, {"approve": True}, actor="ada")
    update(queue, job_id, status="waiting", wait_token_id=token.id, ready_at=None, stage=None)
    assert f"{token.id}</a>: Completed" in client.get(page_of(job_id)).content.decode()
    page = client.get(url).content.decode()
    assert ">ada<" in page
    assert "&quot;approve&quot;: true" in page
    queue.store.remove(Kind.TOKEN, [token.id])
    assert f"{token.id}</div>" in client.get(page_of(job_id)).content.decode()
    until = NOW.replace(year=2031)
    update(queue, job_id, wait_token_id=None, wait_until=until, ready_at=until, stage="later")
    text = client.get(page_of(job_id)).content.decode()
    assert "Its handler waits until 2031-01-01 00:00:00+00:00." in text
    assert "Waits for" in text


def test_the_list_of_tokens(client: Client, queue: JobQueue, database: str) -> None:
    queue.store.remove(Kind.TOKEN, [t.id for t in queue.store.find(Kind.TOKEN)])
    open_one, done = queue.create_token(timeout="1h"), queue.create_token()
    queue.complete_token(done, actor="ada")
    Token.objects.using(database).create(
        id="wp_late", job_id=7, status="waiting", created_at=NOW, timeout_at=datetime.now(UTC) - timedelta(hours=1)
    )
    listed = client.get("/admin/dataqueue/token/")
    assert {row.pk for row in listed.context["cl"].result_list} == {open_one.id, done.id, "wp_late"}
    for words in ("Waiting", "Completed", "Time is up", ">ada<", f'href="{page_of(7)}"'):
        assert words in listed.content.decode()
    for typed, keys in ((done.id, {done.id}), ("7", {"wp_late"}), ("wp_no", set()), ("x" * 300, set())):
        found = client.get("/admin/dataqueue/token/", {"q": typed}).context["cl"].result_list
        assert {row.pk for row in found} == keys
    assert [r.pk for r in client.get("/admin/dataqueue/token/?job=7").context["cl"].result_list] == ["wp_late"]
    for data in ({"action": "delete_selected", "_selected_action": done.id}, {"output": "1"}):
        for address in ("/admin/dataqueue/token/", row_page("token", done.id)):
            client.post(address, data)
    assert queue.get_token(done) is not None


def test_who_may_only_see_jobs_sees_no_tokens(viewer: Client, queue: JobQueue) -> None:
    token = queue.create_token()
    for address in ("step/", "joblog/", "token/", f"token/{token.id}/change/"):
        assert viewer.get(f"/admin/dataqueue/{address}").status_code == 403


@pytest.mark.parametrize("evil", HOSTILE[:3])
def test_workers_tags_and_buckets_are_shown_literally(client: Client, database: str, evil: str) -> None:
    Worker.objects.using(database).create(
        label=evil, hostname=evil, queues=[evil], job_types=[evil], started_at=NOW, last_beat_at=NOW
    )
    JobTag.objects.using(database).create(job_id=1, tag=evil)
    RateBucket.objects.using(database).create(key=evil, tokens=1, at=NOW)
    for name in ("worker", "jobtag", "ratebucket"):
        listed = client.get(f"/admin/dataqueue/{name}/")
        [row] = listed.context["cl"].result_list
        for text in (listed.content.decode(), client.get(row_page(name, row.pk)).content.decode()):
            assert evil not in text
            assert "alert(1)" in text


def row_page(name: str, key: Any) -> str:
    """Return the address of a row's page, as the admin writes it."""
    from django.contrib.admin.utils import quote

    return f"/admin/dataqueue/{name}/{quote(key)}/change/"


def test_pages_need_no_inline_script_or_style(client: Client, queue: JobQueue) -> None:
    ids = [queue.add_job("t", {"a": 1}, tags=["x"], allow_unknown=True) for _ in range(2)]
    queue.create_token()
    for name in ("job", "jobevent", "jobtag", "worker", "ratebucket", "step", "joblog", "token"):
        assert_strict(client.get(f"/admin/dataqueue/{name}/").content.decode())
    for address in (page_of(ids[0]), page_of(ids[0], "cancel"), page_of(ids[0], "delete")):
        assert_strict(client.get(address).content.decode())


def assert_strict(page: str) -> None:
    """Assert that a page holds no script, style or handler of its own."""
    found = Elements(page)
    assert found.inline == ""
    assert "style" not in found.attributes
    assert not {name for name in found.attributes if name.startswith("on")}


def test_odd_values_do_not_break_a_page(client: Client, queue: JobQueue) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    for payload in (None, 0, "", [], {}, "text", 1.5, [None], json.loads('{"a": {"b": [1, {"c": "d"}]}}')):
        update(queue, job_id, payload=payload, output=payload, tags=["1"], progress=0)
        assert client.get(page_of(job_id)).status_code == 200
    update(queue, job_id, status="from the future")
    assert "from the future" in client.get(LIST).content.decode()
    assert client.get(page_of(job_id, "cancel")).status_code == 200
    assert "nothing was changed" in said(client.post(page_of(job_id, "cancel"), follow=True))[0]
