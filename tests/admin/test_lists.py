"""Lists: what they show, what can be typed into them, and what nobody can make of their addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.test import Client

from dataqueue_django.admin.paging import KeysetChangeList
from dataqueue_django.admin.states import label
from dataqueue_django.models import CancelRequest, Job, JobEvent, JobTag, RateBucket, Worker
from dataqueue_django.queue import JobQueue
from tests.admin.pages import LIST, ids_in, said

MODELS = ("job", "jobevent", "jobtag", "worker", "ratebucket", "cancelrequest")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_can_be_looked_at(client: Client, queue: JobQueue, database: str, model: str) -> None:
    queue.add_job("t", {"a": 1}, tags=["x"], allow_unknown=True)
    Worker.objects.using(database).create(label="w", queues=[], job_types=[], started_at=NOW, last_beat_at=NOW)
    RateBucket.objects.using(database).create(key="k", tokens=1.5, at=NOW)
    CancelRequest.objects.using(database).create(id=1, claim_seq=1, created_at=NOW, actor="ann")
    answer = client.get(f"/admin/dataqueue/{model}/")
    assert answer.status_code == 200
    assert isinstance(answer.context["cl"], KeysetChangeList)
    [row] = answer.context["cl"].result_list
    assert client.get(f"/admin/dataqueue/{model}/{row.pk}/change/").status_code == 200
    assert client.get(f"/admin/dataqueue/{model}/add/").status_code == 403
    assert client.post(f"/admin/dataqueue/{model}/{row.pk}/change/", {"status": "completed"}).status_code == 403
    if model != "job":
        assert client.post(f"/admin/dataqueue/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert answer.context["action_form"] is None


def test_a_list_shows_the_database_of_the_queue(client: Client, queue: JobQueue, database: str) -> None:
    job_id = queue.add_job("t", allow_unknown=True)
    assert ids_in(client.get(LIST)) == [job_id]
    assert Job.objects.using(database).filter(pk=job_id).exists()


def test_filters_offer_what_there_is(client: Client, queue: JobQueue) -> None:
    for job_type, name in (("a", "mail"), ("b", "mail"), ("b", "<b>")):
        queue.add_job(job_type, queue=name, allow_unknown=True)
    _, queues, types = client.get(LIST).context["cl"].filter_specs
    assert [value for value, _ in queues.lookup_choices] == ["<b>", "mail"]
    assert [value for value, _ in types.lookup_choices] == ["a", "b"]
    page = client.get(f"{LIST}?queue={quote('<b>')}&job_type=b")
    assert len(ids_in(page)) == 1
    assert "<b>" not in page.content.decode()


def test_a_filter_drops_the_page_one_was_on(client: Client, queue: JobQueue) -> None:
    queue.add_job("t", allow_unknown=True)
    page = client.get(f"{LIST}?after=5&queue=default")
    assert "after" not in page.context["cl"].get_query_string({"status": "failed"})


@pytest.fixture
def shelf(queue: JobQueue) -> dict[str, int]:
    """Jobs to search for."""
    return {
        "order": queue.add_job("send", tags=["vip", "two words"], idempotency_key="order-1", allow_unknown=True),
        "Order": queue.add_job("send", tags=["vip"], idempotency_key="Order-2", allow_unknown=True),
        "percent": queue.add_job("build", idempotency_key="100%_sure", allow_unknown=True),
        "quotes": queue.add_job("build", idempotency_key='it\'s "so" \\', allow_unknown=True),
        "plain": queue.add_job("order", tags=["<x>"], allow_unknown=True),
    }


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("order", {"plain"}),
        ("order-", {"order"}),
        ("key:order", {"order"}),
        ("key:Order", {"Order"}),
        ("type:send", {"order", "Order"}),
        ("send", {"order", "Order"}),
        ("sen", set()),
        ("tag:vip", {"order", "Order"}),
        ('tag:"two words"', {"order"}),
        ('"tag:two words"', {"order"}),
        ("tag:<x>", {"plain"}),
        ("tag:vip key:order", {"order"}),
        ("tag:vip type:build", set()),
        ("100%", {"percent"}),
        ("key:100%_", {"percent"}),
        ("%", set()),
        ("_", set()),
        ("key:%", set()),
        ("key:", set()),
        ('key:it\'s', {"quotes"}),
        ("id:x", set()),
        ("id:99999999999999999999", set()),
        ("9223372036854775808", set()),
        ("nonsense:order", set()),
    ],
)  # fmt: skip
def test_searching(client: Client, shelf: dict[str, int], typed: str, found: set[str]) -> None:
    answer = client.get(LIST, {"q": typed})
    assert {name for name, job_id in shelf.items() if job_id in ids_in(answer)} == found
    assert len(ids_in(answer)) == len(found)


def test_searching_by_id(client: Client, shelf: dict[str, int]) -> None:
    assert ids_in(client.get(LIST, {"q": str(shelf["percent"])})) == [shelf["percent"]]
    assert ids_in(client.get(LIST, {"q": f"id:{shelf['percent']}"})) == [shelf["percent"]]


@pytest.mark.parametrize(
    "typed",
    [
        "x" * 10_000,
        "a " * 5_000,
        "%_'\"\\;--(.*)+[" * 700,
        "'",
        '"',
        "tag:'",
        "key:\\",
        "\U0010ffff",
        "key:\U0010ffff" * 3,
        "id:²",
        "٣",
        "key:" + "ä" * 250,
    ],
)
def test_whatever_is_typed_is_only_looked_for(client: Client, shelf: dict[str, int], typed: str) -> None:
    answer = client.get(LIST, {"q": typed})
    assert answer.status_code == 200
    assert ids_in(answer) == []


@pytest.mark.parametrize("model", ["job", "jobevent", "jobtag"])
def test_a_nul_is_told_to_be_none(client: Client, queue: JobQueue, model: str) -> None:
    answer = client.get(f"/admin/dataqueue/{model}/", {"q": "a\0b"})
    assert answer.status_code == 200
    assert "Null characters are not allowed." in said(answer)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("status=evil", 302),
        ("after=x", 302),
        ("before=%00", 302),
        ("status__exact=evil", 400),
        ("payload__icontains=a", 400),
        ("no_such=1", 400),
        ("id__gt=1", 400),
        ("o=zz", 200),
        ("o=1.-2.99", 200),
        ("p=-1", 200),
        ("p=99999999", 200),
        ("p=x", 200),
        ("all=", 200),
        ("e=1", 200),
        ("_facets=1", 200),
        ("_popup=1", 200),
        ("_to_field=payload", 400),
        ("after=99999999999999999999999", 200),
        ("before=-99999999999999999999999", 200),
        ("after=-5&before=7", 200),
        ("queue=%00", 200),
        ("queue=" + "x" * 5000, 200),
        ("job_type=%F0%9F%92%A9%27%22", 200),
    ],
)
def test_bad_addresses(client: Client, queue: JobQueue, query: str, status: int) -> None:
    queue.add_job("t", allow_unknown=True)
    answer = client.get(f"{LIST}?{query}")
    assert answer.status_code == status
    if status == 302:
        assert answer["Location"].endswith("?e=1")


@pytest.mark.parametrize("query", ["job=x", "job=99999999999999999999", "job=%00", "job=-1"])
def test_bad_addresses_of_events(client: Client, queue: JobQueue, query: str) -> None:
    assert client.get(f"/admin/dataqueue/jobevent/?{query}").status_code == 302


def test_events_and_tags_of_one_job(client: Client, queue: JobQueue, database: str) -> None:
    ids = [queue.add_job("t", tags=["x"], allow_unknown=True) for _ in range(2)]
    for model, name in ((JobEvent, "jobevent"), (JobTag, "jobtag")):
        mine = list(model.objects.using(database).filter(job_id=ids[0]).values_list("pk", flat=True))
        assert ids_in(client.get(f"/admin/dataqueue/{name}/?job={ids[0]}")) == mine
        assert ids_in(client.get(f"/admin/dataqueue/{name}/?q={ids[0]}")) == mine
        assert ids_in(client.get(f"/admin/dataqueue/{name}/?q=x")) == []


def test_buckets_are_paged_by_their_key(client: Client, database: str) -> None:
    keys = [f"k{n:03}" for n in range(120)]
    RateBucket.objects.using(database).bulk_create([RateBucket(key=key, tokens=1, at=NOW) for key in keys])
    url = "/admin/dataqueue/ratebucket/"
    first = client.get(url)
    second = client.get(url + first.context["cl"].older)
    last = client.get(url + "?before=")
    assert (ids_in(first), ids_in(second), ids_in(last)) == (keys[:50], keys[50:100], keys[70:])
    assert ids_in(client.get(url + last.context["cl"].newer)) == keys[20:70]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "pending", "ready_at": NOW}, "Ready"),
        ({"status": "pending", "ready_at": NOW + timedelta(minutes=5)}, "Scheduled in 5 min"),
        ({"status": "pending", "ready_at": NOW, "open_dependencies": 1}, "Blocked"),
        ({"status": "pending", "paused_at": NOW}, "Paused"),
        ({"status": "pending", "paused_at": NOW, "paused_until": NOW + timedelta(minutes=5)}, "Paused for 5 min"),
        ({"status": "pending", "ready_at": NOW, "paused_at": NOW, "paused_until": NOW}, "Ready"),
        ({"status": "waiting", "wait_token_id": "t", "paused_at": NOW}, "Paused"),
        ({"status": "processing"}, "Running"),
        ({"status": "failed", "ready_at": NOW + timedelta(seconds=40)}, "Retrying in 40 s"),
        ({"status": "failed", "ready_at": NOW}, "Retrying"),
        ({"status": "failed"}, "Failed"),
        ({"status": "waiting", "wait_until": NOW + timedelta(days=3)}, "Sleeping for 3 d"),
        ({"status": "waiting", "wait_token_id": "t"}, "Awaiting approval"),
        ({"status": "completed"}, "Completed"),
        ({"status": "cancelled"}, "Cancelled"),
        ({"status": "news\x1b[0m"}, "news\\x1b[0m"),
    ],
)
def test_states_in_words(fields: dict[str, object], words: str) -> None:
    row = Job(pk=1, job_type="t", run_at=NOW, created_at=NOW, updated_at=NOW, **fields)
    assert label(row, NOW) == words
