"""What writes Markdown before it is parsed: directives for tables, commands and methods, and the glossary."""

from __future__ import annotations

from collections.abc import Callable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import commands, glossary, methods, tables

WRITERS: dict[str, Callable[[str], str]] = {
    "settings-table": tables.settings_table,
    "fields-table": tables.fields_table,
    "signals-table": tables.signals_table,
    "commands": commands.reference,
    "queue-methods": methods.reference,
}


def setup(app: Sphinx) -> None:
    """Register a directive for each writer."""
    for name, writer in WRITERS.items():
        app.add_directive(name, _directive(writer))
    app.connect("source-read", _write_terms)


def _write_terms(app: Sphinx, page: str, source: list[str]) -> None:
    if page == "glossary":
        source[0] = glossary.with_terms(source[0])


def _directive(writer: Callable[[str], str]) -> type[SphinxDirective]:
    class Written(SphinxDirective):
        """Replaced by what its writer says about its argument."""

        optional_arguments = 1
        final_argument_whitespace = True

        def run(self) -> list[nodes.Node]:
            text = writer(self.arguments[0] if self.arguments else "")
            return self.parse_text_to_nodes(text, allow_section_headings=True)

    return Written
