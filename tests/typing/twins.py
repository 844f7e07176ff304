"""Draws `dataqueue_django/queue/twins.pyi`, which tells type checkers of the async twins that are made at run time.

`python -m tests.typing.twins` writes it.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dataqueue_django

PACKAGE = Path(dataqueue_django.__file__).parent
FILE = PACKAGE / "queue" / "twins.pyi"
HEAD = '''"""The async twins of JobQueue's methods, for type checkers: drawn by `python -m tests.typing.twins`."""
'''


def twins_of(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each async twin's name with the method that it runs."""
    for base in cls.__mro__:
        for name, twin in vars(base).items():
            method = getattr(twin, "__wrapped__", None)
            if method is not None and name == f"a{method.__name__}" and vars(base).get(method.__name__) is method:
                yield name, method


def draw(cls: type) -> str:
    """Return the stub for the twins of a class."""
    lines: list[str] = []
    imports: set[tuple[str, str]] = set()
    for name, method in twins_of(cls):
        source = definition(method)
        lines.append(f"    async def {name}({ast.unparse(source.args)}) -> {ast.unparse(source.returns)}: ...")
        imports |= set(needed(source, sys.modules[method.__module__]))
    head = "".join(f"from {module} import {name}\n" for module, name in sorted(imports))
    return f"{HEAD}\n{head}\nclass AsyncTwins:\n" + "\n".join(lines) + "\n"


def definition(method: Callable[..., Any]) -> ast.FunctionDef:
    """Return a method as it is written, its defaults as in a stub."""
    node = ast.parse("if True:\n" + inspect.getsource(method)).body[0]
    assert isinstance(node, ast.If)
    function = node.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert function.returns is not None, f"{method.__qualname__} does not say what it returns"
    unsaid = ast.Constant(...)
    function.args.defaults = [unsaid for _ in function.args.defaults]
    function.args.kw_defaults = [default and unsaid for default in function.args.kw_defaults]
    return function


def needed(function: ast.FunctionDef, module: Any) -> Iterator[tuple[str, str]]:
    """Yield where the names in a method's annotations come from, as (module, name)."""
    known = dict(named_in(module))
    arguments = function.args
    everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [argument.annotation for argument in everything if argument is not None and argument.annotation]
    for annotation in [*annotations, function.returns]:
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name) and node.id in known:
                yield known[node.id], node.id


def named_in(module: Any) -> Iterator[tuple[str, str]]:
    """Yield each name that a module imports or defines, with the module it is found in."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    package = module.__name__.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (
                (alias.name, ".".join([*base, *([node.module] if node.module else [])])) for alias in node.names
            )
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, module.__name__
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id, module.__name__


def formatted(text: str) -> str:
    """Return a stub in the form that the style check wants."""
    ruff = [sys.executable, "-m", "ruff"]
    options = {"capture_output": True, "text": True, "check": True, "cwd": PACKAGE.parent}
    name = ["--stdin-filename", str(FILE)]
    sorted_ = subprocess.run([*ruff, "check", "--quiet", "--fix-only", *name, "-"], input=text, **options).stdout
    return subprocess.run([*ruff, "format", "--quiet", *name, "-"], input=sorted_, **options).stdout


def main() -> None:
    """Write the stub."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from dataqueue_django.queue import JobQueue

    FILE.write_text(formatted(draw(JobQueue)), encoding="utf-8")


if __name__ == "__main__":
    main()
