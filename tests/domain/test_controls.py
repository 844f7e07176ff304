"""Which pauses and limits are over a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from dataqueue_django.domain.controls import Controls, key_of, limit_id, limits_over, of_claim, scope_id
from dataqueue_django.domain.records import Limit, Pause

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("", "a", "b", "a/b", "/", "%2F", "*", "=a", "a/", "/a")


def limit(queue: str = "", job_type: str = "", **options: object) -> Limit:
    """Return a limit of one job at a time."""
    scope = {name: options[name] for name in ("per_group", "group_id") if name in options}
    given = {"concurrency": 1, **options}
    return Limit(id=limit_id(queue, job_type, **scope), queue=queue, job_type=job_type, **given)  # type: ignore[arg-type]


def test_no_two_scopes_share_an_id() -> None:
    ids = [scope_id(queue, job_type) for queue, job_type in product(NAMES, NAMES)]
    assert len(set(ids)) == len(ids)
    groups = [limit_id(queue, kind, group_id=group) for queue, kind, group in product(NAMES, NAMES, NAMES[1:])]
    each = [limit_id(queue, kind, per_group=True) for queue, kind in product(NAMES, NAMES)]
    assert len({*ids, *groups, *each}) == len(ids) + len(groups) + len(each)


def test_the_use_of_a_group_s_limit_has_one_key_whichever_limit_says_so() -> None:
    each, mine = limit("q", "t", per_group=True), limit("q", "t", group_id="g/h")
    assert key_of(each, "g/h") == key_of(mine, "g/h") == "q/t/=g/h"
    assert key_of(each, "g") != key_of(each, "g/h")
    assert key_of(limit("q"), "g") == key_of(limit("q"), None) == "q/"
    [of_claim_alone] = of_claim((), 3)
    assert key_of(of_claim_alone, "g") not in {key_of(limit(per_group=True), "g"), key_of(limit("claim"), "g")}


def test_the_limits_over_a_job() -> None:
    everything, queue, other = limit(), limit("q"), limit("p")
    each, vip, narrow = limit(per_group=True), limit(group_id="vip"), limit("q", per_group=True)
    limits = (everything, queue, other, each, vip, narrow)
    assert set(limits_over(limits, "q", "t", None)) == {everything, queue}
    assert set(limits_over(limits, "q", "t", "g")) == {everything, queue, each, narrow}
    assert set(limits_over(limits, "q", "t", "vip")) == {everything, queue, vip, narrow}
    assert set(limits_over(limits, "p", "t", "vip")) == {everything, other, vip}


@pytest.mark.parametrize(("queue", "job_type", "found"), [("q", "t", "all"), ("q", "u", "all"), ("p", "u", "all")])
def test_the_widest_pause_is_the_one_that_is_named(queue: str, job_type: str, found: str) -> None:
    wide = Pause(id="/", reason="all")
    pauses = (Pause(id="q/t", queue="q", job_type="t"), Pause(id="q/", queue="q"), wide)
    pause = Controls(pauses=pauses).pause_of(queue, job_type, NOW)
    assert pause is not None
    assert pause.reason == found
    assert Controls(pauses=pauses[:1]).pause_of("q", "u", NOW) is None


def test_a_pause_that_has_ended_holds_nothing_and_the_next_end_is_known() -> None:
    ends = [Pause(id=f"q{n}/", queue=f"q{n}", until=NOW + timedelta(seconds=n)) for n in (0, 5, 9)]
    controls = Controls(pauses=(*ends, Pause(id="p/", queue="p")))
    assert controls.pause_of("q0", "t", NOW) is None
    assert controls.pause_of("q5", "t", NOW) is not None
    assert controls.next_end(NOW) == NOW + timedelta(seconds=5)
    assert controls.next_end(NOW + timedelta(seconds=9)) is None
