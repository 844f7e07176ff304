"""A worker inside an ASGI server, which starts and stops with it: in asgi.py,

    application = with_worker(get_asgi_application(), queues=["mail"])

with the options of `create_processor`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Unpack

from . import conf
from .queue import get_queue

if TYPE_CHECKING:
    from .queue.processing import ProcessorSettings
    from .worker.processor import Processor

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def with_worker(
    application: Application,
    *,
    alias: str = conf.DEFAULT_ALIAS,
    drain: float = 25.0,
    **options: Unpack[ProcessorSettings],
) -> Application:
    """Return `application` with a processor beside it that works while the server does.

    It starts and ends with the server's lifespan: what runs then has `drain` seconds to end, and is given back
    otherwise. `options` are those of `create_processor`. An `application` with a lifespan of its own does not hear of
    it. A server that does not speak the lifespan protocol starts nothing. Each server process has a worker of its own.
    """

    async def serve(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        await _live(lambda: get_queue(alias).create_processor(**options), drain, receive, send)

    return serve


async def _live(make: Callable[[], Processor], drain: float, receive: Receive, send: Send) -> None:
    """Answer the messages of one lifespan."""
    processor: Processor | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                processor = make()
                processor.start_in_background()
            except Exception as why:
                await send({"type": "lifespan.startup.failed", "message": str(why)})
                return
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if processor is not None:
                await processor.astop_and_drain(drain)
            await send({"type": "lifespan.shutdown.complete"})
            return
