"""The webhooks' part of `manage.py demo --check`: hosts are asked as they want to be, which they tell themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from example_project.webhooks.receiver import Asked, Receiver

from .album_check import Expect
from .visitor import Page, Visitor

PAGE, SEND = "/webhooks/", "/webhooks/send/"
EVENTS, TO_THE_GONE = 12, 3
AT_ONCE, PER_SECOND = 2, 5

WITHIN_RATE = (EVENTS - 1) // PER_SECOND - 0.5
"""Seconds that a dozen takes at least: a request is on its way for longer or shorter after its job has begun."""


class WebhooksCheck:
    """`finished` comes back to a page until it rests, `ask` asks the database for one row."""

    def __init__(
        self,
        visitor: Visitor,
        expect: Expect,
        finished: Callable[[Page], Page],
        ask: Callable[[str], Any],
        receivers: list[Receiver],
    ) -> None:
        self._visitor = visitor
        self._expect = expect
        self._finished = finished
        self._ask = ask
        self._receivers = {receiver.manner: receiver for receiver in receivers}

    def run(self) -> None:
        """Send to a host that is quick, one that is busy and one that is gone, and to one that is not to be asked."""
        page = self._visitor.get(PAGE)
        for manner, events in (("quick", EVENTS), ("busy", EVENTS), ("gone", TO_THE_GONE)):
            page = self._send(page, self._receivers[manner].url, events)
        page = self._finished(self._visitor.get(PAGE))
        quick, busy, gone = (self._receivers[manner] for manner in ("quick", "busy", "gone"))
        self._look_at_deliveries(page, quick, busy)
        self._look_at_limits(quick)
        self._look_at_what_was_put_off(busy)
        told = {asked.delivery for asked in gone.asked}
        self._expect(
            "a host that is gone is asked once for each event, and its deliveries are refused",
            len(told) == len(gone.asked) == TO_THE_GONE and page.text.count("refused, 410") == TO_THE_GONE,
            page,
        )
        self._refuse_an_address()

    def _send(self, page: Page, url: str, events: int) -> Page:
        return self._visitor.press(page, SEND, {"url": url, "events": str(events)})

    def _look_at_deliveries(self, page: Page, *receivers: Receiver) -> None:
        taken = [Counter(asked.delivery for asked in _taken(receiver)) for receiver in receivers]
        self._expect(
            f"two hosts get {EVENTS} events each, every one once",
            all(len(found) == EVENTS and set(found.values()) == {1} for found in taken),
            page,
        )
        asked = [one for receiver in self._receivers.values() for one in receiver.asked]
        self._expect("all of them are signed", all(one.is_signed for one in asked))
        self._expect(
            "the page shows them as delivered", page.text.count("delivered, 200") == EVENTS * len(receivers), page
        )

    def _look_at_limits(self, quick: Receiver) -> None:
        times = sorted(asked.at for asked in quick.asked)
        took = times[-1] - times[0]
        self._expect(
            f"no host is asked by more than {AT_ONCE} at once",
            max(receiver.most_at_once for receiver in self._receivers.values()) <= AT_ONCE,
        )
        self._expect(f"nor more than {PER_SECOND} times a second: {EVENTS} took {took:.1f} s", took >= WITHIN_RATE)

    def _look_at_what_was_put_off(self, busy: Receiver) -> None:
        refused = [asked for asked in busy.asked if asked.status == 429]
        self._expect(f"a busy host answers 429 {len(refused)} times", bool(refused))
        attempts, count = self._ask(
            "SELECT max(attempts), count(*) FROM dataqueue_job WHERE job_type = 'webhooks.deliver' "
            "AND status = 'completed'"
        )
        self._expect("which costs no delivery an attempt", attempts == 1 and count == 2 * EVENTS)

    def _refuse_an_address(self) -> None:
        page = self._send(self._visitor.get(PAGE), "http://user:secret@127.0.0.1/", 1)
        self._expect("an address with a password is refused", page.status == 400 and "no password" in page.text, page)
        self._send(self._visitor.get(PAGE), "http://127.0.0.1:1/", 1)
        page = self._finished(self._visitor.get(PAGE))
        self._expect("one in no public network is not asked for", "in no public network" in page.text, page)


def _taken(receiver: Receiver) -> list[Asked]:
    return [asked for asked in receiver.asked if asked.status == 200]
