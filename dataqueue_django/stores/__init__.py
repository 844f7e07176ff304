"""Where jobs are kept. `stores["default"]` is the store that the DATAQUEUE setting names for an alias."""

from __future__ import annotations

from django.apps import apps
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ..conf import settings_for
from ..exceptions import ConfigurationError, shown
from .base import Features, Store

__all__ = ["Features", "Store", "stores"]

APP = "dataqueue_django"


class Stores:
    """The stores by alias, each made once; forgotten when the setting changes."""

    def __init__(self) -> None:
        self._made: dict[str, Store] = {}

    def __getitem__(self, alias: str) -> Store:
        """Return the store of `alias`; raises ConfigurationError for an unknown alias or backend."""
        if not isinstance(alias, str):
            raise ConfigurationError(f"The alias of a queue is {shown(alias)}; expected a string.")
        if alias not in self._made:
            self._made[alias] = self._make(alias)
        return self._made[alias]

    def forget(self) -> None:
        """Drop all stores, so that the setting is read again."""
        self._made.clear()

    def _make(self, alias: str) -> Store:
        settings = settings_for(alias)
        try:
            backend = import_string(settings.backend)
        except ImportError as why:
            raise ConfigurationError(
                f"DATAQUEUE[{alias!r}]['BACKEND'] is {settings.backend!r}, which cannot be imported: {why}"
            ) from why
        except RuntimeError as why:  # so Django refuses models of an app that is not installed
            if apps.is_installed(APP):
                raise
            raise ConfigurationError(f"The queue's tables belong to an app: add {APP!r} to INSTALLED_APPS.") from why
        store = backend(alias, settings.options) if callable(backend) else None
        if not isinstance(store, Store):
            raise ConfigurationError(f"DATAQUEUE[{alias!r}]['BACKEND'] is {settings.backend!r}, which is not a store.")
        return store


stores = Stores()


def _on_setting_changed(*, setting: str, **_: object) -> None:
    if setting == "DATAQUEUE":
        stores.forget()


setting_changed.connect(_on_setting_changed)
