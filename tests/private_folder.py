"""A temporary folder that goes with the process that made it, even if that process is killed.

Run as a program this module is the keeper: a small process beside the owner that waits for the owner's end,
then ends the server whose pid file it was told and removes the folder. The parent-death signal would be
less code, but it is Linux's only, follows the *thread* that started the server, and has to be asked for in
a ``preexec_fn``, which Python warns of once other threads run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

KEEPER_INTERVAL = 0.25
SERVER_GRACE = 5.0


class PrivateFolder:
    """A folder below the system's temporary one, readable by its owner alone.

    ``pid_file`` names (relative to the folder) the file in which a server living here writes its process id.
    """

    def __init__(self, prefix: str, *, pid_file: str = "") -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._owner = os.getpid()
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", __file__, str(self._owner), str(self.path), pid_file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Neither Ctrl-C nor a signal to the whole process group may take the keeper along.
            start_new_session=True,
        )

    def remove(self) -> None:
        """Remove the folder now and not at the owner's end; does nothing in a forked child of the owner."""
        if os.getpid() != self._owner:
            return
        self._keeper.kill()
        self._keeper.wait()
        shutil.rmtree(self.path, ignore_errors=True)


def _keep(owner: int, folder: Path, pid_file: str) -> None:
    while os.getppid() == owner:
        time.sleep(KEEPER_INTERVAL)
    if pid_file:
        _end_server(folder, folder / pid_file)
    shutil.rmtree(folder, ignore_errors=True)


def _end_server(folder: Path, pid_file: Path) -> None:
    """End the server of this folder; a stale pid file must not hit a stranger that got the same number."""
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        server = psutil.Process(int(pid_file.read_text().split()[0]))
        if not any(str(folder) in argument for argument in server.cmdline()):
            return
        server.resume()
        server.send_signal(signal.SIGINT)
        try:
            server.wait(SERVER_GRACE)
        except psutil.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    _keep(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
