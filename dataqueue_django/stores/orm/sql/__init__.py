"""Statements kept in files of their own, one purpose each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> str:
    """Return the statement in `name`, such as "portable/lanes", without its comments."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    lines = (line.split("--", 1)[0].rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)
