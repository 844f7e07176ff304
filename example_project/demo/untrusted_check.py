"""The isolated jobs' part of `manage.py demo --check`: what strangers send is stopped, and the worker goes on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from PIL import Image

from example_project.untrusted.forms import WITHOUT_END

from .album_check import Expect
from .visitor import Page, Visitor

PAGE, SCAN, BOMB, PATTERN = "/untrusted/", "/untrusted/scan/", "/untrusted/bomb/", "/untrusted/pattern/"
HOME, IMPORT = "/", "/imports/upload/"
A0 = (13_244, 18_724)
"""At 400 dots per inch: a plan that Pillow would refuse."""

SENTENCE = "Nobody waits for the end of this sentence!"
TIMEOUT, GRACE = 2.0, 1.0
"""Of the pattern's handler, and how long killing may take, in seconds."""

ONE_AIRPORT = b"iata,name,city,state,country,latitude,longitude\nZU0,Meanwhile,Town,TX,USA,30,-100\n"


class UntrustedCheck:
    """`finished` comes back to a page until it rests, `ask` asks the database for one row, `wait` for a condition."""

    def __init__(
        self,
        visitor: Visitor,
        expect: Expect,
        finished: Callable[[Page], Page],
        ask: Callable[[str], Any],
        wait: Callable[[Callable[[], bool], str], None],
    ) -> None:
        self._visitor = visitor
        self._expect = expect
        self._finished = finished
        self._ask = ask
        self._wait = wait

    def run(self) -> None:
        """Send a plan, a bomb and a pattern without end; harmless patterns before and after."""
        self._send_a_plan()
        self._send_a_bomb()
        self._send_a_harmless_pattern("a harmless pattern is tried")
        self._send_a_pattern_without_end()
        self._send_a_harmless_pattern("the same worker tries the next pattern")

    def _send_a_plan(self) -> None:
        page = self._visitor.upload(self._visitor.get(PAGE), SCAN, "plan.png", _plan(), field="scan")
        page = self._finished(page)
        link = re.search(r'href="(/untrusted/[0-9a-f]{64}\.jpg)"', page.text)
        size = _size(self._visitor.download(link[1])) if link else None
        self._expect(
            f"a plan of {round(A0[0] * A0[1] / 10**6)} million pixels gets its preview", size == (453, 640), page
        )

    def _send_a_bomb(self) -> None:
        page = self._finished(self._visitor.press(self._visitor.get(PAGE), BOMB))
        job = self._latest("preview_scan")
        error, took = _first_row(page), _seconds(job)
        # Where the system holds no process to an amount of memory, its time is the end of it.
        told = "MemoryError" in error or "timeout" in error or "worker_lost" in error
        self._expect(
            f"a small file that unpacks to gigapixels is stopped after {took:.1f} s, and the page says why",
            job["status"] == "failed" and told,
            page,
        )

    def _send_a_pattern_without_end(self) -> None:
        self._visitor.press(self._visitor.get(PAGE), PATTERN, {"pattern": WITHOUT_END, "text": SENTENCE})
        self._wait(lambda: self._latest("try_pattern")["status"] == "processing", "the pattern is being tried")
        self._finished(self._visitor.upload(self._visitor.get(HOME), IMPORT, "meanwhile.csv", ONE_AIRPORT))
        page = self._finished(self._visitor.get(PAGE))
        job, other = self._latest("try_pattern"), self._latest("import_airports")
        self._expect("a pattern without end is stopped with the reason timeout", "timeout" in _first_row(page), page)
        took = _seconds(job)
        self._expect(
            f"its process was killed at its timeout of {TIMEOUT:g} s: it took {took:.2f} s",
            TIMEOUT <= took < TIMEOUT + GRACE,
        )
        self._expect(
            "meanwhile the same worker has done another job",
            other["status"] == "completed" and other["finished_at"] < job["finished_at"],
        )
        self._expect(
            "neither was tried a second time", job["attempts"] == self._latest("preview_scan")["attempts"] == 1
        )
        self._look_into_the_admin(job["id"])

    def _look_into_the_admin(self, job_id: int) -> None:
        page = self._visitor.get(f"/admin/dataqueue/job/{job_id}/change/")
        self._expect("the job's page in the admin says so as well", "attempt 1 of 1 (timeout)" in page.text, page)

    def _send_a_harmless_pattern(self, what: str) -> None:
        page = self._visitor.press(self._visitor.get(PAGE), PATTERN, {"pattern": r"\w+e\b", "text": SENTENCE})
        page = self._finished(page)
        self._expect(what, "Matches “the”" in _first_row(page), page)

    def _latest(self, job_type: str) -> dict[str, Any]:
        names = ("id", "status", "attempts", "last_started_at", "finished_at")
        query = f"SELECT {', '.join(names)} FROM dataqueue_job WHERE job_type = '{job_type}' ORDER BY id DESC LIMIT 1"  # noqa: S608 - our own words
        return dict(zip(names, self._ask(query), strict=True))


def _plan() -> bytes:
    file = io.BytesIO()
    Image.new("1", A0, 1).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _size(data: bytes) -> tuple[int, int] | None:
    if not data:
        return None
    with Image.open(io.BytesIO(data)) as image:
        return image.size


def _first_row(page: Page) -> str:
    """What the page's first job says."""
    return page.text.partition("<tbody>")[2].partition("</tr>")[0]


def _seconds(job: dict[str, Any]) -> float:
    began, ended = (datetime.fromisoformat(job[name]) for name in ("last_started_at", "finished_at"))
    return (ended - began).total_seconds()
