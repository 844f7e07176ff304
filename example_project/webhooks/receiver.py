"""Hosts to deliver to, for the demo and the tests: real HTTP servers on free ports here, each with its manners.

They look at signatures, and keep what they were asked and how many asked at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .signing import HEADER, is_signed

LARGEST = 100_000
MANNERS = ("quick", "busy", "gone")
"""Quick ones take everything, busy ones answer 429 beyond `BUSY` requests a second, those that are gone answer 410."""

BUSY = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how it was answered."""

    at: float
    delivery: str
    is_signed: bool
    status: int


class Receiver:
    """A server in threads of this process; `with` runs it."""

    def __init__(self, manner: str, secret: str, *, takes: float = 0.05, answers: tuple[int, ...] = ()) -> None:
        """`takes` are the seconds that it takes to answer, `answers` what it answers first, before its manner."""
        self.manner = manner
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._secret = secret
        self._takes = takes
        self._answers = list(answers)
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}/{self.manner}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, delivery: str, body: bytes, signature: str) -> int:
        """Take one request and return the status to answer with."""
        at = time.time()
        signed = is_signed(self._secret, body, signature, at)
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            status = self._status(at) if signed else 403
            self.asked.append(Asked(at, delivery, signed, status))
        time.sleep(self._takes)
        with self._lock:
            self._at_once -= 1
        return status

    def _status(self, at: float) -> int:
        if self._answers:
            return self._answers.pop(0)
        if self.manner == "gone":
            return 410
        lately = [one for one in self.asked if one.status == 200 and one.at > at - 1]
        return 429 if self.manner == "busy" and len(lately) >= BUSY else 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", 0)), LARGEST)
                body = self.rfile.read(length)
                said = self.headers.get("X-Fieldbook-Delivery", "")
                status = receiver.answer(said, body, self.headers.get(HEADER, ""))
                self.send_response(status)
                if status in (429, 503):
                    self.send_header("Retry-After", "1")
                if status == 302:
                    self.send_header("Location", receiver.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keep quiet: what was asked is kept."""

        return Handler


@contextmanager
def receiving(secret: str) -> Iterator[list[Receiver]]:
    """Run one receiver of each manner."""
    with ExitStack() as running:
        yield [running.enter_context(Receiver(manner, secret)) for manner in MANNERS]
