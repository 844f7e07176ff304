"""What the jobs carry, the same for the queue and the raw loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TEXT = "a payload of about a hundred bytes, as jobs commonly carry: names, numbers and the like"


def payloads(count: int) -> Iterator[dict[str, Any]]:
    """Yield that many different payloads."""
    return ({"n": n, "text": TEXT} for n in range(count))
