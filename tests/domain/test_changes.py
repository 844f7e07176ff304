"""How a Change is judged and applied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataqueue_django.domain.changes import (
    Add,
    After,
    Append,
    Change,
    Committed,
    FieldOf,
    Verb,
    Verdict,
    apply_change,
    columns_of,
    guard_holds,
    targets,
    walk,
)
from dataqueue_django.domain.records import Kind

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def change(id: int = 1, **given: Any) -> Change:
    """Return a change of job `id`."""
    return Change(verb=Verb.OTHER, id=id, **given)


@pytest.mark.parametrize(
    ("guard", "holds"),
    [
        ({}, True),
        ({"a": (1, 2)}, True),
        ({"a": (2,)}, False),
        ({"a": ()}, False),
        ({"a": (1,), "b": (None,)}, True),
        ({"a": (1,), "b": ("x",)}, False),
    ],
)
def test_guards(guard: dict[str, Any], holds: bool) -> None:
    assert guard_holds({"a": 1, "b": None}, guard, NOW) == holds
    assert (apply_change({"a": 1, "b": None}, change(guard=guard, set={"c": 3}), NOW) == {"c": 3}) == holds


def test_relative_values_are_resolved_against_the_record_before_the_change() -> None:
    fields = {"n": 5, "m": 1, "when": "then", "log": ({"old": 1},)}
    sets = {
        "n": Add(-2),
        "m": FieldOf("n"),
        "at": After(1.5),
        "log": Append({"new": 2}, keep=5),
        "same": FieldOf("when"),
        "plain": "x",
    }
    assert apply_change(fields, change(set=sets), NOW) == {
        "n": 3,
        "m": 5,
        "at": NOW + timedelta(seconds=1.5),
        "log": ({"old": 1}, {"new": 2, "timestamp": NOW.isoformat()}),
        "same": "then",
        "plain": "x",
    }


@pytest.mark.parametrize("current", [None, (), []])
def test_appending_to_nothing(current: Any) -> None:
    assert Append({"a": 1}, keep=3).resolve(current, {}, NOW) == ({"a": 1, "timestamp": NOW.isoformat()},)


def test_appending_keeps_the_last() -> None:
    kept = Append({"n": 9}, keep=2).resolve(({"n": 1}, {"n": 2}), {}, NOW)
    assert [entry["n"] for entry in kept] == [2, 9]


def test_the_columns_a_change_reads_are_those_it_needs() -> None:
    """`apply_change` must get along with exactly these: stores load nothing else."""
    sets = {"n": Add(1), "m": FieldOf("other"), "log": Append({}, keep=1), "at": After(), "plain": 1}
    one = change(guard={"claim_seq": (3,)}, set=sets)
    columns = columns_of(one)
    assert columns == {"claim_seq", "n", "other", "log"}
    values = {"claim_seq": 3, "n": 1, "other": 2, "log": None}
    assert apply_change(values, one, NOW) is not None


def test_targets_are_all_records_named_in_ascending_order() -> None:
    expire = Change(verb=Verb.EXPIRE, kind=Kind.WORKER, id=2)
    items = [(change(9), change(3, then=(change(5), expire))), (change(9),)]
    assert targets(items, Kind.JOB) == [3, 5, 9]
    assert targets(items, Kind.WORKER) == [2]


def test_walking_tries_alternatives_until_one_takes_and_then_its_follow_ups() -> None:
    tried: list[int] = []

    def apply(one: Change) -> tuple[bool, int | None]:
        tried.append(one.id)
        return one.id in (2, 5), 77 if one.id == 2 else None

    alternatives = (change(1, then=(change(9),)), change(2, then=(change(4), change(5))), change(3))
    assert walk(alternatives, apply) == Committed(verdict=Verdict.APPLIED, choice=1, spawned=77)
    assert tried == [1, 2, 4, 5]


def test_walking_in_vain() -> None:
    answer = walk((change(1), change(2)), lambda one: (False, None))
    assert answer == Committed(verdict=Verdict.LOST)
    assert not answer.applied
