"""Who may import whom: what decides knows nothing of what stores, and surfaces know nothing of either's insides."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataqueue_django

PACKAGE = Path(dataqueue_django.__file__).parent
NAME = PACKAGE.name

# Every module belongs to the longest name here that it begins with, and may import what stands beside it and its own
# layer. A new module at the top level needs its own line.
LAYERS: dict[str, set[str]] = {
    # leaves
    "exceptions": set(),
    "domain": {"exceptions"},
    "conf": {"domain", "exceptions"},
    "logs": {"domain"},
    "signals": {"domain"},
    "carrying": {"conf", "domain", "exceptions"},
    "contrib": {"carrying", "domain", "exceptions"},
    "announcing": {"signals", "logs", "domain"},
    "routers": {"conf"},
    # the tables, and the only ones that touch them
    "models": set(),
    "migrations": set(),
    "stores": {"domain", "conf", "exceptions"},
    "stores.orm": {"stores", "domain", "conf", "exceptions", "logs", "models"},
    # what runs jobs
    "notify": {"stores", "domain", "conf", "exceptions"},
    "handlers": {"handlers.foreign", "domain", "conf", "exceptions"},
    "handlers.foreign": {"domain", "exceptions"},
    "queue.hooks": set(),
    "queue.base": {
        "queue.hooks", "carrying", "announcing", "handlers", "stores", "notify", "domain", "conf", "exceptions",
    },
    "queue.taking_back": {"announcing", "stores", "domain", "logs"},
    "queue.waking": {"announcing", "stores", "domain"},
    "queue.catching_up": {"announcing", "stores", "domain"},
    "queue.duties": {"stores", "domain", "logs"},
    "queue.retention": {"stores", "domain", "conf"},
    "queue.ticking": {"queue.base", "queue.catching_up", "announcing", "domain", "exceptions"},
    "queue.declaring": {"queue.base", "queue.ticking", "domain", "conf", "exceptions"},
    "worker": {
        "queue.base", "queue.catching_up", "queue.declaring", "queue.duties", "queue.retention", "queue.taking_back",
        "queue.ticking", "queue.waking", "carrying", "announcing", "signals", "handlers", "stores", "domain",
        "conf", "exceptions", "logs", "notify",
    },
    # what a worker's child interpreter runs
    "isolated": {"worker", "queue"},
    # what users hold: it stands above the worker, which runs jobs for it and for the command
    "queue": {
        "queue.base", "queue.hooks", "queue.catching_up", "queue.declaring", "queue.duties", "queue.retention",
        "queue.taking_back", "queue.ticking", "queue.waking", "worker", "announcing", "handlers", "stores",
        "notify", "domain", "conf",
        "exceptions", "logs",
    },
    # surfaces
    "admin": {"queue", "domain", "conf", "exceptions", "models"},
    "endpoints": {"queue", "queue.taking_back", "metrics", "domain", "conf", "exceptions", "logs"},
    "metrics": {"queue", "signals", "domain", "conf", "exceptions", "logs"},
    "urls": {"endpoints"},
    "__init__": set(),
    "apps": {"checks", "runserver", "stores.orm"},
    "asgi": {"queue", "conf"},
    "runserver": {"queue", "conf", "exceptions", "logs"},
    "checks": {
        "queue", "queue.declaring", "worker", "carrying", "stores", "stores.orm", "domain", "conf", "exceptions",
    },
    "management": {"worker", "queue", "domain", "conf", "exceptions", "logs"},
    "testing": {
        "queue", "queue.hooks", "worker", "handlers", "stores", "stores.orm", "notify", "domain", "conf", "exceptions",
        "logs",
    },
}  # fmt: skip

# Packages that not every project has, or that belong to one purpose, and the layers that may import them.
OTHERS = {
    "croniter": {"domain"},
    "jsonschema": {"handlers.foreign"},
    "referencing": {"handlers.foreign"},
    "msgspec": {"handlers.foreign"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"contrib"},
    "psutil": {"worker"},
    "psycopg": {"stores.orm", "notify"},
    "pydantic": {"handlers.foreign"},
    "pytest": {"testing"},
    "sentry_sdk": {"contrib"},
    "tqdm": {"management"},
}

MODULES = sorted(path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))


def layer_of(module: tuple[str, ...]) -> str:
    """Return the layer that a module, named from within the package, belongs to."""
    for length in range(len(module), 0, -1):
        name = ".".join(module[:length])
        if name in LAYERS:
            return name
    pytest.fail(f"{'.'.join(module)} belongs to no layer; add {module[0]!r} to LAYERS")


def imports(module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what a module imports when it runs, in full; imports for type checkers alone do not count."""
    tree = ast.parse(PACKAGE.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8"))
    for node in running_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (NAME, *module)[: -node.level] if node.level else ()
            stem = (*base, *(node.module.split(".") if node.module else ()))
            yield from ([(*stem, alias.name) for alias in node.names] if is_package(stem) else [stem])


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree except those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from running_nodes(child)


def is_package(name: tuple[str, ...]) -> bool:
    """Return whether a name is that of a package of ours, from which modules may be imported."""
    return name[:1] == (NAME,) and PACKAGE.joinpath(*name[1:]).is_dir()


@pytest.mark.parametrize("module", MODULES, ids=".".join)
def test_a_module_imports_only_what_its_layer_may(module: tuple[str, ...]) -> None:
    layer = layer_of(module)
    for name in imports(module):
        if name[0] == NAME and len(name) > 1:
            target = layer_of(name[1:])
            assert target == layer or target in LAYERS[layer], f"{layer} must not import {'.'.join(name)}"
        elif name[0] in OTHERS:
            assert layer in OTHERS[name[0]], f"{layer} must not import {name[0]}"


@pytest.mark.parametrize("module", [m for m in MODULES if m[0] == "domain"], ids=".".join)
def test_the_domain_is_pure(module: tuple[str, ...]) -> None:
    allowed = {*sys.stdlib_module_names, "annotationlib", NAME, "croniter"}  # annotationlib: since Python 3.14
    assert {name[0] for name in imports(module)} <= allowed


@pytest.mark.parametrize("layer", LAYERS)
def test_no_two_layers_import_each_other(layer: str) -> None:
    for other in LAYERS[layer]:
        assert layer not in LAYERS[other] or {layer, other} == {"stores", "stores.orm"}


def test_only_the_orm_store_and_the_admin_know_the_tables() -> None:
    assert [layer for layer, may in LAYERS.items() if "models" in may] == ["stores.orm", "admin"]


def test_every_layer_stands_for_something() -> None:
    assert all(
        PACKAGE.joinpath(*name.split(".")).is_dir() or PACKAGE.joinpath(*name.split(".")).with_suffix(".py").is_file()
        for name in LAYERS
    )
