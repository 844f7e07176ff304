"""One request, from the standard library alone: no redirects, no proxies, bounded in time and in size."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from .addresses import connected, port_of, split

TIMEOUT = 10.0
"""Seconds for connecting, and for each part of an answer."""

MOST_READ = 1_000
"""Bytes of an answer that are read."""

SHORTEST, LONGEST = 0.1, 3600.0
"""Seconds that a host can put a delivery off for."""


class NoAnswer(Exception):
    """A host could not be asked, or has not answered as one does; it may later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host has answered."""

    status: int
    text: str
    retry_after: str

    def wait(self, now: float) -> float:
        """Return for how many seconds the host wants to be left alone; it may say so by a number or a date."""
        seconds = 1.0
        if self.retry_after.isascii() and self.retry_after.isdigit():
            seconds = float(self.retry_after[:9])
        elif self.retry_after:
            with suppress(ValueError, OverflowError):
                seconds = parsedate_to_datetime(self.retry_after).timestamp() - now
        return min(max(seconds, SHORTEST), LONGEST)


def post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    """Send a body and return the answer; raises NoAnswer, and BadAddress for where nothing is sent to."""
    parts = split(url)
    https = parts.scheme == "https"
    host = str(parts.hostname)
    connection = (HTTPSConnection if https else HTTPConnection)(host, port_of(parts), timeout=TIMEOUT)
    try:
        sock = connected(url, TIMEOUT)
        connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host) if https else sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {**headers, "Connection": "close"})
        answer = connection.getresponse()
        text = answer.read(MOST_READ).decode("utf-8", "replace")
        return Answer(answer.status, text, answer.getheader("Retry-After", "").strip())
    except (OSError, HTTPException) as why:
        raise NoAnswer(f"{type(why).__name__}: {why}"[:200]) from why
    finally:
        connection.close()
