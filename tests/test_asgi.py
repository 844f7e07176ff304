"""A worker inside an ASGI server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.core.asgi import get_asgi_application
from django.db import connections

from dataqueue_django import JobStatus, get_queue, job
from dataqueue_django.asgi import with_worker
from dataqueue_django.handlers import registry
from dataqueue_django.queue import JobQueue
from tests.harness.workers import PATIENCE, wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _forget_handlers() -> Iterator[None]:
    known = set(registry.types())
    yield
    for added in set(registry.types()) - known:
        registry.remove(added)
    wait_until(lambda: not threads())


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dataqueue")]


class Lifespan:
    """A server's side of one lifespan."""

    def __init__(self, application: Any) -> None:
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.create_task(application({"type": "lifespan"}, self._inbox.get, self._outbox.put))

    async def say(self, word: str) -> Any:
        """Send a message and return the answer."""
        await self._inbox.put({"type": f"lifespan.{word}"})
        return await asyncio.wait_for(self._outbox.get(), PATIENCE)

    async def ended(self) -> None:
        """Wait until the application has returned."""
        await asyncio.wait_for(self._task, PATIENCE)


async def until_completed(queue: JobQueue, id: int) -> None:
    """Wait for a job, in a thread that leaves no connection behind."""

    def look() -> None:
        try:
            wait_until(lambda: queue.store.get([id])[0].status is JobStatus.COMPLETED)
        finally:
            connections.close_all()

    await asyncio.to_thread(look)


def test_it_starts_and_stops_with_the_lifespan(queue: JobQueue) -> None:
    job("asgi.work")(lambda: None)
    id = queue.add_job("asgi.work", {})

    async def exchange() -> None:
        lifespan = Lifespan(with_worker(get_asgi_application(), alias=queue.alias, poll_interval=0.02))
        assert not threads()
        assert await lifespan.say("startup") == {"type": "lifespan.startup.complete"}
        await until_completed(queue, id)
        assert await lifespan.say("shutdown") == {"type": "lifespan.shutdown.complete"}
        await lifespan.ended()

    asyncio.run(exchange())
    assert queue.get_live_workers() == []


def test_a_server_does_not_start_with_options_that_make_no_sense(queue: JobQueue) -> None:
    async def exchange() -> Any:
        lifespan = Lifespan(with_worker(get_asgi_application(), alias=queue.alias, concurrency=0))
        answer = await lifespan.say("startup")
        await lifespan.ended()
        return answer

    answer = asyncio.run(exchange())
    assert answer["type"] == "lifespan.startup.failed"
    assert "concurrency is 0" in answer["message"]


def test_a_shutdown_without_a_startup_is_answered(queue: JobQueue) -> None:
    async def exchange() -> Any:
        return await Lifespan(with_worker(get_asgi_application(), alias=queue.alias)).say("shutdown")

    assert asyncio.run(exchange()) == {"type": "lifespan.shutdown.complete"}


def test_all_else_goes_to_the_application(queue: JobQueue) -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope, receive, send = {"type": "http"}, object(), object()
    asyncio.run(with_worker(inner)(scope, receive, send))  # type: ignore[arg-type]
    assert seen == [(scope, receive, send)]
    assert not threads()


def test_under_uvicorn(queue: JobQueue) -> None:
    job("asgi.uvicorn")(lambda: None)
    id = queue.add_job("asgi.uvicorn", {})
    application = with_worker(get_asgi_application(), alias=queue.alias, poll_interval=0.02)
    config = uvicorn.Config(application, port=0, lifespan="on", ws="none", http="h11", log_config=None)

    async def serve() -> None:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await until_completed(queue, id)
        assert server.started
        server.should_exit = True
        await asyncio.wait_for(task, PATIENCE)

    asyncio.run(serve())
    assert queue.get_live_workers() == []
