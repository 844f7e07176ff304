"""`manage.py demo --check`: the whole scenario from outside, against a real server and real workers.

It knows nothing of the site's code: it fills in forms, reads pages and downloads, and works out on its own what they
should say. All of it happens in a private folder that is gone afterwards, however it ends.
"""

from __future__ import annotations

import cmath
import csv
import io
import json
import math
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from example_project.webhooks.receiver import receiving

from .album_check import AlbumCheck
from .children import (
    Child,
    Children,
    DemoError,
    environment,
    free_port,
    interruptible,
    manage,
    started_with,
    stop,
    uninterrupted,
    wait_until,
)
from .digest_check import ZONE as DIGEST_ZONE
from .digest_check import DigestCheck
from .site import LOGIN, answers, worker_is_ready
from .untrusted_check import UntrustedCheck
from .visitor import Page, Visitor
from .waiting_check import WaitingCheck
from .webhooks_check import WebhooksCheck

SHIPPED = Path(__file__).parent.parent / "fieldbook" / "data" / "airports.csv"
SHIPPED_ACTION, UPLOAD_ACTION, LOGIN_ACTION = "/imports/shipped/", "/imports/upload/", "/admin/login/?next=/admin/"

FINISHED_WITHIN = 60.0
GONE_WITHIN = 5.0
CLOCKS = {"HEARTBEAT": 0.5, "LEASE": 3, "REAP_EVERY": 0.5, "POLL_INTERVAL": 0.1}
"""Seconds. A dead worker's jobs are taken back after LEASE, which is 30 by default."""

WEBHOOK_SECRET = "only-for-this-check"

AS_FAST_AS_CAN_BE = {
    "FIELDBOOK_ROWS_PER_SECOND": "0",
    "FIELDBOOK_STEP_SECONDS": "0",
    "REFUND_APPROVER": "approver@example.com",
    "REFUND_APPROVAL_TIMEOUT": "48h",
    "REFUND_LINK_SECONDS": "3600",
    "DRIP_DAY_SECONDS": "86400",
    "TIME_ZONE": DIGEST_ZONE,
    "WEBHOOK_SECRET": WEBHOOK_SECRET,
}
"""Whatever the environment of this command says."""

LARGE_ROWS = 12_000
SLOW_ROWS_PER_SECOND = 1_000

HEADER = "iata,name,city,state,country,latitude,longitude"
MIXED = f"""\
{HEADER}
ZQ0,Good Field,Fairbanks,AK,USA,64.5,-147.5
zq1,Small Letters,Town,TX,USA,30,-100
ZQ2,,No Name,TX,USA,30,-100
ZQ3,Long State,Town,Texas,USA,30,-100
ZQ4,Too Far North,Town,TX,USA,90.5,-100
ZQ5,Words,Town,TX,USA,30,west
ZQ0,Twice,Town,TX,USA,30,-100
ZQ6,Short Row,Town,TX
ZQ7,=1+1,@home,TX,USA,north,-200
ZQ8,"=HYPERLINK(""http://example.com"")",Town,QQ,USA,10.25,20.5
"""
MIXED_ERRORS = {
    3: ("iata",),
    4: ("name",),
    5: ("state",),
    6: ("latitude",),
    7: ("longitude",),
    8: ("iata",),
    9: ("row",),
    10: ("latitude", "longitude"),
}
MIXED_GOOD = 2
BROKEN = f'{HEADER}\nZR1,"No end of quotes,Town,TX,USA,30,-100\n'


class Check:
    """One run of the scenario; `say` gets a line for each thing checked."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failed = 0
        self._children = Children()
        self._folder = Path(tempfile.mkdtemp(prefix="fieldbook-check-"))

    def run(self) -> bool:
        """Play the scenario and clean up; return whether everything was as it should be."""
        with interruptible():
            try:
                with receiving(WEBHOOK_SECRET) as self._receivers:
                    self._play()
            except (DemoError, LookupError, OSError) as why:
                self._expect(f"the scenario goes on: {why}", False)
            finally:
                with uninterrupted():
                    stop(self._children, within=5)
                    shutil.rmtree(self._folder, ignore_errors=True)
        left = not all(child.has_ended for child in self._children) or self._has_left_processes()
        self._expect("nothing is left behind: no process, no folder", not left and not self._folder.exists())
        return not self._failed

    # -- the scenario

    def _play(self) -> None:
        self._prepare()
        self._server = self._children.start_server(self._port, self._environment(), self._folder)
        worker = self._children.start_worker(self._environment(), self._folder)
        wait_until(lambda: answers(self._address), "the server does not answer", alive=self._children)
        wait_until(lambda: worker_is_ready(worker), "the worker is not ready", alive=self._children)
        self._visitor = Visitor(self._address)
        self._open_the_site()
        first = self._import_what_is_shipped()
        self._import_it_again(first)
        self._import_with_bad_rows()
        self._import_what_cannot_be()
        album = AlbumCheck(self._visitor, self._expect, self._finished, self._ask)
        album.with_a_worker()
        UntrustedCheck(self._visitor, self._expect, self._finished, self._ask, self._wait).run()
        WebhooksCheck(self._visitor, self._expect, self._finished, self._ask, self._receivers).run()
        stop([worker])
        self._expect("a worker that is asked to stop ends with code 0", worker.process.returncode == 0)
        album.without_a_worker()
        self._kill_a_worker()
        stop(self._children[-1:], within=10)
        WaitingCheck(self._address, self._visitor, self._expect, self._ask, self._start_worker, self._wait).run()
        DigestCheck(self._visitor, self._expect, self._finished, self._ask, self._start_worker).run()

    def _prepare(self) -> None:
        """Everything the demo makes, but in the private folder."""
        self._port = free_port()
        self._address = f"http://127.0.0.1:{self._port}/"
        self._database = self._folder / "fieldbook.sqlite3"
        done = subprocess.run(  # noqa: S603 - our own command line
            manage("demo", "--prepare"), env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoError(f"the tables cannot be made: {done.stderr.strip()}")

    def _open_the_site(self) -> None:
        home = self._visitor.get("/")
        self._expect("the home page opens and the book is empty", home.status == 200 and "book is empty" in home.text)
        refused = self._visitor.post(SHIPPED_ACTION, b"", "application/x-www-form-urlencoded")
        self._expect("an import without a CSRF token is refused", refused.status == 403)
        login = self._visitor.get("/admin/")
        self._expect("the admin asks for a login", urlsplit(login.url).path == "/admin/login/")
        inside = self._visitor.press(login, LOGIN_ACTION, {"username": LOGIN, "password": LOGIN})
        self._expect(f"{LOGIN}/{LOGIN} opens it", inside.status == 200 and urlsplit(inside.url).path == "/admin/")

    def _import_what_is_shipped(self) -> Page:
        rows = _shipped_rows()
        page = self._finished(self._visitor.press(self._visitor.get("/"), SHIPPED_ACTION))
        self._expect(
            "one button imports the shipped file, up to 100 %", page.progress == 100 and not page.reloads, page
        )
        self._expect(f"all of its {len(rows):,} rows are imported", self._counts(page) == (len(rows), len(rows), 0))
        self._expect("the book holds as many airports, none twice", self._airports() == (len(rows), len(rows)))
        self._check_report(page, rows)
        return page

    def _check_report(self, page: Page, rows: list[dict[str, str]]) -> None:
        """Compare the downloaded report with one worked out here, from the CSV file, by other means."""
        lines = list(csv.DictReader(io.StringIO(self._visitor.get(f"{page.url}report.csv").text)))
        by_state: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            by_state[row["state"]].append(row)
            by_state["all"].append(row)
        counts = {line["state"]: int(line["airports"]) for line in lines}
        self._expect(
            f"the report counts the airports of {len(by_state) - 1} states as the file does",
            counts == {state: len(found) for state, found in by_state.items()},
        )
        self._expect(
            "it names the northernmost airport and the mean coordinates of each",
            all(_fits(line, by_state[line["state"]]) for line in lines),
        )

    def _import_it_again(self, first: Page) -> None:
        again = self._visitor.press(self._visitor.get("/"), SHIPPED_ACTION)
        same = again.url == first.url and "came before" in again.text
        self._expect("a second press shows the same import and says so", same)
        self._expect("it adds neither an import nor an airport", self._count("fieldbook_import") == 1)

    def _import_with_bad_rows(self) -> None:
        lines = len(MIXED.splitlines()) - 1
        page = self._finished(self._upload("mixed.csv", MIXED.encode()))
        self._expect(
            f"a file with {len(MIXED_ERRORS)} bad rows is imported without them",
            self._counts(page) == (lines, MIXED_GOOD, len(MIXED_ERRORS)),
        )
        text = self._visitor.get(f"{page.url}rejects.csv").text
        rejects = {int(row["line"]): row for row in csv.DictReader(io.StringIO(text))}
        columns = {n: tuple(part.split()[0] for part in row["problem"].split("; ")) for n, row in rejects.items()}
        self._expect("the rejects name each line and its columns", columns == MIXED_ERRORS)
        report = self._visitor.get(f"{page.url}report.csv").text
        harmless = rejects[10]["name"] == "'=1+1" and rejects[10]["city"] == "'@home" and "'=HYPERLINK" in report
        self._expect("no downloaded cell can act as a formula", harmless)

    def _import_what_cannot_be(self) -> None:
        for what, data, reason in (
            ("an empty file", b"", "is empty"),
            ("a file that is not UTF-8", HEADER.encode() + "\nZR0,Zürich".encode("latin-1"), "not UTF-8"),
            ("a file without the header", b"a,b\n1,2\n", "Missing: iata"),
            ("a file that is too large", HEADER.encode() + b"\n" * 3_000_000, "larger than 2 MiB"),
        ):
            page = self._upload("bad.csv", data)
            self._expect(f"{what} is refused with its reason", page.status == 400 and reason in page.text)
        page = self._finished(self._upload("broken.csv", BROKEN.encode()))
        told = "The import failed" in page.text and "Line 2 cannot be read as CSV" in page.text
        self._expect("a file that turns out bad fails its job, and the page says why", told)

    def _kill_a_worker(self) -> None:
        before, _ = self._airports()
        slow = self._environment(FIELDBOOK_ROWS_PER_SECOND=str(SLOW_ROWS_PER_SECOND))
        victim = self._children.start_worker(slow, self._folder)
        page = self._upload("large.csv", _large_file().encode())
        wait_until(lambda: self._open_chunks() is not None, "some chunks are done", within=FINISHED_WITHIN)
        victim.signal(signal.SIGKILL)
        victim.process.wait()
        left = self._open_chunks()
        self._expect(f"a worker is killed in the middle of {LARGE_ROWS:,} rows", bool(left))
        self._children.start_worker(self._environment(), self._folder)
        page = self._finished(page)
        self._expect("another worker finishes its import", page.progress == 100)
        self._expect("every row counts once", self._counts(page) == (LARGE_ROWS, LARGE_ROWS, 0))
        total = before + LARGE_ROWS
        self._expect("the book holds each airport once", self._airports() == (total, total))
        self._expect("the interrupted jobs ran twice", 'attempts">2<' in page.text)

    # -- means

    def _expect(self, what: str, is_so: bool, seen: Page | None = None) -> None:
        """Tell whether something is as it should be, and if not, what the page said instead."""
        self._failed += not is_so
        self._say(f"{'✓' if is_so else '✗'} {what}")
        if not is_so and seen is not None:
            self._say(f"  {seen.url} answered {seen.status}: {seen.words}")

    def _environment(self, **changes: str) -> dict[str, str]:
        return environment(
            DEBUG="True",
            SECRET_KEY="only-for-this-check",
            ALLOWED_HOSTS="127.0.0.1",
            DATABASE_URL=f"sqlite:///{self._database}",
            DEMO_FOLDER=str(self._folder),
            SITE_URL=self._address,
            DATAQUEUE_WORKER=json.dumps(CLOCKS),
            WEBHOOK_RECEIVERS=",".join(receiver.url for receiver in self._receivers),
            **{**AS_FAST_AS_CAN_BE, **changes},
        )

    def _has_left_processes(self) -> bool:
        """Whether something that a worker has started, such as the process of an isolated job, outlives it."""
        with suppress(DemoError):
            wait_until(lambda: not started_with("DEMO_FOLDER", str(self._folder)), "all have ended", within=GONE_WITHIN)
            return False
        return True

    def _start_worker(self, variables: dict[str, str], *arguments: str) -> Child:
        return self._children.start_worker(self._environment(**variables), self._folder, *arguments)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, what, alive=[self._server, self._children[-1]], within=FINISHED_WITHIN)

    def _upload(self, name: str, data: bytes) -> Page:
        return self._visitor.upload(self._visitor.get("/"), UPLOAD_ACTION, name, data)

    def _finished(self, page: Page) -> Page:
        """Come back to a page until it stops reloading; it must open each time."""
        last = page

        def has_ended() -> bool:
            nonlocal last
            last = self._visitor.get(page.url)
            if last.status != 200:
                raise DemoError(f"{last.url} answered {last.status}. {self._server.name}: {self._server.last_words()}")
            return not last.reloads

        alive = [self._server, self._children[-1]]
        wait_until(has_ended, "a page has nothing new to come", alive=alive, within=FINISHED_WITHIN)
        return last

    @staticmethod
    def _counts(page: Page) -> tuple[int, int, int]:
        return page.number("rows"), page.number("accepted"), page.number("rejected")

    def _airports(self) -> tuple[int, int]:
        """How many rows the book has, and how many different airports."""
        found: tuple[int, int] = self._ask("SELECT count(*), count(DISTINCT iata) FROM fieldbook_airport")
        return found

    def _count(self, table: str) -> int:
        return int(self._ask(f"SELECT count(*) FROM {table}")[0])  # noqa: S608 - names from this file

    def _open_chunks(self) -> int | None:
        """How many chunks of the latest import are left, once some are done and some are not; None before."""
        done, left = self._ask(
            "SELECT count(done_at), count(*) - count(done_at) FROM fieldbook_chunk "
            "WHERE source_id = (SELECT max(id) FROM fieldbook_import)"
        )
        return left if done else None

    def _ask(self, query: str) -> Any:
        with closing(sqlite3.connect(self._database, timeout=20)) as connection:
            return connection.execute(query).fetchone()


def _shipped_rows() -> list[dict[str, str]]:
    with SHIPPED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _fits(line: dict[str, str], rows: list[dict[str, str]]) -> bool:
    north = max(float(row["latitude"]) for row in rows)
    mean = sum(float(row["latitude"]) for row in rows) / len(rows)
    turn = cmath.phase(sum(cmath.rect(1, math.radians(float(row["longitude"]))) for row in rows))
    return (
        float(line["northernmost_latitude"]) == north
        and any(row["iata"] == line["northernmost_iata"] and float(row["latitude"]) == north for row in rows)
        and math.isclose(float(line["mean_latitude"]), mean, abs_tol=1e-3)
        and math.isclose(float(line["mean_longitude"]), math.degrees(turn), abs_tol=1e-3)
    )


def _large_file() -> str:
    """Airports that exist nowhere else: their codes have a 9 in front and four characters."""
    return "\n".join([HEADER, *_invented()])


def _invented() -> Iterator[str]:
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for n in range(LARGE_ROWS):
        code = "9" + digits[n // 676 % 26] + digits[n // 26 % 26] + digits[n % 26]
        yield f"{code},Invented {n},Nowhere,XX,USA,{n % 90}.5,-{n % 180}.25"
