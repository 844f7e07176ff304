"""Names for the points at which a process touches a database, the same from run to run."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from dataqueue_django.stores.orm.sql import load
from tests.crash.tapping import AFTER, BEFORE, AnswerLost, install

UNSEEN = "observer"
"""The thread of this name is the test's own and not looked at."""

ROLES = {"MainThread": "main", "dataqueue-heartbeat": "heart", "dataqueue-async": "loop"}
KILL, LOSE = "kill", "lose"
SQL_FOLDER = "dataqueue_django.stores.orm.sql"


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th time that a kind of thread sends one statement, or that any does where `role` is empty."""

    role: str
    text: str
    n: int

    def __str__(self) -> str:
        return f"{self.role} {shown(self.text)} ({self.n})"


@dataclass(frozen=True, slots=True)
class Trap:
    """What to do at a point: kill the process before or after it, or lose the connection there."""

    point: Point
    side: str
    action: str = KILL

    def to_json(self) -> str:
        """Return the trap for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trap:
        """Undo `to_json`."""
        given = json.loads(text)
        return cls(Point(**given.pop("point")), **given)


@dataclass
class Watch:
    """Counts the points a process passes and springs traps."""

    traps: list[Trap] = field(default_factory=list)
    passed: list[Point] = field(default_factory=list)
    sprung: list[Trap] = field(default_factory=list)
    undone: set[Point] = field(default_factory=set)
    """Points after which all is as it was, since the transaction goes on."""

    def __post_init__(self) -> None:
        self.armed = False
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._now = threading.local()

    def install(self) -> None:
        """Tap this process' databases."""
        install(self.tap)

    def arm(self) -> None:
        """Begin to count; what went before is preparation."""
        self.armed = True

    def tap(self, side: str, text: str) -> None:
        """See `tapping.Tap`."""
        name = threading.current_thread().name
        if not self.armed or name == UNSEEN:
            return
        if side == BEFORE:
            points = self._pass(ROLES.get(name, "handler"), self._told_apart(normalised(text)))
            stack = self._now.__dict__.setdefault("stack", [])
            stack.append(points)
        elif self._now.__dict__.get("stack"):
            points = self._now.stack.pop()
            if self._now.__dict__.get("in_transaction"):
                self.undone.add(points[0])
        else:
            return
        for trap in self.traps:
            if trap.side == side and trap.point in points and trap not in self.sprung:
                self._spring(trap)

    def _told_apart(self, text: str) -> str:
        """Add to a COMMIT what it stores: the statements that this thread has sent since the last one."""
        since = self._now.__dict__.setdefault("since", [])
        if text.startswith("BEGIN"):
            self._now.in_transaction = True
        if text not in ("COMMIT", "ROLLBACK"):
            since.append(shown(text))
            return text
        stored = ", ".join(dict.fromkeys(since))
        since.clear()
        self._now.in_transaction = False
        return f"{text} of {stored}"

    def _pass(self, role: str, text: str) -> tuple[Point, Point]:
        with self._lock:
            self._counts[role, text] += 1
            self._counts["", text] += 1
            mine = Point(role, text, self._counts[role, text])
            self.passed.append(mine)
            return mine, Point("", text, self._counts["", text])

    def _spring(self, trap: Trap) -> None:
        self.sprung.append(trap)
        if trap.action == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AnswerLost


SPACE = re.compile(r"\s+")
LISTS = re.compile(r"\((?:%s|CAST\(%s AS \w+\)|NULL|DEFAULT|, )+\)")
ROWS = re.compile(r"(\(…\))(?:, \(…\))+")
SAVEPOINT = re.compile(r'"?s\d+_x\d+"?')
LITERALS = re.compile(r"(?:%s|'[^']*'|\b\d+\b)")
LANES = re.compile(r"(SELECT \* FROM \(SELECT id, priority.*?LIMIT %s\))( UNION ALL \1)+")
LIMIT = re.compile(r"LIMIT \d+")
UNNEST = re.compile(r"\(%s\)::\S+?\[\]")


@cache
def normalised(text: str) -> str:
    """Return a statement without what differs from call to call: numbers of parameters and rows, limits and names."""
    text = SPACE.sub(" ", text).strip()
    text = SAVEPOINT.sub("savepoint", text)
    text = LANES.sub(r"\1", text)
    text = LISTS.sub("(…)", text)
    text = re.sub(r"IN \([\d, ]+\)", "IN (…)", text)
    text = LIMIT.sub("LIMIT …", text)
    return ROWS.sub(r"\1", text)


@cache
def sql_files() -> dict[str, tuple[str, ...]]:
    """Return each statement file of the store and the pieces of text that only it contributes to a statement."""
    found = {}
    for folder in files(SQL_FOLDER).iterdir():
        if folder.is_dir() and not folder.name.startswith("_"):
            for file in folder.iterdir():
                name = f"{folder.name}/{Path(file.name).stem}"
                pieces = re.split(r"\{\w+\}", load(name))
                found[name] = tuple(normalised(piece) for piece in pieces if piece.strip())
    return found


@cache
def files_in(text: str) -> tuple[str, ...]:
    """Return the statement files of which a normalised statement is made."""
    return tuple(name for name, pieces in sql_files().items() if all(piece in text for piece in pieces))


@cache
def shown(text: str) -> str:
    """Return a short name for a normalised statement: its files, or its verb, table and first columns."""
    made_of = files_in(text)
    if made_of:
        return "+".join(sorted(made_of))
    words = text.replace('"', "")
    verb = words.split(" ", 1)[0].upper()
    table = re.search(r"(?:FROM|INTO|UPDATE) (\w+)", words)
    if table is None or verb not in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        return words if len(words) < 40 else words[:39] + "…"
    parts = [verb, table[1]]
    if verb == "UPDATE":
        parts.append("set " + ",".join(re.findall(r"(\w+) = ", words.split(" WHERE ")[0])[:2]))
    if " WHERE " in words:
        named = re.findall(rf"(?:{table[1]}|U0|\b)\.?(\w+) (?:=|IN|<|>|IS|<=|>=) ", words.split(" WHERE ", 1)[1])
        parts.append("by " + ",".join(dict.fromkeys(named)))
    parts += [word for word in ("FOR NO KEY UPDATE", "SKIP LOCKED", "ORDER BY") if word in words]
    return " ".join(parts)


__all__ = [
    "AFTER",
    "BEFORE",
    "KILL",
    "LOSE",
    "Point",
    "Trap",
    "Watch",
    "files_in",
    "normalised",
    "shown",
    "sql_files",
]
