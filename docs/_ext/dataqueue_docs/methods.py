"""The reference of JobQueue: its methods by capability, each with its async twin."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

QUEUE = "dataqueue_django.queue.JobQueue"


def capabilities() -> Iterator[tuple[str, list[str]]]:
    """Yield each capability of JobQueue with its methods, in the order in which the class names them."""
    from dataqueue_django.queue import JobQueue

    for base in JobQueue.__mro__[1:]:
        names = [name for name, member in vars(base).items() if inspect.isfunction(member)]
        public = [n for n in names if not n.startswith("_") and not is_twin(base, n)]
        if public:
            yield base.__name__, public


def reference(_: str = "") -> str:
    """Return a section in Markdown for each capability."""
    return "\n\n".join(f"## {name}\n\n{_autodoc(methods)}" for name, methods in capabilities())


def is_twin(owner: Any, name: str) -> bool:
    """Return whether `name` is the async twin of another method of `owner`."""
    made_of = getattr(getattr(owner, name, None), "__wrapped__", None)
    return made_of is not None and name == f"a{made_of.__name__}"


def _autodoc(methods: list[str]) -> str:
    return "\n".join(["```{eval-rst}", *(f".. automethod:: {QUEUE}.{name}\n" for name in methods), "```"])
