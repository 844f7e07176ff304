"""The child interpreters of one worker: kept warm, replaced when used up or dead, and killed at its end."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import Any
from uuid import uuid4

from django.conf import settings as django_settings
from django.db import connections

from ...conf import WorkerSettings
from ...logs import worker as logger
from .child import CannotStart, ChildProcess
from .hunting import kill_all
from .starting import Interpreter, start

GUARD = "from dataqueue_django.worker.isolation.guard import main; main(*told['arguments'])"


class Children:
    """At most as many children as there are slots. Nothing is started before the first is asked for, or `warm_up`."""

    def __init__(self, alias: str, settings: WorkerSettings, most: int) -> None:
        self._alias = alias
        self._settings = settings
        self._most = most
        self._mark = f"{os.getpid()}-{uuid4().hex}."
        self._numbers = count()
        self._lock = Lock()
        self._idle: list[ChildProcess] = []
        self._guard: Interpreter | None = None
        self._closed = False

    def warm_up(self, number: int) -> None:
        """Start so many children; what goes wrong shows when they are needed.

        To be called in a thread that outlives them: the kernel kills them when the thread that started them ends.
        """
        made: list[ChildProcess] = []
        try:
            made.extend(self._new() for _ in range(min(number, self._most)))
        except CannotStart as why:
            logger.warning("no child interpreter could be started in advance: %s", why)
        with self._lock:
            self._idle += made

    def take(self) -> ChildProcess:
        """Return a child that waits for a job; raises CannotStart. It has to be put back."""
        while (child := self._idle_one()) is not None and not child.is_alive():
            child.kill()
        child = child or self._new()
        child.get_ready()
        return child

    def put_back(self, child: ChildProcess) -> None:
        """Take a child back; one that is dead, or has run its number of jobs, is not kept."""
        with self._lock:
            keep = not self._closed and not child.is_given_up and child.jobs < self._settings.isolate_jobs
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()

    def close(self) -> None:
        """Kill every child with all that it started; none is left when this returns."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
            guard, self._guard = self._guard, None
        if guard is None:
            return
        for child in idle:
            child.kill()
        if not kill_all(self._mark):
            logger.error("some processes that isolated handlers started could not be killed")
        if guard.stdin is not None:
            guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            guard.wait(2.0)

    def _idle_one(self) -> ChildProcess | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _new(self) -> ChildProcess:
        with self._lock:
            if self._closed:
                raise CannotStart("the worker ends")
            self._watch_over()
            return ChildProcess(f"{self._mark}{next(self._numbers)}.", self._set_up())

    def _watch_over(self) -> None:
        """See to it that a guard stands by; one that was killed is replaced."""
        if self._guard is not None and self._guard.poll() is None:
            return
        try:
            self._guard = start(GUARD, [self._mark], stdin=subprocess.PIPE)
        except OSError as why:
            raise CannotStart(f"a process could not be started: {why}") from None

    def _set_up(self) -> dict[str, Any]:
        module = _settings_module()
        if not module:
            raise CannotStart("the settings were made by settings.configure(); expected a settings module")
        names = {alias: str(connections.settings[alias]["NAME"]) for alias in connections.settings}
        return {
            "settings": module,
            "alias": self._alias,
            "databases": names,
            "memory": self._settings.isolate_memory,
            "cpu": self._settings.isolate_cpu,
            "job_logs": self._settings.job_logs,
        }


def _settings_module() -> str:
    """Return the name of the project's settings module; of settings that a test overrides, that of those below."""
    lazy: Any = django_settings
    settings = lazy._wrapped
    while not getattr(settings, "SETTINGS_MODULE", "") and hasattr(settings, "default_settings"):
        settings = settings.default_settings
    return str(getattr(settings, "SETTINGS_MODULE", None) or "")
