"""`manage.py demo` as people run it: in processes of its own, which it takes with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60

Start = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.demo


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a `manage.py` command of the example project; its files are the test's own."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "tmp").mkdir()

    def run(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DATABASE_URL": f"sqlite:///{tmp_path / 'demo.sqlite3'}",
            "DEMO_FOLDER": str(tmp_path / "demo"),
            "TMPDIR": str(tmp_path / "tmp"),
            "PYTHONWARNINGS": "error::ResourceWarning",
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        for one in [*descendants(process), process]:
            one.kill()
        process.communicate(timeout=PATIENCE)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def the_one(process: subprocess.Popen[str], command: str) -> psutil.Process:
    (found,) = (child for child in descendants(process) if command in child.cmdline())
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the output up to the line with these words."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if words in line:
            return text
    pytest.fail(f"ended with {process.wait()} before it said {words!r}:\n{text}")


def all_gone(children: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(children, timeout=PATIENCE)[1]


def test_the_whole_scenario_works(start: Start, tmp_path: Path) -> None:
    check = start("demo", "--check")
    output, _ = check.communicate(timeout=4 * PATIENCE)
    assert check.returncode == 0, output
    assert output.count("✓") > 20
    assert "✗" not in output
    assert not list((tmp_path / "tmp").glob("fieldbook-*"))


def test_a_check_that_is_interrupted_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    check = start("demo", "--check")
    read_until(check, "one button imports")
    children = descendants(check)
    check.send_signal(signal.SIGTERM)
    assert check.wait(PATIENCE) == 130
    assert len(children) == 2
    assert all_gone(children)
    assert not list((tmp_path / "tmp").glob("fieldbook-*"))


def test_the_demo_runs_until_ctrl_c(start: Start) -> None:
    demo = start("demo", "--port", "0")
    said = read_until(demo, "Press Ctrl+C")
    children = descendants(demo)
    address = re.search(r"http://127.0.0.1:(\d+)/", said)
    assert address is not None
    with build_opener(ProxyHandler({})).open(address[0], timeout=PATIENCE) as page:
        assert b"Fieldbook" in page.read()
    second, _ = start("demo", "--port", address[1]).communicate(timeout=PATIENCE)
    assert f"Port {address[1]} is taken" in second
    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE) == 0
    assert len(children) == 2
    assert all_gone(children)


@pytest.mark.parametrize(("command", "name"), [("dataqueue_worker", "worker"), ("runserver", "server")])
def test_the_demo_ends_with_either_process_and_says_which(start: Start, command: str, name: str) -> None:
    demo = start("demo", "--port", "0")
    read_until(demo, "Press Ctrl+C")
    children = descendants(demo)
    the_one(demo, command).kill()
    output, _ = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 1
    assert f"The {name} ended with code -9" in output
    assert all_gone(children)


def test_without_debug_there_is_no_demo_login(start: Start, tmp_path: Path) -> None:
    for arguments in (["demo"], ["demo", "--prepare"]):
        refused = start(*arguments, DEBUG="False", SECRET_KEY="secret")
        output, _ = refused.communicate(timeout=PATIENCE)
        assert refused.returncode == 1
        assert "with DEBUG only" in output
    assert not (tmp_path / "demo").exists()


def test_settings_need_a_key_without_debug(start: Start) -> None:
    output, _ = start("check", DEBUG="False").communicate(timeout=PATIENCE)
    assert "SECRET_KEY" in output


def test_migrations_are_complete(start: Start) -> None:
    made = start("makemigrations", "--check", "--dry-run")
    output, _ = made.communicate(timeout=PATIENCE)
    assert made.returncode == 0, output
