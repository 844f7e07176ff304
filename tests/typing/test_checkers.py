"""mypy and pyright refuse the calls in the sample that are marked, and no others.

pyright is run in the form of basedpyright, whose wheel holds everything that it needs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SAMPLE = Path(__file__).parent / "sample.py"


def marked() -> set[int]:
    """Return the lines on which an error is expected."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if re.search(r"# expect-error\b", line)}


def test_mypy_refuses_what_is_marked() -> None:
    command = [sys.executable, "-m", "mypy", "--output=json", str(SAMPLE)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 1, answer.stderr
    found = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    errors = {(Path(each["file"]).name, each["line"]) for each in found if each["severity"] == "error"}
    assert errors == {(SAMPLE.name, line) for line in marked()}, answer.stdout


def test_pyright_refuses_what_is_marked(tmp_path: Path) -> None:
    settings = tmp_path / "pyrightconfig.json"
    rules = {"typeCheckingMode": "standard", "include": [str(SAMPLE)], "extraPaths": [str(ROOT)]}
    settings.write_text(json.dumps(rules))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(settings),
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 1, answer.stderr + answer.stdout
    found = json.loads(answer.stdout)["generalDiagnostics"]
    errors = {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}
    assert errors == marked(), answer.stdout
