"""What autodoc is told: twins have no entry of their own, and only what users construct shows how to."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sphinx.application import Sphinx

from .methods import is_twin


def setup(app: Sphinx) -> None:
    """Connect to autodoc."""
    app.connect("autodoc-skip-member", _skip_twin)
    app.connect("autodoc-process-docstring", _name_twin)
    app.connect("autodoc-process-signature", _hide_constructor)


def _skip_twin(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    made_of = getattr(obj, "__wrapped__", None)
    return True if made_of is not None and name == f"a{made_of.__name__}" else None


def _name_twin(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Add a line about the async twin, and its name to the index."""
    if what != "method":
        return
    owner, _, method = name.rpartition(".")
    module, _, cls = owner.rpartition(".")
    holder = getattr(import_module(module), cls, None)
    if is_twin(holder, f"a{method}"):
        lines += ["", f".. index:: a{method}", "", f"Async twin: `a{method}`."]


def _hide_constructor(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str] | None:
    """Show no constructor where users are given the object, and none where a table lists the fields."""
    return ("", "") if what == "class" and signature else None
