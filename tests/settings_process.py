"""Settings of a process that a test starts, such as a worker.

``TEST_DATABASE_URL`` is its one database, usually the running test's (``tests.database_urls.url_of``).
``TEST_DATAQUEUE_WORKER`` holds the queue's ``WORKER`` options as a JSON object.
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
