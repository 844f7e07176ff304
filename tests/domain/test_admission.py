"""The order of jobs over several rows, and what limits leave room for."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dataqueue_django.domain.admission import Candidate, Rooms, admitted, from_cursor, in_turn, merged
from dataqueue_django.domain.controls import limit_id
from dataqueue_django.domain.records import Limit
from tests.domain.test_rates import NOW

candidates = st.builds(
    Candidate,
    id=st.integers(1, 10**6),
    queue=st.sampled_from("pq"),
    job_type=st.sampled_from("tu"),
    group_id=st.sampled_from([None, "a", "b", "c"]),
    priority=st.integers(-2, 2),
    position=st.just(0),
    ready_at=st.just(NOW),
)
many = st.lists(candidates, max_size=40, unique_by=lambda one: one.id)


@given(st.lists(many, max_size=5))
def test_sorted_rows_are_merged_into_a_sorted_one(rows: list[list[Candidate]]) -> None:
    rows = [sorted(row, key=lambda one: one.place) for row in rows]
    found = list(merged(rows))
    assert [one.place for one in found] == sorted(one.place for row in rows for one in row)


@given(st.lists(many, max_size=5))
def test_merging_keeps_the_order_of_each_row(rows: list[list[Candidate]]) -> None:
    rows = [[one._replace(queue=str(n)) for one in row] for n, row in enumerate(rows)]
    found = list(merged(rows))
    assert [[one for one in found if one.queue == str(n)] for n in range(len(rows))] == rows


@given(st.lists(st.lists(candidates, max_size=6), max_size=6))
def test_in_turn_nobody_is_more_than_one_job_ahead_of_a_group_that_has_more(groups: list[list[Candidate]]) -> None:
    groups = [[one._replace(group_id=str(n)) for one in group] for n, group in enumerate(groups)]
    seen: Counter[str] = Counter()
    for one in in_turn(groups):
        seen[str(one.group_id)] += 1
        behind = [seen[str(n)] for n, group in enumerate(groups) if len(group) > seen[str(n)]]
        assert seen[str(one.group_id)] - min(behind, default=seen[str(one.group_id)]) <= 1
    assert sum(seen.values()) == sum(map(len, groups))


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.sampled_from([None, "a", "c", "f", "g"]))
def test_turns_go_on_behind_the_last(names: list[str], last: str | None) -> None:
    found = from_cursor(names, last)
    assert sorted(found) == sorted(names)
    if last is not None and found:
        after = [name for name in found if name > last]
        assert found[: len(after)] == sorted(after)


limits = st.lists(
    st.builds(
        lambda queue, job_type, each, slots: Limit(
            id=limit_id(queue, job_type, per_group=each), queue=queue, job_type=job_type, per_group=each,
            concurrency=slots,
        ),
        st.sampled_from(["", "p", "q"]), st.sampled_from(["", "t"]), st.booleans(), st.integers(0, 3),
    ),
    max_size=5, unique_by=lambda limit: limit.id,
)  # fmt: skip


@given(limits, many, st.integers(0, 40))
def test_what_is_admitted_is_within_every_limit_and_nothing_more_would_be(
    over: list[Limit], jobs: list[Candidate], most: int
) -> None:
    rooms = Rooms(over, {("p", "t", "a"): 1}, {}, NOW)
    found = admitted(jobs, rooms, most)
    running = [("p", "t", "a"), *((one.queue, one.job_type, one.group_id) for one in found)]
    for limit in over:
        mine = [lane for lane in running if limit.queue in ("", lane[0]) and limit.job_type in ("", lane[1])]
        counts = Counter(lane[2] for lane in mine if lane[2]) if limit.per_group else Counter({"": len(mine)})
        before = 1 if limit.queue in ("", "p") else 0
        assert all(n <= max(limit.concurrency or 0, before) for n in counts.values())
    left = [one for one in jobs if one not in found]
    assert len(found) == most or not any(rooms.admit(one) for one in left)
