"""The effect ledger: what really happened, kept outside the system under test.

An append-only file with one JSON line per effect, each forced to disk, so it outlives a killed worker and a killed
database. Any number of processes and threads may write to one file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "TEST_LEDGER"
"""The environment variable that tells a process where its ledger is."""

BEGIN, END, ASKED, ACKNOWLEDGED, NOTE = "begin", "end", "asked", "acknowledged", "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One effect. `at` is in nanoseconds of the machine's monotonic clock, which all its processes share."""

    at: int
    pid: int
    act: str
    job: int = 0
    claim_seq: int = 0
    attempt: int = 0
    note: str = ""

    @property
    def execution(self) -> tuple[int, int]:
        """The job and the fence of the execution that had this effect."""
        return self.job, self.claim_seq


class Ledger:
    """One file of effects."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def of_process(cls) -> Ledger | None:
        """Return the ledger that the environment names, or None."""
        path = os.environ.get(VARIABLE)
        return cls(path) if path else None

    def write(self, act: str, *, job: int = 0, claim_seq: int = 0, attempt: int = 0, note: str = "") -> None:
        """Append one effect; it is on disk when this returns."""
        entry = Entry(
            at=time.monotonic_ns(), pid=os.getpid(), act=act, job=job, claim_seq=claim_seq, attempt=attempt, note=note
        )
        line = json.dumps(asdict(entry)).encode() + b"\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, line)  # a single short write with O_APPEND is never mixed with another
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, *acts: str) -> list[Entry]:
        """Return the effects so far in the order of the file, all or those named."""
        return [entry for entry in self._lines() if not acts or entry.act in acts]

    def jobs(self, *acts: str) -> set[int]:
        """Return the ids of the jobs that had one of these effects."""
        return {entry.job for entry in self.read(*acts)}

    def _lines(self) -> Iterator[Entry]:
        if self.path.exists():
            complete, _, _ = self.path.read_bytes().rpartition(b"\n")  # the last line may be being written
            for line in complete.splitlines():
                yield Entry(**json.loads(line))
