"""Settings of a process that a test starts, such as a worker.

``TEST_DATABASE_URL`` is its one database, usually the running test's (``tests.database_urls.url_of``).
``TEST_DATAQUEUE_WORKER`` holds the queue's ``WORKER`` options as a JSON object.
``TEST_LOG_LEVEL`` is the least important level of this package's log lines that the process prints.
"""

import json
import os

from tests.database_urls import parse
from tests.settings import *  # noqa: F403

DATABASES = {"default": parse(os.environ["TEST_DATABASE_URL"])}

DATAQUEUE = {
    "default": {
        "BACKEND": "dataqueue_django.stores.orm.OrmStore",
        "OPTIONS": {"DATABASE": "default"},
        "WORKER": json.loads(os.environ.get("TEST_DATAQUEUE_WORKER", "{}")),
    },
}

if _level := os.environ.get("TEST_LOG_LEVEL"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"dataqueue_django": {"handlers": ["console"], "level": _level}},
    }
