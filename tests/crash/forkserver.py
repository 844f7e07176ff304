"""A process that has imported everything, has no thread and no connection, and forks a child for each trial.

A fresh interpreter takes half a second, a fork some milliseconds. Requests and answers are JSON lines on its standard
streams. Run as a program this module is the server; `ForkServer` is the client.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.harness.workers import ROOT, environment

LONGEST = 120.0
"""Seconds after which a child is taken to hang."""

HUNG = -100
"""The status of a child that had to be ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a child ended: its exit code, or the negative number of the signal that ended it; and what it left."""

    status: int
    result: dict[str, Any] | None
    log: str

    @property
    def killed(self) -> bool:
        """Whether it died by SIGKILL, as a sprung trap does."""
        return self.status == -signal.SIGKILL


class ForkServer:
    """The client's end."""

    def __init__(self, url: str, folder: Path, clocks: dict[str, Any] | None = None) -> None:
        self._folder = folder
        self.ledger = folder / "ledger.jsonl"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.crash.forkserver"],
            cwd=ROOT,
            env=environment(url, ledger=self.ledger, clocks=clocks),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(LONGEST)
        self._process.stdout.close()

    def begin_anew(self) -> None:
        """Forget what earlier forks left: the ledger, and files that told them to go on."""
        for path in self._folder.iterdir():
            path.unlink()

    def run(self, task: str, **arguments: Any) -> Answer:
        """Run `tests.crash.scenarios.<task>(**arguments)` in a fresh fork and wait for its end."""
        return self.finish(self.start(task, **arguments))

    def start(self, task: str, **arguments: Any) -> int:
        """Run a task in a fresh fork and return its process id; more than one may run at once."""
        return int(self._ask({"task": task, "arguments": arguments, "folder": str(self._folder)}))

    def finish(self, pid: int) -> Answer:
        """Wait for the end of a fork."""
        status = int(self._ask({"wait": pid}))
        result, log = _result(self._folder, pid), _log(self._folder, pid)
        found = json.loads(result.read_text()) if result.exists() else None
        answer = Answer(status, found, log.read_text() if log.exists() else "")
        for path in (result, log):
            path.unlink(missing_ok=True)
        return answer

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the fork server has ended; see what it printed")
        return json.loads(answer)


def _result(folder: Path, pid: int) -> Path:
    return folder / f"child-{pid}.json"


def _log(folder: Path, pid: int) -> Path:
    return folder / f"child-{pid}.log"


def _serve() -> None:
    import django

    django.setup()
    from tests.crash import scenarios

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = _wait(request["wait"])
        else:
            answer = os.fork()
            if answer == 0:
                _run(scenarios, request)
        print(json.dumps(answer), flush=True)


def _run(scenarios: Any, request: dict[str, Any]) -> None:
    """The child: never returns."""
    os.setsid()
    folder, pid = Path(request["folder"]), os.getpid()
    log = os.open(_log(folder, pid), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        result = getattr(scenarios, request["task"])(**request["arguments"])
        if result is not None:
            _result(folder, pid).write_text(json.dumps(result))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _wait(child: int) -> int:
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


if __name__ == "__main__":
    _serve()
