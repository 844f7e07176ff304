"""The memory store keeps the contract; it is also what the others are compared with."""

from __future__ import annotations

from dataqueue_django.stores.base import Store
from dataqueue_django.stores.memory import MemoryStore
from dataqueue_django.testing.contract import StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self) -> Store:
        return MemoryStore()
