"""Ctrl+C in the middle of work that is done in batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def between_batches() -> Iterator[Callable[[], None]]:
    """Have Ctrl+C wait for the batch under way, so that what is told of it is what was stored.

    Provides a function to call after each batch, which raises KeyboardInterrupt if Ctrl+C came. A second one is not
    kept waiting, since the batch may hang: it is raised at once, with a sentence on what nobody knows then.
    """
    asked: list[int] = []

    def note(signum: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt("The batch under way may have been stored as well.")
        asked.append(signum)

    def end_here() -> None:
        if asked:
            raise KeyboardInterrupt

    if not _is_ours():
        yield end_here
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield end_here
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    end_here()


def _is_ours() -> bool:
    """Whether Ctrl+C means what it does in a command: nobody else handles or ignores it."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
