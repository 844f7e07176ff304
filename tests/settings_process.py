"""Settings of a process that a test starts, such as a worker.

``TEST_DATABASE_URL`` is the database of its queue, usually the running test's (``tests.database_urls.url_of``). It is
the process' only one, except where the tested variant keeps the queue apart.
``TEST_DATAQUEUE_WORKER`` holds the queue's ``WORKER`` options as a JSON object.
``TEST_RUNSERVER`` lets the development server run jobs, too.
``TEST_LOG_LEVEL`` is the least important level of this package's log lines that the process prints.
"""

import json
import os

from tests.database_urls import parse
from tests.settings import *  # noqa: F403
from tests.variants import VARIANT, database, queue

# Nothing but the queue and its handlers: no process has pages, and importing the admin and the example project would be
# a quarter of what it costs to start one. The tests start hundreds.
INSTALLED_APPS = ["dataqueue_django", "tests.app"]
SILENCED_SYSTEM_CHECKS = [*SILENCED_SYSTEM_CHECKS, "dataqueue.I001"]  # noqa: F405 - it asks for the admin
ROOT_URLCONF = None
MIDDLEWARE: list[str] = []
TEMPLATES: list[str] = []

_home = "queue" if VARIANT == "separate" else "default"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    _home: database(parse(os.environ["TEST_DATABASE_URL"])),
}
DATAQUEUE = {
    "default": queue(
        _home, str(DATABASES[_home]["ENGINE"]), **json.loads(os.environ.get("TEST_DATAQUEUE_WORKER", "{}"))
    ),
}

if _level := os.environ.get("TEST_LOG_LEVEL"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"dataqueue_django": {"handlers": ["console"], "level": _level}},
    }

if os.environ.get("TEST_RUNSERVER"):
    DEBUG = DATAQUEUE_RUNSERVER = True
