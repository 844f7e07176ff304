"""A progress bar for people who wait at a terminal; the only module that knows tqdm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, *, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Provide a function that counts up a bar on stderr; nothing is shown where `wanted` is False or nobody looks."""
    if not wanted or not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread beside a bar that moves with every batch
    with tqdm(desc=what, unit=" rows", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:
        yield bar.update
