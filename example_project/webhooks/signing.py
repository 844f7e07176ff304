"""Signatures by which a receiver knows who has sent an event, and that it is not an old one sent again."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Fieldbook-Signature"
FRESH = 300
"""Seconds for which a signature is taken."""


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the header's value for a body that is sent at a time, in seconds since 1970."""
    return f"t={at},v1={_digest(secret, body, at)}"


def is_signed(secret: str, body: bytes, value: str, now: float) -> bool:
    """Return whether a header's value is a fresh signature of a body: what a receiver asks."""
    said = dict(part.partition("=")[::2] for part in value.split(","))
    at = said.get("t", "")
    if not at.isascii() or not at.isdigit() or len(at) > 12 or abs(now - int(at)) > FRESH:
        return False
    return hmac.compare_digest(_digest(secret, body, int(at)).encode(), said.get("v1", "").encode())


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
