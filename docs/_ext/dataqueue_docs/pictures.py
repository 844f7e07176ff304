"""Pictures of our own are put into the page itself and follow its theme; lifecycle cells get their colour."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

MARKS = {
    "→": "dq-moves",
    "stays": "dq-stays",
    "·": "dq-nothing",
    "409": "dq-refused",
    "404": "dq-nothing",
    "lost": "dq-lost",
}


def setup(app: Sphinx) -> None:
    """Connect both to finished pages."""
    app.connect("doctree-read", _mark_cells)
    app.connect("doctree-read", _inline_pictures)


def _inline_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Replace each SVG of `images/` by its text; only formats other than HTML keep the file."""
    for image in list(doctree.findall(nodes.image)):
        uri = image["uri"]
        if app.builder.format == "html" and uri.endswith(".svg") and uri.startswith("images/"):
            drawing = (Path(app.srcdir) / uri).read_text()
            figure = f'<div class="dq-picture">{drawing}</div>'
            target = image.parent if isinstance(image.parent, nodes.paragraph) else image
            target.replace_self(nodes.raw("", figure, format="html"))


def _mark_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give the cells of the lifecycle table classes by what they say."""
    if app.env.docname != "lifecycle":
        return
    for table in doctree.findall(nodes.table):
        entries = list(table.findall(nodes.entry))
        if entries and entries[0].astext() == "operation":
            table["classes"].append("dq-operations")
            for entry in entries:
                text = entry.astext()
                entry["classes"] += [mark for start, mark in MARKS.items() if text.startswith(start)]
