"""The commands as processes: exit codes, signals, pipes and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from dataqueue_django import models
from dataqueue_django.domain.records import NewJob
from dataqueue_django.domain.steering import cancel
from dataqueue_django.stores.base import chunks
from dataqueue_django.stores.orm.portable import PortableStore
from tests.database_urls import url_of
from tests.harness.fixtures import REAL, alias, store
from tests.harness.workers import PATIENCE, ROOT, environment, wait_until
from tests.variants import SQLITE

__all__ = ["alias", "store"]

pytestmark = REAL
ON_ONE = pytest.mark.parametrize("any_alias", [SQLITE])
"""For what depends on the process and its terminal alone."""

COMMANDS = ["status", "reclaim", "cleanup", "check"]
MANY = 500
"""Jobs that take seconds to delete one by one."""


def arguments(command: str, *options: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "django", f"dataqueue_{command}", *options]


def run(url: str, command: str, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command on the database at `url` to its end."""
    env = {**environment(url), **more.pop("env", {})}
    given = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **more}
    return subprocess.run(arguments(command, *options), cwd=ROOT, env=env, timeout=PATIENCE, **given)


def ended(store: PortableStore, count: int, days: float = 40) -> None:
    """Add jobs that were cancelled so long ago."""
    for lot in chunks([NewJob(job_type="send")] * count, 1000):
        ids = [one.id for one in store.insert(lot)]
        store.commit([cancel(id) for id in ids], now=timezone.now() - timedelta(days=days))


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_to_say_on_stderr(store: PortableStore, command: str) -> None:
    done = run(url_of(store.alias), command, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["alias"] == "default"


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        ("status", ["--alias", "defalt"], "Did you mean 'default'?"),
        ("reclaim", ["--jsn"], "unrecognized arguments: --jsn Did you mean '--json'?"),
        ("cleanup", ["--days"], "argument --days: expected one argument"),
        ("cleanup", ["--batch-size", "0"], "'0' is not a whole number from 1 to 1000"),
    ],
)
def test_wrong_usage(tmp_path: Path, command: str, options: list[str], text: str) -> None:
    done = run(f"sqlite:///{tmp_path / 'new.sqlite3'}", command, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("command", COMMANDS)
def test_without_tables(tmp_path: Path, command: str) -> None:
    done = run(f"sqlite:///{tmp_path / 'new.sqlite3'}", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"CommandError: The database 'default' has no table \w+; run `manage.py migrate`.\n", done.stderr
    )


NO_SQLITE = "sqlite:////no/such/folder/db.sqlite3"
NO_POSTGRES = "postgresql://nobody:x@127.0.0.1:1/nothing"


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize(
    ("command", "url"), [*((one, NO_SQLITE) for one in COMMANDS), ("cleanup", NO_POSTGRES)], ids=str
)
def test_an_unreachable_database(command: str, url: str) -> None:
    done = run(url, command)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"CommandError: The store of DATAQUEUE\['default'\] failed: .+\n", done.stderr), done.stderr


@ON_ONE
def test_what_is_asked_of_a_person_is_refused_without_one(store: PortableStore) -> None:
    ended(store, 2)
    done = run(url_of(store.alias), "cleanup", "--days", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert store.count() == {(): 2}
    assert run(url_of(store.alias), "cleanup", "--days", "0", "--yes").returncode == 0
    assert store.count() == {(): 0}


@ON_ONE
def test_nobody_reads_the_output(store: PortableStore) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = run(url_of(store.alias), "status", stdout=write, stderr=subprocess.PIPE, capture_output=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@ON_ONE
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters(store: PortableStore, encoding: str) -> None:
    store.insert([NewJob(job_type="отправить")])
    done = run(url_of(store.alias), "status", env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u043e\\u0442" in done.stdout
    assert "no worker is running" in done.stdout


# -- signals


@pytest.mark.parametrize(
    ("signum", "codes"), [(signal.SIGINT, (130,)), (signal.SIGTERM, (-signal.SIGTERM,))], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_in_the_middle_leaves_whole_batches(
    store: PortableStore, tmp_path: Path, signum: signal.Signals, codes: tuple[int, ...]
) -> None:
    ended(store, MANY)
    with (tmp_path / "out").open("wb") as log:
        process = subprocess.Popen(
            arguments("cleanup", "--batch-size", "1"),
            cwd=ROOT,
            env=environment(url_of(store.alias)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: store.count()[()] < MANY or process.poll() is not None, every=0.001)
            process.send_signal(signum)
            code = process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "out").read_text()
    assert code in codes, text
    assert "Traceback" not in text
    events = models.JobEvent.objects.using(store.database)
    wait_until(lambda: events.count() == 2 * store.count()[()])  # added and cancelled: no job is half deleted
    left = store.count()[()]
    assert 0 < left < MANY
    if signum is signal.SIGINT:
        said = re.search(r"Interrupted. Deleted until then: 0 completed and (\d+) cancelled jobs.", text)
        assert said is not None, text
        assert int(said[1]) == MANY - left, "what is told is what was stored"
    assert run(url_of(store.alias), "cleanup").returncode == 0
    assert store.count() == {(): 0}


# -- terminals


class Terminal:
    """A command that has a terminal for all its streams."""

    def __init__(self, url: str, command: str, *options: str) -> None:
        self.screen, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            arguments(command, *options),
            cwd=ROOT,
            env={**environment(url), "TERM": "xterm"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self.text = ""

    def read(self, until: str | None = None) -> str:
        """Return what was shown up to a text, or to the end."""
        while until is None or until not in self.text:
            try:
                data = os.read(self.screen, 4096)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def close(self) -> int:
        """Wait for the end and return the exit code."""
        self.read()
        os.close(self.screen)
        return self.process.wait(PATIENCE)


@ON_ONE
def test_a_terminal_sees_a_bar(store: PortableStore) -> None:
    ended(store, 30)
    terminal = Terminal(url_of(store.alias), "cleanup", "--batch-size", "1")
    assert terminal.close() == 0
    assert "deleting cancelled" in terminal.text
    assert "rows" in terminal.text
    assert "Deleted 0 completed and 30 cancelled jobs, 0 events, 0 logs, 0 ticks." in terminal.text


@ON_ONE
def test_with_json_a_terminal_sees_no_bar(store: PortableStore) -> None:
    ended(store, 3)
    terminal = Terminal(url_of(store.alias), "cleanup", "--json")
    assert terminal.close() == 0
    assert json.loads(terminal.text)["deleted"]["cancelled"] == 3


@ON_ONE
@pytest.mark.parametrize(("answer", "code", "left"), [("yes\n", 0, 0), ("y\n", 2, 2), ("\n", 2, 2), ("\x04", 2, 2)])
def test_a_person_is_asked(store: PortableStore, answer: str, code: int, left: int) -> None:
    ended(store, 2)
    terminal = Terminal(url_of(store.alias), "cleanup", "--days", "0")
    assert "0 days deletes all completed and cancelled" in terminal.read("go on: ")
    terminal.type(answer)
    assert terminal.close() == code
    assert store.count() == {(): left}


@ON_ONE
def test_ctrl_c_at_the_question(store: PortableStore) -> None:
    ended(store, 2)
    terminal = Terminal(url_of(store.alias), "cleanup", "--days", "0")
    terminal.read("go on: ")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 130
    assert "Traceback" not in terminal.text
    assert store.count() == {(): 2}


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("command", ["worker", "status"])
def test_a_database_in_memory_is_refused(command: str) -> None:
    done = run("sqlite://:memory:", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is SQLite in memory, which no worker can share; give it a file" in done.stderr
    assert "Traceback" not in done.stderr
