"""A worker inside `runserver`, for development: DATAQUEUE_RUNSERVER = True."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from threading import Thread

from django.apps import apps
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

from . import conf
from .exceptions import DataQueueError
from .logs import worker as logger
from .queue import get_queue


def serves(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether this process is the one of `manage.py runserver` that answers requests.

    The autoreloader's parent does not: it starts a child for that, again and again.
    """
    if argv[1:2] != ["runserver"]:
        return False
    return "--noreload" in argv or environ.get(DJANGO_AUTORELOAD_ENV) == "true"


def start_if_wanted() -> None:
    """Work on every alias from when all apps are ready until the process ends, if this is that process."""
    try:
        wanted = conf.project().runserver and serves(sys.argv, os.environ)
    except DataQueueError:
        return  # a system check says what is wrong
    if wanted:
        Thread(target=_start, name="dataqueue-runserver", daemon=True).start()


def _start() -> None:
    apps.ready_event.wait()
    for alias in conf.aliases():
        try:
            get_queue(alias).create_processor().start_in_background()
        except DataQueueError as why:
            logger.error("runserver runs no jobs of DATAQUEUE[%r]: %s", alias, why)
        else:
            logger.info("runserver runs the jobs of DATAQUEUE[%r], too", alias)
