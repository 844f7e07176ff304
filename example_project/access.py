"""Who may do what on the site's pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import user_passes_test
from django.core.exceptions import PermissionDenied


def open_in_demo(permission: str) -> Callable[[Any], Any]:
    """Let everybody in while DEBUG is on; otherwise only users with `permission`, and ask the others to log in."""

    def may(user: Any) -> bool:
        if settings.DEBUG or user.has_perm(permission):
            return True
        if user.is_authenticated:
            raise PermissionDenied
        return False

    return user_passes_test(may, login_url="admin:login")
