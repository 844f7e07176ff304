"""What every capability of the queue is built on."""

from __future__ import annotations

from ..conf import AliasSettings
from ..handlers import Registry
from ..notify import Notifier
from ..stores import Store


class QueueBase:
    """One alias' store, settings, handlers and notifier."""

    def __init__(self, store: Store, settings: AliasSettings, handlers: Registry, notifier: Notifier) -> None:
        self.store = store
        self.settings = settings
        self.handlers = handlers
        self.notifier = notifier

    @property
    def alias(self) -> str:
        """The alias this queue belongs to."""
        return self.store.alias
