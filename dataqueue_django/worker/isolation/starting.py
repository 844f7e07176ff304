"""Starting interpreters: with this one's search path and warnings, in a session of their own, marked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from .hunting import MARK

BOOT = "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path']; "


def start(
    code: str, arguments: Sequence[object], mark: str = "", *, fds: Sequence[int] = (), stdin: int
) -> Interpreter:
    """Start an interpreter that runs `code`, in which `told['arguments']` are the given ones.

    All descriptors but the standard ones and `fds` are closed in it. Raises OSError when no process can be had.
    """
    told = json.dumps({"path": sys.path, "arguments": list(arguments)})
    environment = {**os.environ, MARK: mark} if mark else {k: v for k, v in os.environ.items() if k != MARK}
    flags = [f"-W{option}" for option in sys.warnoptions]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, *flags, "-c", BOOT + code, told],
        stdin=stdin,
        pass_fds=tuple(fds),
        env=environment,
        start_new_session=True,
    )


Interpreter = subprocess.Popen[bytes]
