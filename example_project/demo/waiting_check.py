"""The part of `manage.py demo --check` about jobs that wait: refunds that somebody decides on, and letters days apart.

Workers are killed while steps run, while jobs wait, and between a payment and the note that it was made. Afterwards
each letter, each payment and each entry of the ledger has to be there once.
"""

from __future__ import annotations

import html
import re
import signal
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from .album_check import Expect
from .children import Child
from .visitor import Page, Visitor

REFUNDS, REQUEST, WELCOME, SIGN_UP = "/refunds/", "/refunds/request/", "/welcome/", "/welcome/sign-up/"
ADMIN = "/admin/refunds/refund/"

SLOW = {"FIELDBOOK_STEP_SECONDS": "60"}
"""A step that is begun is running until its worker is killed."""

SHORT = {"REFUND_APPROVAL_TIMEOUT": "1s"}
DAYS = {"DRIP_DAY_SECONDS": "3"}
FAST_DAYS = {"DRIP_DAY_SECONDS": "0.2"}
REFUNDS_ONLY = ("--job-types", "settle_refund", "--concurrency", "6")
ALL = ("--concurrency", "6")

WELCOME_LETTERS = ["Welcome to Fieldbook", "Three tips for your book", "How do you like Fieldbook?"]


class Workers(Protocol):
    """Start a worker with these variables and arguments."""

    def __call__(self, variables: dict[str, str], *arguments: str) -> Child: ...


class WaitingCheck:
    """`ask` asks the database for one row, `wait` waits for a condition while the server and the worker live."""

    def __init__(
        self,
        address: str,
        visitor: Visitor,
        expect: Expect,
        ask: Callable[[str], Any],
        start: Workers,
        wait: Callable[[Callable[[], bool], str], None],
    ) -> None:
        self._visitor = visitor
        self._approver = Visitor(address)  # has a link and no login
        self._expect = expect
        self._ask = ask
        self._start = start
        self._wait = wait

    def run(self) -> None:
        """Play it; no worker is alive before and after."""
        self._ask_for_all()
        self._kill_in_steps()
        self._kill_while_waiting()
        self._decide()
        self._kill_after_paying()
        self._finish()

    # -- the scenario

    def _ask_for_all(self) -> None:
        self._approved, self._rejected, self._by_admin = (self._refund(f"ORDER-{n}") for n in range(3))
        again = self._request("order-0")
        self._expect(
            "a refund that was asked for twice is there once",
            again.url == self._approved.url and "asked for this before" in again.text,
            again,
        )
        self._stays, self._leaves = self._sign_up("Stays"), self._sign_up("Leaves")
        self._first = [_tag(page) for page in (self._approved, self._rejected, self._by_admin)]
        self._people = [_tag(page) for page in (self._stays, self._leaves)]

    def _kill_in_steps(self) -> None:
        jobs = [*self._first, *self._people]
        worker = self._start(SLOW, *ALL)
        begun = "progress_message IN ('Looking at what the customer was given back before', 'Drawing an airport')"
        self._wait(lambda: self._jobs(jobs, "processing", begun) == 5, "five steps are running")
        _kill(worker)
        steps = self._count("dataqueue_step")
        self._expect("a worker is killed in the middle of five steps, none recorded", steps == 0)

    def _kill_while_waiting(self) -> None:
        jobs = [*self._first, *self._people]
        worker = self._start(DAYS, *ALL)
        self._wait(lambda: self._jobs(jobs, "waiting") == 5, "five jobs wait")
        _kill(worker)
        self._expect(
            "the next is killed while all five jobs wait", self._jobs(jobs, "waiting", "worker_id IS NULL") == 5
        )
        self._expect("each of them has run twice so far", self._attempts(jobs) == [2] * 5)
        page = self._visitor.get(self._stays.url)
        self._expect("a page says which letter comes next, and when", 'class="due"' in page.text, page)

    def _decide(self) -> None:
        """While no worker is alive."""
        link = self._link(self._approved)
        asked = self._approver.get(link)
        self._expect("a link asks for a decision, without a login", asked.status == 200 and "wants 12.50" in asked.text)
        self._expect("opening it decides nothing", self._tokens("completed") == 0)
        tampered = self._approver.get(f"{link[:-6]}AAAAA/")
        self._expect("a tampered link is refused", tampered.status == 400 and "not one that we sent" in tampered.text)
        bare = self._approver.post(link, b"decision=approve", "application/x-www-form-urlencoded")
        self._expect("a decision without a CSRF token is refused", bare.status == 403)
        done = self._approver.press(asked, link, {"decision": "approve", "note": "Sorry"})
        self._expect("a link approves", done.status == 200 and "is approved." in done.text, done)
        twice = self._approver.press(asked, link, {"decision": "reject"})
        told = "was approved already, by approver@example.com (link)" in twice.text
        self._expect("the second decision is told who decided", twice.status == 409 and told, twice)
        link = self._link(self._rejected)
        done = self._approver.press(self._approver.get(link), link, {"decision": "reject"})
        self._expect("a link rejects", done.status == 200 and "is rejected." in done.text, done)
        self._decide_in_the_admin()
        self._unsubscribe()

    def _decide_in_the_admin(self) -> None:
        page = self._visitor.get(ADMIN)
        number = _number(self._by_admin)
        chosen = {"action": "approve_selected", "_selected_action": number, "index": "0"}
        done = self._visitor.press(page, ADMIN, chosen)
        logged = self._ask(f"SELECT count(*) FROM django_admin_log WHERE object_id = '{number}'")[0]  # noqa: S608
        self._expect(
            "an action of the admin approves, and is logged", "is approved." in done.text and logged == 1, done
        )
        link = self._link(self._by_admin)
        late = self._approver.get(link)
        told = "was approved already, by user 1 demo" in late.text and "<form" not in late.text
        self._expect("the link to it says who was faster", late.status == 409 and told, late)

    def _unsubscribe(self) -> None:
        link = self._link(self._leaves)
        asked = self._approver.get(link)
        done = self._approver.press(asked, link)
        self._expect("a link unsubscribes", "has unsubscribed" in done.text and "No more letters" in asked.text, done)

    def _kill_after_paying(self) -> None:
        """Both payments at once; what was rejected is done by then."""
        worker = self._start(SLOW, *REFUNDS_ONLY)
        paying = "progress_message = 'Asking the bank'"
        self._wait(
            lambda: (
                self._count("refunds_banktransfer") == self._jobs(self._first, "processing", paying) == 2
                and self._jobs(self._first, "completed") == 1
            ),
            "the bank has paid both refunds",
        )
        _kill(worker)
        booked = self._count("refunds_ledgerentry")
        self._expect("a worker is killed when the bank has paid and nothing says so yet", booked == 0)

    def _finish(self) -> None:
        """With little time to decide, so that the last refund runs out of it."""
        late = self._refund("ORDER-3")
        worker = self._start({**SHORT, **FAST_DAYS}, *ALL)
        jobs = [*self._first, _tag(late), *self._people]
        self._wait(lambda: self._jobs(jobs, "completed") == len(jobs), "all jobs are completed")
        self._expect("another worker finishes all of them", True)
        self._check_jobs(jobs)
        self._check_refunds([self._approved, self._rejected, self._by_admin, late])
        self._expect("who stayed got three letters, each once", self._subjects(self._stays) == WELCOME_LETTERS)
        self._expect("who left got one", self._subjects(self._leaves) == WELCOME_LETTERS[:1])
        link = self._link(late)
        told = self._approver.get(link)
        self._expect("a link says that it is too late", told.status == 410 and "It is too late" in told.text, told)
        _kill(worker)

    def _check_jobs(self, jobs: list[str]) -> None:
        """Of the four refunds and the two people."""
        attempts = self._attempts(jobs)
        self._expect("attempts count the kills in the middle of steps, not the waits", attempts == [3, 2, 3, 1, 2, 2])
        self._expect("each step is recorded once", self._steps(jobs) == [3, 2, 3, 2, 6, 4])

    def _check_refunds(self, refunds: list[Page]) -> None:
        pages = [self._visitor.get(refund.url) for refund in refunds]
        states = [_state(page) for page in pages]
        self._expect(
            f"the refunds are {', '.join(states)}", states == ["refunded", "rejected", "refunded", "expired"], pages[0]
        )
        paid = self._ask("SELECT count(*), sum(amount), max(times_asked) FROM refunds_banktransfer")
        self._expect("the bank was asked twice for each payment, and made it once", tuple(paid) == (2, 25, 2))
        booked = self._ask("SELECT count(*), count(DISTINCT refund_id), sum(amount) FROM refunds_ledgerentry")
        self._expect("the ledger has each of them once", tuple(booked) == (2, 2, 25))
        letters = [self._letters(page) for page in pages]
        self._expect("each letter about a refund was written once", letters == [2, 2, 2, 3])

    # -- means

    def _request(self, order: str) -> Page:
        fields = {"order": order, "amount": "12.50", "reason": "It broke", "email": "ada@example.com"}
        return self._visitor.press(self._visitor.get(REFUNDS), REQUEST, fields)

    def _refund(self, order: str) -> Page:
        page = self._request(order)
        self._expect(f"a refund of {order} can be asked for", page.status == 200 and _state(page) != "", page)
        return page

    def _sign_up(self, name: str) -> Page:
        fields = {"name": name, "email": f"{name}@example.com"}
        return self._visitor.press(self._visitor.get(WELCOME), SIGN_UP, fields)

    def _link(self, page: Page) -> str:
        """The path of the link in the first letter about something."""
        letters = self._visitor.get(f"/post/?about={_about(page).replace(' ', '+')}")
        links = re.findall(r'href="(http[^"]+/(?:decide|unsubscribe)/[^"]+)"', letters.text)
        if not links:
            raise LookupError(f"{letters.url} shows no letter with a link.")
        return urlsplit(html.unescape(links[-1])).path

    def _jobs(self, tags: list[str], status: str, more: str = "1") -> int:
        which = f"id IN ({_jobs_with(tags)}) AND status = '{status}' AND {more}"
        return int(self._ask(f"SELECT count(*) FROM dataqueue_job WHERE {which}")[0])  # noqa: S608 - our own words

    def _attempts(self, tags: list[str]) -> list[int]:
        return [self._ask(f"SELECT attempts FROM dataqueue_job WHERE id IN ({_jobs_with([t])})")[0] for t in tags]  # noqa: S608

    def _steps(self, tags: list[str]) -> list[int]:
        query = "SELECT count(*) FROM dataqueue_step WHERE kind = 'step' AND job_id IN ({})"
        return [self._ask(query.format(_jobs_with([tag])))[0] for tag in tags]

    def _tokens(self, status: str) -> int:
        return int(self._ask(f"SELECT count(*) FROM dataqueue_token WHERE status = '{status}'")[0])  # noqa: S608

    def _letters(self, page: Page) -> int:
        return int(self._ask(f"SELECT count(*) FROM post_letter WHERE about = '{_about(page)}'")[0])  # noqa: S608

    def _subjects(self, page: Page) -> list[str]:
        ordered = f"(SELECT subject FROM post_letter WHERE about = '{_about(page)}' ORDER BY id)"  # noqa: S608
        return str(self._ask(f"SELECT group_concat(subject, '|') FROM {ordered}")[0]).split("|")  # noqa: S608

    def _count(self, table: str) -> int:
        return int(self._ask(f"SELECT count(*) FROM {table}")[0])  # noqa: S608 - names from this file


def _kill(worker: Child) -> None:
    worker.signal(signal.SIGKILL)
    worker.process.wait()


def _number(page: Page) -> str:
    """The number of a refund or a person, from the address of its page."""
    return urlsplit(page.url).path.rstrip("/").rpartition("/")[2]


def _kind(page: Page) -> str:
    return "refund" if urlsplit(page.url).path.startswith(REFUNDS) else "person"


def _about(page: Page) -> str:
    return f"{_kind(page)} {int(_number(page))}"


def _tag(page: Page) -> str:
    return f"{_kind(page)}-{int(_number(page))}"


def _jobs_with(tags: list[str]) -> str:
    names = ", ".join(f"'{tag}'" for tag in tags)
    return f"SELECT job_id FROM dataqueue_jobtag WHERE tag IN ({names})"  # noqa: S608 - made of words and numbers


def _state(page: Page) -> str:
    found = re.search(r'id="state">([^<]*)<', page.text)
    return found[1] if found else ""
