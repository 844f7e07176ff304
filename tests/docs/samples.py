"""The samples of a page, and how they are run.

A page is read from top to bottom, as a reader does, and its Python blocks share one namespace:

* a block whose first line is a path (``# shop/jobs.py``) becomes that module, which later blocks can import;
* ``# settings.py`` is checked as settings;
* ``expression  # → value`` has to come to that value;
* a comment ``<!-- run … -->`` holds code that readers do not see: what a page takes for granted, or checks on it;
* a comment ``<!-- not run: why -->`` before a block lets it be compiled only;
* ``report`` and ``page`` are there without a word: whatever a project tells its people with.

No library does this: collectors of the doctest kind make every block a test of its own, and tests here run in random
order.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from asgiref.sync import async_to_sync

from dataqueue_django import conf

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "example_project").rglob("README.md")]
    if "_ext" not in path.parts
)

_BLOCK = re.compile(
    r"^```\{.*?^```$"  # a directive
    r"|<!-- run\n(?P<hidden>.*?)^-->$"
    r"|(?:^<!-- not run: (?P<reason>.+?) -->\n+)?^```(?P<language>[a-z]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MODULE = re.compile(r"# (?P<path>[a-z_]+(/[a-z_]+)*\.py)\b")
_EXPECTED = re.compile(r"# → (?P<value>.+)$")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One block of a page; `line` is where its code begins."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None = None
    hidden: bool = False

    @property
    def module(self) -> str | None:
        """The module that the block is, if its first line says so."""
        found = _MODULE.match(self.code)
        return found["path"].removesuffix(".py").replace("/", ".") if found else None

    def compiled(self, tree: ast.AST, mode: str = "exec") -> CodeType:
        """Return code for a part of the block, named by the page's file."""
        return compile(tree, str(self.page), mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    def parsed(self) -> ast.Module:
        """Return the block's syntax tree with the lines of the page; raises SyntaxError."""
        tree = compile(
            self.code,
            f"{self.page}:{self.line}",
            "exec",
            ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        assert isinstance(tree, ast.Module)
        return ast.increment_lineno(tree, self.line - 1)


def samples_of(page: Path) -> list[Sample]:
    """Return the blocks of a page in order, hidden ones among them as Python."""
    text = page.read_text()
    return [_sample(page, text, found) for found in _BLOCK.finditer(text) if not found[0].startswith("```{")]


def _sample(page: Path, text: str, found: re.Match[str]) -> Sample:
    part = "hidden" if found["hidden"] is not None else "code"
    return Sample(
        page=page,
        line=text.count("\n", 0, found.start(part)) + 1,
        language="python" if part == "hidden" else found["language"],
        code=found[part],
        reason=found["reason"],
        hidden=part == "hidden",
    )


def run_page(page: Path) -> None:
    """Run a page's Python blocks in order, as the module docstring says."""
    shared: dict[str, Any] = {"__name__": "page", "report": print, "page": print}
    for sample in samples_of(page):
        if sample.language != "python":
            continue
        tree = sample.parsed()
        if sample.reason is not None:
            continue
        if sample.module == "settings":
            _check_settings(_run(sample, tree, {}))
        elif sample.module:
            names = _module(sample.module).__dict__
            run_test_cases(_run(sample, tree, names))
            shared.update({name: value for name, value in names.items() if not name.startswith("__")})
        else:
            _run(sample, tree, shared)


def _module(name: str) -> ModuleType:
    """Return the module that a page writes, made along with its packages when it is not there yet."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        path = ".".join(parts[:length])
        if path not in sys.modules:
            module = sys.modules[path] = ModuleType(path)
            module.__path__ = []
            if length > 1:
                setattr(sys.modules[".".join(parts[: length - 1])], parts[length - 1], module)
    return sys.modules[name]


def _run(sample: Sample, tree: ast.Module, names: dict[str, Any]) -> dict[str, Any]:
    lines = sample.code.splitlines()
    for statement in tree.body:
        last = lines[(statement.end_lineno or statement.lineno) - sample.line]
        expected = _EXPECTED.search(last)
        if isinstance(statement, ast.Expr) and expected:
            value = _evaluate(sample, statement.value, names)
            wanted = expected["value"].strip()
            assert wanted in (repr(value), str(value)), f"{sample.page}:{statement.lineno} is {value!r}, not {wanted}"
        else:
            _await(eval(sample.compiled(ast.Module([statement], [])), names))
    return names


def _evaluate(sample: Sample, expression: ast.expr, names: dict[str, Any]) -> Any:
    return _await(eval(sample.compiled(ast.Expression(expression), "eval"), names))


def _await(value: Any) -> Any:
    if not inspect.iscoroutine(value):
        return value

    async def waited() -> Any:
        return await value

    return async_to_sync(waited)()


def _check_settings(names: dict[str, Any]) -> None:
    for alias, declared in names.get("DATAQUEUE", {}).items():
        conf.read(declared, f"DATAQUEUE[{alias!r}]")


def run_test_cases(names: dict[str, Any]) -> None:
    """Run the test cases that a module defines."""
    for kind in list(names.values()):
        if isinstance(kind, type) and issubclass(kind, unittest.TestCase) and kind.__module__ == names["__name__"]:
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
            assert result.testsRun, f"{kind.__name__} has no tests"
            assert result.wasSuccessful(), "\n".join(text for _, text in [*result.errors, *result.failures])


def command_lines(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of each `manage.py` call in the blocks of a page that are not Python."""
    for sample in samples_of(page):
        if sample.language != "python":
            for number, line in enumerate(sample.code.replace("\\\n", "  ").splitlines()):
                if found := re.search(r"manage\.py (?P<call>\w.*)", line):
                    yield sample.line + number, found["call"]
