"""Duties: what has to be done now and then is done by one at a time, whoever that is."""

from __future__ import annotations

from datetime import datetime

from ...domain.changes import Verdict
from ...domain.duties import PAUSE, Done, fail, finish, new_duty, take
from ...domain.records import Duty, Kind
from .base import Contract

NAME, EVERY = "tidy", 60.0


class Duties(Contract):
    """See Store.put, Store.find and Store.commit."""

    def test_a_duty_is_put_once(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        self.store.put(new_duty(NAME), now=self.later(1))
        assert self.duty().due_at == self.later(EVERY)
        assert self.store.find(Kind.DUTY) == [self.duty()]

    def test_it_is_taken_once_a_period(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        self.reports(Done(), "a", self.now)
        assert not self.taken("b", self.later(EVERY - 0.001))
        assert self.taken("b", self.later(EVERY))
        assert (self.duty().done_by, self.duty().started_at) == ("b", self.later(EVERY))

    def test_of_two_who_read_the_same_one_takes_it(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        seen = self.duty()
        items = [take(seen, EVERY, by, self.now, anyway=True) for by in ("a", "b")]
        verdicts = [answer.verdict for item in items for answer in self.store.commit([item], now=self.now)]
        assert verdicts == [Verdict.APPLIED, Verdict.LOST]

    def test_anyway_is_not_from_somebody_who_is_at_it(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert not self.taken("b", self.later(1), anyway=True)
        self.reports(Done(), "a", self.now)
        assert self.taken("b", self.later(1), anyway=True)
        assert self.duty().due_at == self.later(1 + EVERY)

    def test_whoever_died_delays_it_by_one_period(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert not self.taken("b", self.later(EVERY - 1), anyway=True)
        assert self.taken("b", self.later(EVERY))

    def test_a_report_is_kept_with_what_is_remembered(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert self.reports(Done(report={"rows": 3}, state={"to": ["x"]}), "a", self.now)
        kept = self.duty()
        assert (kept.report, kept.state, kept.error, kept.finished_at) == (
            {"rows": 3},
            {"to": ["x"]},
            "",
            self.later(2),
        )
        assert kept.due_at == self.later(EVERY)

    def test_what_is_not_done_yet_goes_on_after_a_pause(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert self.reports(Done(more=True), "a", self.now)
        assert self.duty().due_at == self.later(2 + PAUSE)

    def test_a_failure_forgets_nothing_and_goes_with_the_next_success(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert self.reports(Done(report={"rows": 3}, state=[1]), "a", self.now)
        again = self.later(EVERY)
        assert self.taken("b", again)
        [answer] = self.commit(fail(NAME, "b", again, ValueError("no\n  room\0")), at=again)
        assert answer.applied
        assert (self.duty().error, self.duty().state) == ("ValueError: no room�", [1])
        assert self.taken("b", self.later(2 * EVERY))
        assert self.reports(Done(), "b", self.later(2 * EVERY))
        assert self.duty().error == ""

    def test_whoever_lost_it_reports_nothing(self) -> None:
        self.store.put(new_duty(NAME), now=self.now)
        assert self.taken("a", self.now)
        assert self.taken("b", self.later(EVERY))
        before = self.duty()
        assert not self.reports(Done(report={"rows": 1}), "a", self.now)
        assert self.duty() == before
        assert self.reports(Done(), "b", self.later(EVERY))
        assert not self.reports(Done(report={"rows": 2}), "b", self.later(EVERY))

    def duty(self) -> Duty:
        """Return the duty as it is stored."""
        found: Duty = self.store.fetch(Kind.DUTY, NAME)
        return found

    def taken(self, by: str, at: datetime, *, anyway: bool = False) -> bool:
        """Try to take the duty, and return whether that succeeded."""
        [answer] = self.store.commit([take(self.duty(), EVERY, by, at, anyway=anyway)], now=at)
        return answer.applied

    def reports(self, done: Done, by: str, taken_at: datetime) -> bool:
        """Report two seconds from now, and return whether that was accepted."""
        [answer] = self.commit(finish(NAME, by, taken_at, done), at=self.later(2))
        return answer.applied
