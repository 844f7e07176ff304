"""A queue on each database, and jobs in each state there is."""

from __future__ import annotations

import pytest

from dataqueue_django import get_queue
from dataqueue_django.queue import JobQueue


@pytest.fixture
def queue(any_alias: str) -> JobQueue:
    return get_queue(any_alias)
