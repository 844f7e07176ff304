"""The façade users hold: `get_queue()` and `@job`."""

from __future__ import annotations

from django.core.signals import setting_changed

from ..conf import DEFAULT_ALIAS, settings_for
from ..handlers import registry
from ..notify import notifier_for
from ..stores import stores
from .adding import AddedJob, Adding
from .batching import Batching
from .checking import Checking
from .cleaning import Cleaning
from .defining import BoundJob, JobDefinition, job
from .limiting import Limiting
from .managing import Managing
from .pausing import Pausing
from .processing import Processing
from .supervising import Supervising
from .tokens import Tokens
from .twins import AsyncTwins

__all__ = ["AddedJob", "BoundJob", "JobDefinition", "JobQueue", "get_queue", "job"]


class JobQueue(
    Adding,
    Checking,
    Managing,
    Pausing,
    Limiting,
    Batching,
    Tokens,
    Cleaning,
    Supervising,
    Processing,
    AsyncTwins,
):
    """The queue of one alias: add jobs, find, steer, pause, limit and explain them, clean up, look after and run them.

    Each method has a twin with an `a` in front for async code.
    """


def get_queue(alias: str = DEFAULT_ALIAS) -> JobQueue:
    """Return the queue of `alias`; raises ConfigurationError for an alias that DATAQUEUE does not have."""
    store = stores[alias]
    if alias not in _made or _made[alias].store is not store:
        _made[alias] = JobQueue(store, settings_for(alias), registry, notifier_for(alias))
    return _made[alias]


_made: dict[str, JobQueue] = {}


def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting in ("DATAQUEUE", "DATABASES"):
        _made.clear()


setting_changed.connect(_on_setting_changed)
