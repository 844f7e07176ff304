"""Webhooks: real requests to real servers, what hosts answer, limits for each host, and what is not asked for."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from dataqueue_django import FailureReason, JobStatus, get_queue
from example_project.webhooks import addresses, posting
from example_project.webhooks.addresses import BadAddress, connected, host_of
from example_project.webhooks.jobs import AT_ONCE, JOB_TYPE, PER_SECOND, limit_hosts, send
from example_project.webhooks.models import Delivery, Outcome
from example_project.webhooks.posting import Answer, NoAnswer, post
from example_project.webhooks.receiver import BUSY, Receiver
from example_project.webhooks.signing import FRESH, is_signed, signature

from .conftest import job_of, rows_of_every_table, work_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)

PAGE, SEND = reverse("webhooks:webhooks"), reverse("webhooks:send")
SECRET = "webhooks"

Start = Callable[..., Receiver]


@pytest.fixture
def start(settings: Any) -> Iterator[Start]:
    """Start a receiver, which the settings then name as one of ours."""
    with ExitStack() as running:

        def run(manner: str = "quick", **options: Any) -> Receiver:
            receiver = running.enter_context(Receiver(manner, SECRET, **options))
            settings.WEBHOOK_RECEIVERS = [*settings.WEBHOOK_RECEIVERS, receiver.url]
            return receiver

        yield run


def one(url: str) -> Delivery:
    [delivery] = send(url, [json.dumps({"event": "airport.changed", "name": "Zürich"}, ensure_ascii=False)])
    return delivery


def kept(delivery: Delivery) -> Delivery:
    delivery.refresh_from_db()
    return delivery


# -- delivering


def test_an_event_is_delivered_signed_and_once(start: Start, work: Callable[[], None]) -> None:
    receiver = start()
    delivery = one(receiver.url)
    work()
    [asked] = receiver.asked
    assert (asked.delivery, asked.is_signed, asked.status) == (str(delivery.pk), True, 200)
    assert (kept(delivery).outcome, delivery.answer) == (Outcome.DELIVERED, "200")
    job = job_of(delivery.job_id)
    assert (job.status, job.group_id) == (JobStatus.COMPLETED, host_of(receiver.url))


def test_a_host_that_wants_to_be_left_alone_is(start: Start, work: Callable[[], None]) -> None:
    limit_hosts()
    receiver = start(answers=(429, 503))
    delivery = one(receiver.url)
    job = work_to_the_end(work, delivery.job_id)
    assert [asked.status for asked in receiver.asked] == [429, 503, 200]
    times = [asked.at for asked in receiver.asked]
    assert min(later - before for before, later in pairwise(times)) > 0.9  # Retry-After: 1
    assert (kept(delivery).outcome, delivery.times_put_off, job.attempts) == (Outcome.DELIVERED, 2, 1)


def test_one_host_that_is_busy_keeps_no_other_waiting(start: Start, work: Callable[[], None]) -> None:
    limit_hosts()
    busy, quick = start(answers=(429,)), start()
    first, second, other = one(busy.url), one(busy.url), one(quick.url)
    work()
    assert kept(other).outcome == Outcome.DELIVERED
    for delivery in (first, second):
        work_to_the_end(work, delivery.job_id)
        assert kept(delivery).outcome == Outcome.DELIVERED
    assert max(asked.at for asked in quick.asked) < busy.asked[-1].at


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302])
def test_a_refusal_is_final(start: Start, work: Callable[[], None], status: int) -> None:
    receiver = start(answers=(status,))
    delivery = one(receiver.url)
    work()
    assert len(receiver.asked) == 1
    assert (kept(delivery).outcome, delivery.answer) == (Outcome.REFUSED, str(status))
    job = job_of(delivery.job_id)
    assert (job.status, job.will_retry, job.attempts) == (JobStatus.FAILED, False, 1)


def test_a_host_that_fails_is_asked_again(start: Start, work: Callable[[], None]) -> None:
    receiver = start(answers=(500,))
    delivery = one(receiver.url)
    assert work_to_the_end(work, delivery.job_id).attempts == 2
    assert kept(delivery).outcome == Outcome.DELIVERED


def test_a_host_that_is_not_there_is_asked_again(settings: Any, work: Callable[[], None]) -> None:
    with Receiver("quick", SECRET) as receiver:
        url = receiver.url
    settings.WEBHOOK_RECEIVERS = [url]
    delivery = one(url)
    work()
    job = job_of(delivery.job_id)
    assert job.will_retry
    assert job.error_history[-1]["type"].endswith("NoAnswer")


def test_limits_hold_for_each_host_by_itself(start: Start, work: Callable[[], None]) -> None:
    limit_hosts()
    receivers = [start(takes=0.1) for _ in range(2)]
    for receiver in receivers:
        send(receiver.url, ["{}"] * (PER_SECOND + 2))
    while get_queue().count_jobs({"job_type": JOB_TYPE, "status": "pending"}):
        work()
    for receiver in receivers:
        times = sorted(asked.at for asked in receiver.asked)
        assert len(times) == PER_SECOND + 2
        assert receiver.most_at_once <= AT_ONCE
        assert times[PER_SECOND] - times[0] > 0.5


def test_a_busy_receiver_takes_so_many_a_second() -> None:
    with Receiver("busy", SECRET, takes=0) as receiver:
        said = [receiver.answer("1", b"x", signature(SECRET, b"x", int(time.time()))) for _ in range(BUSY + 2)]
    assert said == [200] * BUSY + [429] * 2


def test_the_limit_that_people_set_stays() -> None:
    get_queue().set_limit(job_type=JOB_TYPE, per_group=True, concurrency=9)
    limit_hosts()
    [limit] = get_queue().get_limits()
    assert limit.concurrency == 9


# -- addresses, answers and signatures


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://example.com/", "file:///etc/passwd", "http://", "http:///x", "http://a:b@example.com/",
     "http://a@example.com", "http://example.com:0/", "http://example.com:99999/", "http://[::1", "http://a b/",
     "http://example.com/\r\nX: y", "http://ex\u00e4mple.com/", "http://example.com/" + "x" * 500, "//example.com/"],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadAddress):
        host_of(url)


def test_hosts_are_named_with_their_ports() -> None:
    assert host_of("http://Example.com/a?b") == host_of("http://example.com:80") == "example.com:80"
    assert host_of("https://example.com") == "example.com:443"
    assert host_of("http://[::1]/") == "[::1]:80"


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_no_private_network_is_asked(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    found = [(0, 0, 0, "", ("93.184.215.14", 80)), (0, 0, 0, "", (place, 80))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(BadAddress, match="public"):
        connected("http://example.com/", 1)


def test_a_public_address_is_connected_to_as_it_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("93.184.215.14", 8080))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(addresses.socket, "create_connection", lambda place, timeout: (place, timeout))
    assert connected("http://example.com:8080/", 1) == (("93.184.215.14", 8080), 1)


def test_the_next_place_is_tried_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(0, 0, 0, "", ("2606:2800:21f::1", 80)), (0, 0, 0, "", ("93.184.215.14", 80))]

    def connect(place: tuple[str, int], timeout: float) -> tuple[str, int]:
        if ":" in place[0]:
            raise OSError("unreachable")
        return place

    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(addresses.socket, "create_connection", connect)
    assert connected("http://example.com/", 1) == ("93.184.215.14", 80)


def test_what_no_host_can_be_called() -> None:
    with pytest.raises(BadAddress, match="no name of a host"):
        connected(f"http://{'a' * 70}.example/", 1)


def test_a_delivery_to_a_private_address_is_given_up(work: Callable[[], None]) -> None:
    delivery = one("http://127.0.0.1:1/")
    work()
    assert (kept(delivery).outcome, delivery.answer) == (Outcome.REFUSED, "This host is in no public network.")
    job = job_of(delivery.job_id)
    assert (job.failure_reason, job.will_retry, job.attempts) == (FailureReason.GIVEN_UP, False, 1)


@pytest.mark.parametrize(
    ("said", "wait"),
    [("", 1.0), ("7", 7.0), ("0", 0.1), ("99999999999999999999", 3600.0), ("soon", 1.0), ("-5", 1.0), ("1.5", 1.0),
     ("Thu, 01 Jan 1970 00:01:40 GMT", 50.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.1)],
)  # fmt: skip
def test_how_long_a_host_wants_to_be_left_alone(said: str, wait: float) -> None:
    assert Answer(429, "", said).wait(50.0) == wait


def test_signatures() -> None:
    value = signature(SECRET, b"{}", 1000)
    assert is_signed(SECRET, b"{}", value, 1000 + FRESH)
    assert not is_signed(SECRET, b"{}", value, 1001 + FRESH)
    assert not is_signed(SECRET, b"{ }", value, 1000)
    assert not is_signed("other", b"{}", value, 1000)
    for bad in ("", "t=1000", "v1=x", "t=x,v1=y", value.replace("t=1000", "t=1001"), "t=1000,v1=\u00fc"):
        assert not is_signed(SECRET, b"{}", bad, 1000)


class Endless(BaseHTTPRequestHandler):
    """Answers with more than anybody wants to read."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            return

    def log_message(self, *_: Any) -> None: ...


def test_no_more_of_an_answer_is_read_than_is_wanted(settings: Any) -> None:
    server = HTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        settings.WEBHOOK_RECEIVERS = [url]
        assert len(post(url, b"{}", {}).text) == posting.MOST_READ
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_host_that_does_not_answer_is_left(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        settings.WEBHOOK_RECEIVERS = [url]
        with pytest.raises(NoAnswer, match="TimeoutError"):
            post(url, b"{}", {})


# -- the page


def test_the_page_sends_and_shows_what_came_of_it(demo: Client, start: Start, work: Callable[[], None]) -> None:
    limit_hosts()
    receiver, gone = start(), start("gone")
    assert receiver.url in demo.get(PAGE).content.decode()
    page = demo.post(SEND, {"url": receiver.url, "events": "3"}, follow=True).content.decode()
    assert f"3 events are on their way to {host_of(receiver.url)}." in page
    assert page.count("waits for its turn") == 3
    assert 'http-equiv="refresh"' in page
    assert f"3 wait, 0 of at most {AT_ONCE} run; at most {PER_SECOND} within 1 s." in page
    demo.post(SEND, {"url": gone.url, "events": "1"})
    work()
    page = demo.get(PAGE).content.decode()
    assert (page.count("delivered, 200"), page.count("refused, 410")) == (3, 1)
    assert 'http-equiv="refresh"' not in page
    ids = [int(found) for found in re.findall(r'<th scope="row">(\d+) ', page)]
    assert len(ids) == 4
    assert Delivery.objects.count() == 4


@pytest.mark.parametrize(
    ("url", "events", "words"),
    [
        ("file:///etc/passwd", "1", "begins with http"),
        ("<script>alert(1)</script>", "1", "begins with http"),
        ("http://example.com/", "0", "greater than or equal to 1"),
        ("http://example.com/", "31", "less than or equal to 30"),
    ],
)
def test_what_is_not_sent(demo: Client, url: str, events: str, words: str) -> None:
    answer = demo.post(SEND, {"url": url, "events": events})
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert "<script>" not in answer.content.decode()
    assert not Delivery.objects.exists()
    assert get_queue().count_jobs() == 0


def test_the_page_holds_no_foreign_markup(demo: Client, work: Callable[[], None]) -> None:
    Delivery.objects.create(url="<b>", host="<script>", body="{}", outcome=Outcome.REFUSED, answer="<svg>")
    page = demo.get(PAGE).content.decode()
    for words in ("<b>", "<script>", "<svg>"):
        assert words not in page


def test_strangers_are_asked_to_log_in(client: Client) -> None:
    before = rows_of_every_table()
    assert [client.get(PAGE).status_code, client.post(SEND, {"url": "http://a/", "events": 1}).status_code] == [302] * 2
    assert rows_of_every_table() == before


@pytest.mark.parametrize(("codename", "statuses"), [("view_delivery", [200, 403]), ("add_delivery", [403, 302])])
def test_looking_and_sending_have_permissions_of_their_own(client: Client, codename: str, statuses: list[int]) -> None:
    user = User.objects.create_user("somebody")
    user.user_permissions.add(Permission.objects.get(content_type__app_label="webhooks", codename=codename))
    client.force_login(user)
    sent = client.post(SEND, {"url": "http://example.com/", "events": 1})
    assert [client.get(PAGE).status_code, sent.status_code] == statuses


def test_sending_takes_a_post_with_its_token(settings: Any) -> None:
    settings.DEBUG = True
    client = Client(enforce_csrf_checks=True)
    assert client.post(SEND, {"url": "http://example.com/", "events": 1}).status_code == 403
    assert client.get(SEND).status_code == 405
    assert not Delivery.objects.exists()
