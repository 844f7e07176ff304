"""Settings of the example project. Every value that differs between machines comes from the environment or `.env`."""

from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
PROJECT_DIR = BASE_DIR / "example_project"

env = environ.Env()
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-the-demo-only" if DEBUG else env.NOTSET)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dataqueue_django",
    "example_project.fieldbook",
    "example_project.album",
    "example_project.post",
    "example_project.refunds",
    "example_project.onboarding",
    "example_project.untrusted",
    "example_project.digest",
    "example_project.webhooks",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

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

# PostgreSQL, for example: DATABASE_URL=postgres://user:password@localhost/fieldbook
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{PROJECT_DIR / 'db.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="Europe/Berlin")  # of the pages, and of the digest's two o'clock
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = PROJECT_DIR / "var" / "static"

# What the site writes: uploads, rejects, reports, photographs and thumbnails, and the logs of `manage.py demo`.
DEMO_FOLDER = Path(env.str("DEMO_FOLDER", default=str(PROJECT_DIR / "var")))
MEDIA_ROOT = DEMO_FOLDER / "media"

FILE_UPLOAD_HANDLERS = [
    "example_project.uploads.BoundedUploadHandler",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

DATA_UPLOAD_MAX_NUMBER_FILES = 1

# The queue needs no setting. Here isolated handlers, which work on what strangers send, get 1 GiB of memory each; and
# a demonstration can shorten its worker's clocks: the variable holds JSON, such as
# {"HEARTBEAT": 0.5, "LEASE": 3, "REAP_EVERY": 0.5}.
DATAQUEUE = {"default": {"WORKER": {"ISOLATE_MEMORY": 1024, **env.json("DATAQUEUE_WORKER", default={})}}}

# How many rows a second each import job takes at most, so that there is something to watch; 0 is no limit.
FIELDBOOK_ROWS_PER_SECOND = env.int("FIELDBOOK_ROWS_PER_SECOND", default=0)

# How long each slow step of a refund or a welcome takes, for the same reason; 0 is no time.
FIELDBOOK_STEP_SECONDS = env.float("FIELDBOOK_STEP_SECONDS", default=0.0)

# Where the links in letters lead: jobs have no request that would tell.
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000")

# Who decides on refunds, how long there is to decide (digits with s, m, h or d), and how long a link in a letter is
# understood: longer than that, so that whoever comes late is told what became of the refund.
REFUND_APPROVER = env.str("REFUND_APPROVER", default="approver@example.com")
REFUND_APPROVAL_TIMEOUT = env.str("REFUND_APPROVAL_TIMEOUT", default="48h")
REFUND_LINK_SECONDS = env.int("REFUND_LINK_SECONDS", default=14 * 24 * 3600)

# By which receivers of webhooks know who has sent them, and the receivers on this machine, which no others may be: an
# address in no public network is not asked for.
WEBHOOK_SECRET = env.str("WEBHOOK_SECRET", default=f"webhooks {SECRET_KEY}")
WEBHOOK_RECEIVERS = env.list("WEBHOOK_RECEIVERS", default=[])

# The length of a day between the letters of a welcome, in seconds.
DRIP_DAY_SECONDS = env.float("DRIP_DAY_SECONDS", default=24 * 3600.0)
