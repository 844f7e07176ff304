"""Where the admin shows the queue: the default site by itself, any other by one call, and nowhere without an admin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.sites import AlreadyRegistered
from django.test import Client
from django.urls import clear_url_caches, path

from dataqueue_django import get_queue
from dataqueue_django.admin import JobAdmin, register
from dataqueue_django.models import ControlStamp, QueueGauge, QueueStat, Turn
from dataqueue_django.queue import JobQueue

OFFICE = admin.AdminSite(name="office")
register(OFFICE)

BARE = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "dataqueue_django"], USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from dataqueue_django import get_queue
get_queue()
print([name for name in sys.modules if name.startswith(("dataqueue_django.admin", "django.contrib.admin"))])
"""


def test_every_model_is_on_the_default_site() -> None:
    """All but counts, which `get_stats` and `get_gauges` sum up, and the marks by which claims know what is new."""
    unseen = {QueueStat, QueueGauge, ControlStamp, Turn}
    models = set(apps.get_app_config("dataqueue").get_models())
    assert {model for model in models if not admin.site.is_registered(model)} == unseen


def test_registering_twice_is_told() -> None:
    with pytest.raises(AlreadyRegistered):
        register(OFFICE)


def test_without_the_admin_nothing_of_it_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def two_sites(settings: Any) -> Iterator[None]:
    """The default site and another one, both of which show the queue."""
    urls = ModuleType("two_sites")
    urls.urlpatterns = [path("admin/", admin.site.urls), path("office/", OFFICE.urls)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    clear_url_caches()
    yield
    clear_url_caches()


@pytest.mark.usefixtures("two_sites")
@pytest.mark.parametrize(("site", "other"), [("office", "admin"), ("admin", "office")])
def test_pages_stay_on_their_own_site(client: Client, queue: JobQueue, site: str, other: str) -> None:
    job_id = queue.add_job("t", tags=["x"], allow_unknown=True)
    id = queue.add_cron_job("s", "@daily", "t", allow_unknown=True)
    queue.run_cron_job(id)
    queue.declare_queue("q")
    queue.pause_queue("q")
    queue.set_limit(queue="q", concurrency=1)
    pages = ("job/", f"job/{job_id}/change/", f"job/{job_id}/do/cancel/", "jobevent/", "jobtag/", "worker/", "step/",
             "joblog/", "token/", "cronschedule/", f"cronschedule/{id}/change/", f"cronschedule/{id}/do/edit/",
             f"cronschedule/{id}/do/pause/", "cronschedule/add/", "crontick/", "duty/", "queue/",
             "queue/q/do/resume/", "pause/", "pause/add/", "pause/q_2F/change/", "limit/",
             "limit/q_2F/do/remove/")  # fmt: skip
    for page in pages:
        answer = client.get(f"/{site}/dataqueue/{page}")
        assert answer.status_code == 200
        assert f'href="/{other}/' not in answer.content.decode()
    answer = client.post(f"/{site}/dataqueue/job/{job_id}/do/cancel/")
    assert answer["Location"] == f"/{site}/dataqueue/job/{job_id}/change/"


def test_a_project_can_put_its_own_in_the_place() -> None:
    class OwnJobAdmin(JobAdmin):
        list_per_page = 10

    site = admin.AdminSite(name="own")
    register(site)
    [model] = [model for model in site._registry if model.__name__ == "Job"]
    site.unregister(model)
    site.register(model, OwnJobAdmin)
    assert site._registry[model].list_per_page == 10


def test_the_system_checks_find_nothing() -> None:
    for one in admin.site._registry.values():
        if one.opts.app_label == "dataqueue":
            assert one.check() == []


def test_without_a_default_alias_the_first_is_shown(client: Client, database: str, settings: Any) -> None:
    settings.DATAQUEUE = {"mine": {"OPTIONS": {"DATABASE": database}}, "other": {"OPTIONS": {"DATABASE": "default"}}}
    job_id = get_queue("mine").add_job("t", allow_unknown=True)
    assert [row.pk for row in client.get("/admin/dataqueue/job/").context["cl"].result_list] == [job_id]
    assert client.post(f"/admin/dataqueue/job/{job_id}/do/delete/").status_code == 302
    assert get_queue("mine").get_job(job_id) is None


def test_a_router_changes_nothing(client: Client, queue: JobQueue, settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["dataqueue_django.routers.QueueRouter"]
    job_id = queue.add_job("t", allow_unknown=True)
    for page in ("job/", f"job/{job_id}/change/", f"job/{job_id}/do/cancel/", f"job/{job_id}/history/", "jobevent/"):
        assert client.get(f"/admin/dataqueue/{page}").status_code == 200
