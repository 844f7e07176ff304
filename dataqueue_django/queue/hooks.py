"""Where the test kit looks over the queue's shoulder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Listener = Callable[[str, Sequence[int]], None]
"""Called with the alias and the ids of jobs that were just inserted, inside the caller's transaction."""

listeners: list[Listener] = []


def inserted(alias: str, job_ids: Sequence[int]) -> None:
    """Tell the innermost listener, if there is one."""
    if listeners:
        listeners[-1](alias, job_ids)
