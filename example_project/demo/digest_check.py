"""The schedule's part of `manage.py demo --check`: a digest by hand, its numbers, and no digests for a while."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .album_check import Expect
from .visitor import Page, Visitor
from .waiting_check import Workers

PAGE, RUN, PAUSE, RESUME = "/digest/", "/digest/run/", "/digest/pause/", "/digest/resume/"
SCHEDULE = "nightly_digest"
ZONE = "Europe/Berlin"
AT = 2
"""O'clock, and the hour that clocks skip there in March."""

NUMBERS = {
    "imports": ("count(*)", "fieldbook_import", "created_at"),
    "rows-accepted": ("sum(accepted)", "fieldbook_chunk", "done_at"),
    "rows-rejected": ("sum(rejected)", "fieldbook_chunk", "done_at"),
    "refunds": ("count(*)", "refunds_refund", "created_at"),
    "photos": ("count(*)", "album_photo", "created_at"),
    "jobs": ("count(*)", "dataqueue_job", "run_at"),
}
"""By the id of the element that shows a number: what of which table, and the column that has its time."""


class DigestCheck:
    """`finished` comes back to a page until it rests, `ask` asks for one row. No worker is alive before."""

    def __init__(
        self,
        visitor: Visitor,
        expect: Expect,
        finished: Callable[[Page], Page],
        ask: Callable[[str], Any],
        start: Workers,
    ) -> None:
        self._visitor = visitor
        self._expect = expect
        self._finished = finished
        self._ask = ask
        self._start = start

    def run(self) -> None:
        """Ask for a digest twice, read it, and pause and resume the schedule."""
        self._look_at_the_nights()
        self._run_it_twice()
        self._read_it()
        self._pause_and_resume()

    def _look_at_the_nights(self) -> None:
        page = self._visitor.get(PAGE)
        found = re.findall(r'class="run"><time datetime="([^"]+)"', page.text)
        nights = [datetime.fromisoformat(text).astimezone(ZoneInfo(ZONE)) for text in found]
        days = [night.date() for night in nights]
        self._expect(
            f"the page says when the next ten digests are written, at {AT} in {ZONE}",
            days == [days[0] + timedelta(days=n) for n in range(10)] and all(_is_at_two(night) for night in nights),
            page,
        )
        told = "they go from 02:00 to 03:00: the digest is written at 03:00 CEST, 01:00 UTC" in page.text
        self._expect("it says what becomes of the night that has no two o'clock", told, page)

    def _run_it_twice(self) -> None:
        page = self._visitor.press(self._visitor.get(PAGE), RUN)
        self._expect("a digest can be asked for by hand", "of today so far was asked for" in page.text, page)
        page = self._visitor.press(page, RUN)
        jobs = self._ask(f"SELECT count(*), max(id) FROM dataqueue_job WHERE job_type = '{SCHEDULE}'")  # noqa: S608
        self._job_id = jobs[1]
        told = "overlap is “skip”" in page.text
        self._expect("asked for twice, it is made once, and the page says so", told and jobs[0] == 1, page)
        tick = self._ask(f"SELECT outcome, actor FROM dataqueue_crontick WHERE job_id = {int(self._job_id)}")  # noqa: S608
        self._expect("its tick is recorded, with who asked", tuple(tick) == ("by_hand", "user 1 demo"))

    def _read_it(self) -> None:
        self._start({})
        page = self._finished(self._visitor.get(PAGE))
        link = f"{PAGE}{self._job_id}.html"
        digest = self._visitor.get(link)
        self._expect(
            "the digest is there once a worker was", f'href="{link}"' in page.text and digest.status == 200, page
        )
        since, until = (re.search(rf'id="{id}" datetime="([^"]+)"', digest.text) for id in ("since", "until"))
        if since is None or until is None:
            raise LookupError(f"{digest.url} does not say what time it is about.")
        began, ended = datetime.fromisoformat(since[1]), datetime.fromisoformat(until[1])
        self._span = f">= '{_in_sqlite(began)}' AND {{0}} < '{_in_sqlite(ended)}'"
        self._expect(
            "it is about the day so far, from midnight on",
            began.astimezone(ZoneInfo(ZONE)).strftime("%H:%M:%S") == "00:00:00" and ended > began,
            digest,
        )
        shown = {id: digest.number(id) for id in NUMBERS}
        counted = {id: self._counted(*what) for id, what in NUMBERS.items()}
        self._expect(f"its numbers are those of the day: {_listed(shown)}", shown == counted, digest)
        self._expect("so are its jobs by type and state", _rows(digest) == self._jobs(), digest)

    def _pause_and_resume(self) -> None:
        before = self._next()
        page = self._visitor.press(self._visitor.get(PAGE), PAUSE, {"reason": "Holidays"})
        told = "Paused by user 1 demo" in page.text and "“Holidays”" in page.text
        self._expect("staff pause it and say why; it is due no more", told and self._next() is None, page)
        page = self._visitor.press(page, RESUME)
        self._expect("resumed, it is due in the same night as before", self._next() == before is not None, page)

    def _next(self) -> Any:
        return self._ask(f"SELECT next_run_at FROM dataqueue_cronschedule WHERE schedule_name = '{SCHEDULE}'")[0]  # noqa: S608

    def _counted(self, what: str, table: str, column: str) -> int:
        return self._ask(f"SELECT {what} FROM {table} WHERE {self._within(column)}")[0] or 0  # noqa: S608

    def _jobs(self) -> str:
        """Each type and state with its number, as they were when the digest's own job was running."""
        status = f"CASE WHEN id = {int(self._job_id)} THEN 'processing' ELSE status END"
        each = f"SELECT job_type || ' ' || {status} AS line FROM dataqueue_job WHERE {self._within('run_at')}"  # noqa: S608
        lines = f"SELECT line || ' ' || count(*) AS row FROM ({each}) GROUP BY line"  # noqa: S608
        return "\n".join(sorted(self._ask(f"SELECT group_concat(row, char(10)) FROM ({lines})")[0].splitlines()))  # noqa: S608

    def _within(self, column: str) -> str:
        """The condition that a column is in the time that the digest is about."""
        return f"{column} {self._span.format(column)}"


def _is_at_two(night: datetime) -> bool:
    """Whether it is two o'clock, or three where there is no two."""
    return (night.hour, night.minute) == (AT, 0) or (
        (night.hour, night.minute) == (AT + 1, 0) and (night - timedelta(hours=1)).astimezone(UTC) == night
    )


def _in_sqlite(moment: datetime) -> str:
    return str(moment.astimezone(UTC).replace(tzinfo=None))


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {id.replace('-', ' ')}" for id, number in numbers.items())


def _rows(digest: Page) -> str:
    """The table of jobs, a line for each number in it that is not 0."""
    head, _, body = digest.text.partition("<thead>")[2].partition("</thead>")
    statuses = re.findall(r'<th scope="col">([^<]+)</th>', head)[1:-1]
    lines = []
    for job_type, cells in re.findall(r'<tr><th scope="row">([^<]+)</th>(.*?)</tr>', body):
        numbers = [int(text.replace(",", "")) for text in re.findall(r"<td>([^<]+)</td>", cells)]
        lines += [f"{job_type} {status} {n}" for status, n in zip(statuses, numbers[:-1], strict=True) if n]
    return "\n".join(sorted(lines))
