"""Checks of the project's code: handlers that are written, but that nobody imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

PACKAGE = "dataqueue_django"
LIKELY = ("tasks", "handlers", "background", "job")
"""Modules in which people put handlers, beside `jobs`, which is imported by itself."""


@register("dataqueue")
def check_handlers_are_imported(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn of modules with `@job` functions that were not imported at start, so that no worker knows them."""
    messages: list[CheckMessage] = []
    for module, path, hint in [*_of_apps(), *_of_project()]:
        names = [] if module in sys.modules else handlers_in(path)
        if names:
            text = f"{module} has handlers ({', '.join(names[:5])}), but nothing imports it: workers do not know them."
            messages.append(Warning(text, hint=hint, id="dataqueue.W011"))
    return messages


def handlers_in(path: Path) -> list[str]:
    """Return the names of the functions in a file that are decorated with this package's `@job`, without running it."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text) if PACKAGE in text else None
    except (OSError, ValueError, SyntaxError):
        return []
    if tree is None:
        return []
    words = set(_words_for_job(tree))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [f.name for f in functions if any(_dotted(decorator) in words for decorator in f.decorator_list)]


def _of_apps() -> Iterator[tuple[str, Path, str]]:
    for app in apps.get_app_configs():
        folder = Path(app.path)
        for name in LIKELY:
            hint = f"Move them to {app.name}/jobs.py, or import the module there."
            yield f"{app.name}.{name}", folder / f"{name}.py", hint
        for path in sorted((folder / "jobs").glob("[!_]*.py")):
            yield f"{app.name}.jobs.{path.stem}", path, f"Import the module in {app.name}/jobs/__init__.py."


def _of_project() -> Iterator[tuple[str, Path, str]]:
    """The package that holds the settings, which many projects do not list in INSTALLED_APPS."""
    package = str(getattr(settings, "SETTINGS_MODULE", "")).partition(".")[0]
    if any(app.name == package for app in apps.get_app_configs()):
        return
    for folder in getattr(sys.modules.get(package), "__path__", ()):
        for name in ("jobs", *LIKELY):
            hint = f"Move them to an app's jobs.py, or add {package!r} to INSTALLED_APPS and keep them in its jobs.py."
            yield f"{package}.{name}", Path(folder) / f"{name}.py", hint


def _words_for_job(tree: ast.Module) -> Iterator[str]:
    """What `job` is called in this module: "job", "background_job", "dataqueue_django.job"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            yield from (alias.asname or alias.name for alias in node.names if alias.name == "job")
        elif isinstance(node, ast.Import):
            yield from (f"{alias.asname or alias.name}.job" for alias in node.names if alias.name == PACKAGE)


def _dotted(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
