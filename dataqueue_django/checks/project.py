"""Checks of what the admin pages need around them."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Info, Warning, register
from django.template import TemplateDoesNotExist, engines
from django.template.backends.django import DjangoTemplates

ANY_ADMIN_TEMPLATE = "admin/index.html"


@register("dataqueue")
def check_admin(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Mention that without Django's admin there are no pages to look at the queue."""
    if apps.is_installed("django.contrib.admin"):
        return []
    return [
        Info(
            "Without django.contrib.admin there are no pages that show the queue; commands and code work all the same.",
            hint='Add "django.contrib.admin" to INSTALLED_APPS, and admin.site.urls to your URLs.',
            id="dataqueue.I001",
        )
    ]


@register("dataqueue")
def check_templates(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Warn when Django's templates are not looked for in the apps, so that the admin pages have none."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    found = [engine for engine in engines.all() if isinstance(engine, DjangoTemplates)]
    if not found or any(map(_finds_templates_of_apps, found)):
        return []  # without any engine the admin's own check speaks
    return [
        Warning(
            "The templates of apps are not found, so the admin pages have none.",
            hint='Set "APP_DIRS": True in the DjangoTemplates entry of TEMPLATES.',
            id="dataqueue.W014",
        )
    ]


def _finds_templates_of_apps(engine: DjangoTemplates) -> bool:
    try:
        engine.engine.find_template(ANY_ADMIN_TEMPLATE)
    except TemplateDoesNotExist:
        return False
    return True
