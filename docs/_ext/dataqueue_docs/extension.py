"""The Sphinx extension: directives for what is drawn from the code, and what autodoc is told."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from . import directives, pictures, twins


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and hooks."""
    directives.setup(app)
    pictures.setup(app)
    twins.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
