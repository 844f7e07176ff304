"""Limits: how many run at once, how many begin in some time, and how many of a group may wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ...domain.controls import limit_id
from ...domain.records import JobStatus, Kind, Limit, NewJob, Permits
from ...domain.transitions import complete, fail, reclaim, release
from ...exceptions import GroupFull
from .base import Contract, execution_of
from .finishing import BROKEN


class Limiting(Contract):
    """See Store.claim, Store.usage, Store.close_rate and domain.controls."""

    # -- how many run at once

    @pytest.mark.parametrize(
        "scope", [{"queue": "default"}, {"job_type": "send"}, {}, {"queue": "default", "job_type": "send"}]
    )
    def test_no_more_run_than_may(self, scope: dict[str, str]) -> None:
        self.limit(concurrency=2, **scope)
        ids = self.add_all([NewJob(job_type="send") for _ in range(5)])
        first, second = self.claim()
        assert [first.id, second.id] == ids[:2]
        assert self.claim() == []
        self.commit(complete(execution_of(first)))
        assert [job.id for job in self.claim()] == [ids[2]]

    @pytest.mark.parametrize("end", [complete, lambda run: fail(run, BROKEN, retry_in=9),
                                     lambda run: release(run, why="x"), lambda run: reclaim(run)])  # fmt: skip
    def test_whatever_ends_a_run_makes_room(self, end: Any) -> None:
        self.limit(queue="default", concurrency=1)
        self.add_all([NewJob(job_type="send") for _ in range(2)])
        [job] = self.claim()
        assert self.claim(crashed=None) == []
        self.commit(end(execution_of(job)))
        assert len(self.claim(crashed=None)) == 1

    def test_a_deleted_job_makes_room(self) -> None:
        self.limit(queue="default", concurrency=1)
        self.add_all([NewJob(job_type="send") for _ in range(2)])
        [job] = self.claim()
        self.store.delete([job.id], force=True)
        assert len(self.claim()) == 1

    def test_jobs_of_another_scope_are_not_held_back(self) -> None:
        self.limit(queue="q", concurrency=0)
        held, free = self.add(queue="q", priority=9), self.add(queue="p")
        assert [job.id for job in self.claim()] == [free]
        self.store.remove(Kind.LIMIT, [limit_id("q")])
        assert [job.id for job in self.claim()] == [held]

    def test_every_limit_over_a_job_has_to_have_room(self) -> None:
        self.limit(queue="q", concurrency=3)
        self.limit(job_type="t", concurrency=2)
        self.limit(concurrency=4)
        for job_type in "ttttuuuu":
            self.add(job_type, queue="q")
        self.add("u", queue="p"), self.add("u", queue="p")
        found = Counter((job.queue, job.job_type) for job in self.claim(20))
        assert found == {("q", "t"): 2, ("q", "u"): 1, ("p", "u"): 1}

    def test_the_order_stays_that_of_all_jobs(self) -> None:
        self.limit(job_type="t", concurrency=1)
        ids = {(kind, priority): self.add(kind, priority=priority) for kind in "tu" for priority in (1, 2, 3)}
        assert [job.id for job in self.claim()] == [ids["t", 3], ids["u", 3], ids["u", 2], ids["u", 1]]

    def test_a_limit_that_is_changed_holds_for_the_next_claim(self) -> None:
        self.add_all([NewJob(job_type="send") for _ in range(9)])
        self.limit(queue="default", concurrency=1)
        assert len(self.claim()) == 1
        self.limit(queue="default", concurrency=4)
        assert len(self.claim()) == 3
        self.limit(queue="default", concurrency=2)
        assert self.claim() == []

    def test_what_ran_before_a_limit_was_set_counts(self) -> None:
        self.add_all([NewJob(job_type="send") for _ in range(4)])
        self.claim(2)
        self.limit(queue="default", concurrency=3)
        assert len(self.claim()) == 1

    def test_named_jobs_are_under_limits_too(self) -> None:
        ids = self.add_all([NewJob(job_type="send", group_id=group) for group in (None, "a", None)])
        self.limit(queue="default", concurrency=2)
        assert len(self.claim(ids=tuple(ids))) == 2
        assert self.claim(ids=tuple(ids)) == []

    # -- of groups

    def test_each_group_has_its_own_room(self) -> None:
        self.limit(queue="default", per_group=True, concurrency=2)
        for group in ("a", "a", "a", "b", None, None, None):
            self.add(group_id=group)
        assert Counter(job.group_id for job in self.claim()) == {"a": 2, "b": 1, None: 3}
        assert self.claim() == []

    def test_a_limit_for_one_group_takes_the_place_of_that_for_each(self) -> None:
        self.limit(per_group=True, concurrency=1)
        self.limit(group_id="vip", concurrency=3)
        self.limit(queue="default", group_id="vip", concurrency=2)
        for group in ("a", "a", "vip", "vip", "vip", "vip"):
            self.add(group_id=group)
        assert Counter(job.group_id for job in self.claim()) == {"a": 1, "vip": 2}

    def test_a_full_group_is_passed_by(self) -> None:
        self.limit(per_group=True, concurrency=1)
        for group in "aaabbc":
            self.add(group_id=group, priority=9 if group == "a" else 0)
        [first] = self.claim(1)
        assert first.group_id == "a"
        assert [job.group_id for job in self.claim(9)] == ["b", "c"]
        self.commit(complete(execution_of(first)))
        assert [job.group_id for job in self.claim(9)] == ["a"]

    def test_a_group_with_room_is_found_behind_any_number_without(self) -> None:
        self.limit(per_group=True, concurrency=0)
        self.limit(group_id="z", concurrency=1)
        self.add_all([NewJob(job_type="send", group_id=f"g{n:04}") for n in range(1_000)])
        self.add_all([NewJob(job_type="send", group_id=f"h{n:04}") for n in range(200)])
        self.add(group_id="z")
        assert [job.group_id for _ in range(2) for job in self.claim(1)] == ["z"]

    def test_a_claim_may_allow_groups_less_than_others_do(self) -> None:
        for group in ("a", "a", "a", None, None):
            self.add(group_id=group)
        self.limit(per_group=True, concurrency=2)
        assert Counter(job.group_id for job in self.claim(group_concurrency=1)) == {"a": 1, None: 2}
        assert self.claim(group_concurrency=1) == []
        assert [job.group_id for job in self.claim(group_concurrency=5)] == ["a"]
        assert self.claim() == []

    # -- how many begin in some time

    def test_no_more_begin_within_a_window_than_may(self) -> None:
        self.limit(job_type="send", rate=3, per_ms=10_000)
        self.add_all([NewJob(job_type="send") for _ in range(20)])
        assert len(self.claim(2)) == 2
        assert len(self.claim(at=self.later(4))) == 1
        assert self.claim(at=self.later(9.9)) == []
        assert len(self.claim(at=self.later(10))) == 2
        assert self.claim(at=self.later(13.9)) == []
        assert len(self.claim(at=self.later(14))) == 1

    def test_a_bucket_lets_some_begin_at_once_and_fills_evenly(self) -> None:
        self.limit(job_type="send", rate=6, per_ms=60_000, burst=3)
        self.add_all([NewJob(job_type="send") for _ in range(20)])
        assert len(self.claim()) == 3
        assert self.claim(at=self.later(9.9)) == []
        assert len(self.claim(at=self.later(10))) == 1
        assert len(self.claim(at=self.later(35))) == 2
        assert len(self.claim(at=self.later(999))) == 3

    @pytest.mark.parametrize(("burst", "wait"), [(None, 10.0), (2, 5.0)])
    def test_a_worker_learns_when_the_next_may_begin(self, burst: int | None, wait: float) -> None:
        self.limit(queue="default", rate=2, per_ms=10_000, burst=burst)
        self.add_all([NewJob(job_type="send") for _ in range(5)])
        assert len(self.claim()) == 2
        assert self.claim() == []
        assert self.store.next_ready_in(self.asking(), now=self.now) == pytest.approx(wait)
        assert len(self.claim(at=self.later(wait))) in (1, 2)

    @pytest.mark.parametrize("crashed", [False, True])
    def test_a_worker_that_was_too_early_learns_that_one_may_begin_now(self, crashed: bool) -> None:
        """Room that comes back after a claim, and before the question when it will, is not slept through."""
        self.limit(queue="default", rate=2, per_ms=10_000)
        self.add_all([NewJob(job_type="send") for _ in range(5)])
        assert len(self.claim()) == 2
        assert self.claim(at=self.later(9.9)) == []
        asking = replace(self.asking(), crashed=crashed)
        assert self.store.next_ready_in(asking, now=self.later(10)) == 0

    def test_each_group_has_its_own_rate(self) -> None:
        self.limit(job_type="send", per_group=True, rate=1, per_ms=5_000)
        for group in ("a", "a", "b", None, None):
            self.add(group_id=group)
        assert Counter(job.group_id for job in self.claim()) == {"a": 1, "b": 1, None: 2}
        assert self.claim(at=self.later(4.9)) == []
        assert self.store.next_ready_in(self.asking(), now=self.later(4)) == pytest.approx(1)
        assert [job.group_id for job in self.claim(at=self.later(5))] == ["a"]

    def test_what_is_not_handed_out_uses_no_permit(self) -> None:
        self.limit(job_type="send", rate=2, per_ms=10_000)
        self.limit(queue="default", concurrency=1)
        self.add_all([NewJob(job_type="send") for _ in range(5)])
        [job] = self.claim()
        assert self.claim() == []
        self.commit(complete(execution_of(job)))
        assert len(self.claim()) == 1

    def test_a_rate_that_is_lowered_counts_what_began(self) -> None:
        self.add_all([NewJob(job_type="send") for _ in range(9)])
        self.limit(queue="default", rate=4, per_ms=10_000)
        assert len(self.claim(3)) == 3
        self.limit(queue="default", rate=2, per_ms=10_000)
        assert self.claim(at=self.later(9)) == []
        assert len(self.claim(at=self.later(10))) == 2

    def test_a_rate_can_be_closed_for_a_time(self) -> None:
        self.limit(job_type="send", per_group=True, rate=9, per_ms=1_000)
        for group in ("a", "a", "b"):
            self.add(group_id=group)
        [use] = self.store.usage("default", "send", "a", now=self.now)
        self.store.close_rate([use.key], until=self.later(7), now=self.now)
        self.store.close_rate([use.key], until=self.later(2), now=self.now)
        assert [job.group_id for job in self.claim()] == ["b"]
        assert self.claim(at=self.later(6.9)) == []
        assert [job.group_id for job in self.claim(at=self.later(7))] == ["a", "a"]

    def test_until_when_a_rate_is_closed_is_told(self) -> None:
        self.limit(queue="default", rate=9, per_ms=1_000)
        [use] = self.store.usage("default", "send", None, now=self.now)
        assert use.closed_until is None
        self.store.close_rate([use.key], until=self.later(7), now=self.now)
        told = [self.store.usage("default", "send", None, now=self.later(n))[0].closed_until for n in (6, 8)]
        assert told == [self.later(7), None]

    def test_a_claim_that_was_planned_under_another_limit_is_planned_anew(self) -> None:
        self.limit(queue="default", concurrency=1)
        ids = self.add_all([NewJob(job_type="send", run_at=self.later(-1e9)) for _ in range(3)])  # by any clock
        claim = self.asking()
        assert [job.id for job in self.store.claim(claim)] == ids[:1]
        self.limit(queue="default", concurrency=2)
        assert [job.id for job in self.store.claim(claim)] == ids[1:2]

    # -- how they stand

    def test_how_limits_stand_is_told(self) -> None:
        self.limit(queue="default", concurrency=3, rate=5, per_ms=10_000)
        self.limit(per_group=True, concurrency=1)
        self.limit(queue="other", concurrency=1)
        for group in ("a", "a", None):
            self.add(group_id=group)
        self.claim()
        of_group, of_queue = self.store.usage("default", "send", "a", now=self.later(1))
        assert (of_group.limit.id, of_group.running) == (limit_id(per_group=True), 1)
        assert (of_queue.limit.id, of_queue.running, of_queue.permits) == (limit_id("default"), 2, Permits(granted=3))
        [alone] = self.store.usage("default", "send", None, now=self.now)
        assert alone.limit.id == limit_id("default")

    def test_limits_are_kept_as_they_were_set(self) -> None:
        given = self.limit(
            queue="q", job_type="t", group_id="g/h", concurrency=2, rate=1, per_ms=9, burst=4, max_size=7, actor="ann"
        )
        assert self.store.fetch(Kind.LIMIT, given.id) == given
        assert self.store.controls().limits == (given,)

    def test_what_is_known_of_rates_can_be_forgotten(self) -> None:
        self.limit(job_type="send", per_group=True, rate=1, per_ms=10_000)
        for group in "aab":
            self.add(group_id=group)
        self.claim()
        assert self.store.delete_rates(before=self.now) == 0
        assert self.claim(at=self.later(5)) == []
        assert self.store.delete_rates(before=self.later(1), limit=1) == 1
        assert self.store.delete_rates(before=self.later(1)) == 1
        assert [job.group_id for job in self.claim(at=self.later(5))] == ["a"]

    # -- how many of a group may wait

    def test_no_more_of_a_group_wait_than_may(self) -> None:
        self.limit(queue="default", per_group=True, max_size=2)
        ids = [self.add_bounded("a"), self.add_bounded("a")]
        with pytest.raises(GroupFull, match="'a' has 2 of at most 2"):
            self.add_bounded("a")
        self.add_bounded("b"), self.add_bounded(None), self.add_bounded(None), self.add_bounded(None)
        assert self.store.count()[()] == 6
        self.start(ids[0])
        self.add_bounded("a")

    def test_too_many_at_once_are_refused_together(self) -> None:
        self.limit(group_id="a", max_size=2)
        with pytest.raises(GroupFull):
            self.store.insert([NewJob(job_type="send", group_id="a") for _ in range(3)], now=self.now, bounded=True)
        assert self.store.count()[()] == 0

    def test_a_job_that_is_there_already_needs_no_room(self) -> None:
        self.limit(group_id="a", max_size=1)
        job_id = self.add_bounded("a", idempotency_key="k")
        assert self.add_bounded("a", idempotency_key="k") == job_id

    def test_what_goes_on_by_itself_is_not_refused(self) -> None:
        self.limit(group_id="a", max_size=1)
        run = self.running(group_id="a")
        self.add_bounded("a")
        self.commit(fail(run, BROKEN, retry_in=0))
        assert self.job(run.job_id).status is JobStatus.FAILED
        assert self.add(group_id="a")

    # -- words for the usual steps

    def limit(self, **options: Any) -> Limit:
        """Set a limit."""
        scope = {name: options[name] for name in ("queue", "job_type", "per_group", "group_id") if name in options}
        return self.store.put(Limit(id=limit_id(**scope), **options), now=self.now)

    def add_bounded(self, group_id: str | None, **options: Any) -> int:
        """Add a job as callers do."""
        job = NewJob(job_type="send", group_id=group_id, **options)
        return self.store.insert([job], now=self.now, bounded=True)[0].id
