"""Settings of the processes that are measured: a fresh project's applications, and defaults for everything else.

`BENCHMARK_DATABASE_URL` is the one database. `BENCHMARK_WORKER` holds the queue's `WORKER` options as a JSON object.
"""

import json
import os

from tests.database_urls import parse
from tests.settings import MIDDLEWARE, TEMPLATES  # noqa: F401

SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "dataqueue_django",
    "benchmarks",
]

STATIC_URL = "static/"
ROOT_URLCONF = "benchmarks.urls"

DATABASES = {"default": parse(os.environ["BENCHMARK_DATABASE_URL"])}
DATAQUEUE = {"default": {"WORKER": json.loads(os.environ.get("BENCHMARK_WORKER", "{}"))}}
