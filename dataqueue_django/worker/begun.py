"""Which executions have begun, in memory that a worker shares with its supervisor.

When a worker process dies, only the jobs that had begun are charged with the crash; what it merely held goes back
uncharged. The table is a small file, mapped by both and already unlinked, so it needs no lock between the processes and
survives any way of dying.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from threading import Lock

SLOTS = 4096
_HEADER = struct.Struct("=qq")  # the worker's row, and whether more had begun than there are slots
_SLOT = struct.Struct("=qq")  # job id, claim_seq; zero is free
_SIZE = _HEADER.size + SLOTS * _SLOT.size


class BegunTable:
    """The shared table, seen from either side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._free = list(range(SLOTS - 1, -1, -1))
        self._at: dict[tuple[int, int], int] = {}
        self._lock = Lock()

    @classmethod
    def create(cls) -> BegunTable:
        """Return a new, empty table on an unlinked file."""
        fd, path = tempfile.mkstemp(prefix="dataqueue-")
        os.unlink(path)
        os.ftruncate(fd, _SIZE)
        os.set_inheritable(fd, True)
        return cls(fd)

    def belongs_to(self, worker_id: int) -> None:
        """Note the worker row whose jobs are recorded here."""
        _, crowded = _HEADER.unpack_from(self._map, 0)
        _HEADER.pack_into(self._map, 0, worker_id, crowded)

    def begin(self, job_id: int, claim_seq: int) -> None:
        """Record an execution before its handler starts."""
        with self._lock:
            if not self._free:
                _HEADER.pack_into(self._map, 0, self.worker_id, 1)
                return
            slot = self._free.pop()
            self._at[job_id, claim_seq] = slot
            _SLOT.pack_into(self._map, _HEADER.size + slot * _SLOT.size, job_id, claim_seq)

    def end(self, job_id: int, claim_seq: int) -> None:
        """Forget an execution once its outcome is stored."""
        with self._lock:
            slot = self._at.pop((job_id, claim_seq), None)
            if slot is not None:
                _SLOT.pack_into(self._map, _HEADER.size + slot * _SLOT.size, 0, 0)
                self._free.append(slot)

    @property
    def worker_id(self) -> int:
        """The worker row that `belongs_to` noted; 0 before that."""
        return int(_HEADER.unpack_from(self._map, 0)[0])

    def had_begun(self, job_id: int, claim_seq: int) -> bool:
        """Return whether an execution may have begun; always True when the table was once too small."""
        if _HEADER.unpack_from(self._map, 0)[1]:
            return True
        return any(
            _SLOT.unpack_from(self._map, _HEADER.size + slot * _SLOT.size) == (job_id, claim_seq)
            for slot in range(SLOTS)
        )

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()
        os.close(self.fd)
