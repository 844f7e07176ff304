"""Groups: their jobs take turns, and are counted."""

from __future__ import annotations

import pytest

from ...domain.records import GroupCounts, NewJob
from ...domain.steering import cancel
from ...domain.transitions import complete, fail, reclaim
from .base import Contract, execution_of
from .finishing import BROKEN


class Grouping(Contract):
    """See Store.claim, Store.group_counts and domain.admission."""

    def test_groups_take_turns(self) -> None:
        self.fill("aaaabbc")
        assert self.order(7) == "abcabaa"

    def test_the_turn_goes_on_where_it_was(self) -> None:
        self.fill("aabbcc")
        assert [self.order(1) for _ in range(7)] == ["a", "b", "c", "a", "b", "c", ""]

    def test_a_group_that_comes_later_has_its_turn_before_the_first_has_its_next(self) -> None:
        self.fill("aaaa")
        assert self.order(2) == "aa"
        self.fill("b")
        assert self.order(2) == "ba"

    def test_within_a_group_the_order_is_that_of_all_jobs(self) -> None:
        low, high = self.add(group_id="a"), self.add(group_id="a", priority=5)
        assert [job.id for job in self.claim()] == [high, low]

    def test_each_queue_and_type_has_turns_of_its_own(self) -> None:
        for queue in ("p", "q"):
            for group in "aab":
                self.add("t", queue=queue, group_id=group)
        assert [job.group_id for job in self.claim(2, queues=("p",))] == ["a", "b"]
        assert [job.group_id for job in self.claim(2, queues=("q",))] == ["a", "b"]

    def test_jobs_without_a_group_stand_beside_those_whose_turn_it_is(self) -> None:
        grouped = [self.add(group_id="a", priority=2), self.add(group_id="b", priority=0)]
        alone = self.add(priority=1)
        assert [job.id for job in self.claim()] == [grouped[0], alone, grouped[1]]

    def test_the_first_of_a_turn_stands_for_those_behind_it(self) -> None:
        """A group's turn comes before the priority of another group's jobs."""
        self.add(group_id="a"), self.add(group_id="b", priority=9)
        assert self.order(2) == "ab"

    def test_named_jobs_come_in_the_order_of_all_and_move_no_turn(self) -> None:
        first, second = self.add(group_id="b"), self.add(group_id="a")
        self.fill("ab")
        assert [job.id for job in self.claim(ids=(first, second))] == [first, second]
        assert self.order(2) == "ab"

    def test_a_job_that_took_its_worker_down_is_passed_by(self) -> None:
        run = self.running(group_id="a")
        self.commit(reclaim(run))
        self.fill("ab")
        assert self.order(5) == "ba" or self.order(5) == ""
        assert [job.id for job in self.claim(crashed=True)] == [run.job_id]

    def test_more_groups_than_are_wanted(self) -> None:
        self.store.insert([NewJob(job_type="send", group_id=f"g{n:03}") for n in range(120)], now=self.now)
        seen = [job.group_id for _ in range(12) for job in self.claim(10)]
        assert seen == [f"g{n:03}" for n in range(120)]

    def test_one_group_may_have_all_there_is(self) -> None:
        self.fill("a" * 25)
        assert self.order(25) == "a" * 25

    def test_excluded_groups_are_left(self) -> None:
        self.fill("abcab")
        assert "".join(job.group_id or "-" for job in self.claim(exclude_groups=("a", "c"))) == "bb"
        assert self.order(9) == "caa"

    def test_what_waits_and_runs_is_counted(self) -> None:
        ids = [self.add(group_id="a", run_at=self.later(n)) for n in (0, 0, 0, 60)]
        self.add("other", queue="q", group_id="a")
        self.add(group_id="A")
        assert self.counts("a") == GroupCounts(waiting=5, active=0)
        first, second = self.claim(2, job_types=("send",), exclude_groups=("A",))
        assert self.counts("a") == GroupCounts(waiting=3, active=2)
        self.commit(complete(execution_of(first)), fail(execution_of(second), BROKEN, retry_in=9))
        assert self.counts("a") == GroupCounts(waiting=4, active=0)
        self.store.commit([cancel(ids[2])], now=self.now)
        assert self.counts("a") == GroupCounts(waiting=3, active=0)
        assert self.counts("a", queue="q") == GroupCounts(waiting=1, active=0)
        assert self.counts("a", job_type="send") == GroupCounts(waiting=2, active=0)
        assert self.counts("nobody") == GroupCounts()

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    def test_any_length_of_claim_has_the_same_order(self, limit: int) -> None:
        self.fill("aaaaabbbcd")
        found = ""
        while more := self.order(limit):
            found += more
        assert found == "abcdababaa"

    # -- words for the usual steps

    def fill(self, groups: str) -> None:
        """Add a job of each group named by a letter."""
        self.add_all([NewJob(job_type="send", group_id=group) for group in groups])

    def order(self, limit: int) -> str:
        """Claim, and return the groups of the jobs."""
        return "".join(job.group_id or "-" for job in self.claim(limit))

    def counts(self, group_id: str, **scope: str) -> GroupCounts:
        """Count the jobs of a group."""
        return self.store.group_counts(group_id, **scope)
