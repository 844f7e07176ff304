"""Which source files changed, for a worker that is restarted while code is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.utils.autoreload import iter_all_python_module_files


class ChangedFiles:
    """Compares the modification times of all imported modules' files with those of the last call."""

    def __init__(self) -> None:
        self._seen = self._snapshot()

    def __call__(self) -> Sequence[str]:
        """Return the files that changed since the last call; none that were seen for the first time."""
        now = self._snapshot()
        changed = [str(path) for path, at in now.items() if self._seen.get(path, at) != at]
        self._seen = now
        return changed

    @staticmethod
    def _snapshot() -> dict[Path, int]:
        found = {}
        for path in iter_all_python_module_files():
            try:
                found[path] = path.stat().st_mtime_ns
            except OSError:
                continue
        return found
