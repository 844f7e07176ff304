"""Databases as addresses: how a test tells a process of its own where to work."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import environ
from django.db import connections


def parse(url: str) -> dict[str, Any]:
    """The entry of ``DATABASES`` for an address."""
    return dict(environ.Env.db_url_config(url))


def url_of(alias: str) -> str:
    """The address of the database that ``alias`` is connected to, which in a test is the test database."""
    settings = connections[alias].settings_dict
    name = str(settings["NAME"])
    if connections[alias].vendor == "sqlite":
        return f"sqlite:///{quote(name)}"
    account = f"{quote(settings['USER'], safe='')}:{quote(settings['PASSWORD'], safe='')}"
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    return f"{connections[alias].vendor}://{account}@{settings['HOST']}{port}/{quote(name, safe='')}"
