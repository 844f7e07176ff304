"""Fixtures of the crash tests."""

from tests.harness.fixtures import alias, ledger, store, workers

__all__ = ["alias", "ledger", "store", "workers"]
