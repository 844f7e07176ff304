"""Who may call: the secret, methods, and what stands in front of a project's pages."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

import pytest
from django.db import OperationalError
from django.test import AsyncClient, Client
from django.urls import reverse

from dataqueue_django.endpoints import guard, tasks
from dataqueue_django.queue import JobQueue
from tests.endpoints.conftest import SECRET, Call

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

GUARDED = ("process", "reclaim", "cleanup", "expire", "maintenance", "metrics")


@pytest.fixture(autouse=True)
def _with_secret(settings: Any) -> None:
    settings.DATAQUEUE_CRON_SECRET = SECRET


def get(name: str, authorization: str | None = None, **query: Any) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Client().get(f"/dataqueue/{name}", query, headers=headers)


def test_the_names_can_be_reversed() -> None:
    assert reverse("dataqueue:process") == "/dataqueue/process"


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("secret", ["", "  \n"])
def test_without_a_secret_there_is_nothing(settings: Any, name: str, secret: str) -> None:
    settings.DATAQUEUE_CRON_SECRET = secret
    for authorization in (None, "Bearer ", "", "Bearer x"):
        answer = get(name, authorization)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    del settings.DATAQUEUE_CRON_SECRET
    assert get(name, "Bearer None").status_code == 404


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {SECRET}", SECRET[:-1], f"{SECRET}x", "ß", "x" * 100_000],
)
def test_the_wrong_secret(name: str, given: str | None) -> None:
    answer = get(name, given)
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})
    assert answer["WWW-Authenticate"] == "Bearer"
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("given", [f"Bearer {SECRET}", SECRET, f"bearer  {SECRET} ", f" {SECRET}"])
def test_the_right_secret(queue: JobQueue, given: str) -> None:
    assert get("expire", given, alias=queue.alias).json() == {"message": "Timed out tokens expired", "expired": 0}


@pytest.mark.parametrize("sent", ["schlüssel", "鍵"])
def test_a_secret_that_is_not_ascii(queue: JobQueue, settings: Any, sent: str) -> None:
    settings.DATAQUEUE_CRON_SECRET = f"{sent}\n"
    as_servers_say_it = sent.encode().decode("latin-1")
    assert get("expire", f"Bearer {as_servers_say_it}", alias=queue.alias).status_code == 200
    assert get("expire", "Bearer schl\xfcsse", alias=queue.alias).status_code == 401
    assert get("expire", "Bearer \udcff鍵x", alias=queue.alias).status_code == 401


def test_secrets_are_compared_in_constant_time(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, secret: bytes) -> bool:
        compared.append((given, secret))
        return hmac.compare_digest(given, secret)

    monkeypatch.setattr(guard, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    get("expire", "Bearer wrong", alias=queue.alias)
    assert compared == [(b"wrong", SECRET.encode())]


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(name: str, method: str) -> None:
    answer = Client().generic(method, f"/dataqueue/{name}", headers={"Authorization": f"Bearer {SECRET}"})
    assert answer.status_code == 405
    assert "GET" in answer["Allow"]


def test_posts_need_no_csrf_token_and_no_login(call: Call, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert call("expire", {}).status_code == 200


def test_atomic_requests_do_not_reach_it(call: Call, queue: JobQueue, settings: Any) -> None:
    from django.db import connections

    for alias in connections:
        connections[alias].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert call("process").json()["processed"] == 0
    finally:
        for alias in connections:
            connections[alias].settings_dict["ATOMIC_REQUESTS"] = False


def test_a_transaction_around_it_is_refused(call: Call, queue: JobQueue) -> None:
    from django.db import transaction

    with transaction.atomic(using=queue.alias):
        answer = call("process")
    assert answer.status_code == 409
    assert "inside a transaction" in answer.json()["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(OperationalError("away: password=x"), 503), (ConnectionError("x"), 503), (KeyError("x"), 500)],
)
def test_errors_are_a_sentence_and_a_line_in_the_log(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(tasks, "_expire", fail)
    answer = call("expire")
    assert answer.status_code == status
    assert list(answer.json()) == ["message"]
    assert "password" not in answer.content.decode()
    assert "Traceback" not in answer.content.decode()
    assert [record for record in caplog.records if record.name == "dataqueue_django" and record.exc_info]


def test_the_same_under_asgi(queue: JobQueue) -> None:
    async def served() -> Any:
        client = AsyncClient()
        headers = {"Authorization": f"Bearer {SECRET}"}
        good = await client.get("/dataqueue/process", {"alias": queue.alias}, headers=headers)
        bad = await client.get("/dataqueue/process", headers={"Authorization": "Bearer x"})
        return good, bad

    good, bad = asyncio.run(served())
    assert (good.status_code, good.json()["processed"], bad.status_code) == (200, 0, 401)
