"""The page of one job: everything is there, literally, and never too much of it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from dataqueue_django.models import Job, JobEvent, JobTag, RateBucket, Worker
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
    assert len(sent) <= 12
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
            failure_reason=content[:32], pending_reason=content, dead_letter_job_type=content,
            progress_data=[content], wait_token_id=content,
        )  # fmt: skip
        JobEvent.objects.using(database).filter(job_id=job_id).update(
            event_type=content[:32], actor=content, metadata={content: content}
        )
        for address in (page, listed, events, page_of(job_id, "retry")):
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
    for name in ("job", "jobevent", "jobtag", "worker", "ratebucket"):
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
