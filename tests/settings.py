"""Settings of the test run; ``tests.provision`` says in the environment what databases there are."""

import os

import django

from tests.database_urls import parse
from tests.variants import KNOWN_CHECKS, ROUTERS, SQLITE, VARIANT, database, queue

SECRET_KEY = "test"
SILENCED_SYSTEM_CHECKS = KNOWN_CHECKS
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
MEDIA_ROOT = os.environ.get("TEST_MEDIA_ROOT", "")  # of a process that a test starts
ROOT_URLCONF = "tests.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the slow default guards nothing here

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "dataqueue_django",
    "example_project.fieldbook",
    "example_project.album",
    "example_project.post",
    "example_project.refunds",
    "example_project.onboarding",
    "example_project.untrusted",
    "example_project.webhooks",
    "tests.app",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# No OPTIONS, as in a project fresh from startproject: what SQLite needs beyond them the app sees to itself.
# The test database is a file, since the processes that tests start could not see one in memory.
_sqlite_file = os.environ.get("TEST_SQLITE_FILE")
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "TEST": {"NAME": _sqlite_file and f"{_sqlite_file}.{alias}"},
    }
    for alias in dict.fromkeys(("default", SQLITE))
}
if _postgres_url := os.environ.get("TEST_POSTGRES_URL"):
    DATABASES["postgres"] = database(parse(_postgres_url))

DATABASE_ROUTERS = ROUTERS

if django.VERSION >= (6, 1):  # a default mailer is deprecated there
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

DATAQUEUE = {
    alias: {**queue(alias, str(entry["ENGINE"])), "OUTSIDE_TRANSACTION": "warn"} for alias, entry in DATABASES.items()
}
if VARIANT == "separate":
    DATAQUEUE["default"] = DATAQUEUE[SQLITE]

if _carriers := os.environ.get("TEST_CARRIERS"):  # of a child interpreter
    DATAQUEUE_CONTEXT = _carriers.split(",")
