"""Asking for pages as a user, and counting what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connections

LIST = "/admin/dataqueue/job/"


def staff(*permissions: str) -> User:
    """Return a new staff user with these permissions of the queue's models, named by their codenames."""
    user = User.objects.create_user(f"staff-{User.objects.count()}", password="x", is_staff=True)
    found = Permission.objects.filter(content_type__app_label="dataqueue", codename__in=permissions)
    assert {one.codename for one in found} == set(permissions)
    user.user_permissions.set(found)
    return user


def page_of(job_id: int, verb: str = "") -> str:
    """Return the address of a job's page, or of a verb on it."""
    return f"{LIST}{job_id}/do/{verb}/" if verb else f"{LIST}{job_id}/change/"


def ids_in(answer: Any) -> list[int]:
    """Return the ids of the jobs that a list shows."""
    return [row.pk for row in answer.context["cl"].result_list]


def said(answer: Any) -> list[str]:
    """Return the messages that a page shows."""
    return [str(message) for message in answer.context["messages"]]


@contextmanager
def statements() -> Iterator[list[tuple[str, str, Any]]]:
    """Note every statement sent to any database: its alias, text and parameters."""
    sent: list[tuple[str, str, Any]] = []
    with ExitStack() as stack:
        for alias in connections:

            def note(execute: Any, sql: str, params: Any, many: bool, context: Any, alias: str = alias) -> Any:
                sent.append((alias, sql, params))
                return execute(sql, params, many, context)

            stack.enter_context(connections[alias].execute_wrapper(note))
        yield sent
