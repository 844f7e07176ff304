"""A client, and a queue whose jobs the admin shows, on each database in turn."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dataqueue_django import get_queue
from dataqueue_django.queue import JobQueue
from tests.admin.pages import staff


@pytest.fixture
def database(any_alias: str, db: None, settings: Any) -> str:
    """The database of the default queue; users and sessions stay where they are, on SQLite."""
    settings.DATAQUEUE = {"default": {"OPTIONS": {"DATABASE": any_alias}}}
    return any_alias


@pytest.fixture
def queue(database: str) -> JobQueue:
    """The default queue."""
    return get_queue()


@pytest.fixture
def client(database: str, admin_user: Any) -> Client:
    """A browser in which somebody is logged in who may do everything."""
    found = Client()
    found.force_login(admin_user)
    return found


@pytest.fixture
def viewer(database: str) -> Client:
    """A browser of somebody who may only look at jobs."""
    found = Client()
    found.force_login(staff("view_job"))
    return found
