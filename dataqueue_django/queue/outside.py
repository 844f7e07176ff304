"""Jobs that are added inside a transaction which cannot cover them, because it is on another database."""

from __future__ import annotations

import os
import sys
import warnings

from ..conf import Outside
from ..exceptions import ConfigurationError
from ..stores import Store

PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


def check(store: Store, policy: Outside | None) -> None:
    """Say that a job added now does not belong to the caller's transaction, by a warning unless `policy` is another.

    With Outside.REFUSE it raises ConfigurationError, and nothing is written; with Outside.ALLOW nothing is looked at.
    """
    if policy is Outside.ALLOW or (other := store.transaction_elsewhere()) is None:
        return
    text = (
        f"A job was added to the queue {store.alias!r} inside a transaction on {other!r}, which is another database: "
        "the job stays although that transaction may be rolled back."
    )
    if policy is Outside.REFUSE:
        raise ConfigurationError(f"{text.replace('was added', 'was to be added').replace('stays', 'would stay')}")
    warnings.warn(f"{text} Add it in transaction.on_commit(using={other!r}).", RuntimeWarning, stacklevel=_caller())


def _caller() -> int:
    """How many frames above `check` the code is that called this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
