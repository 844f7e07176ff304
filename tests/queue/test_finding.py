"""Finding jobs: what the filters mean, page after page, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from dataqueue_django import JobStatus, get_queue
from dataqueue_django.domain.filters import JobFilter, TagMatch, TagMode, TimeRange
from dataqueue_django.domain.records import NewJob
from dataqueue_django.exceptions import InvalidFilter
from dataqueue_django.queue import JobQueue

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ids(queue: JobQueue) -> list[int]:
    """Six jobs: 0 to 3 of type "send" at noon and later, with tags "", "a", "a b", "b c"; 4 and 5 of others."""
    jobs = [
        NewJob(job_type="send", run_at=NOON),
        NewJob(job_type="send", run_at=NOON + HOUR, tags=("a",), priority=5),
        NewJob(job_type="send", run_at=NOON + 2 * HOUR, tags=("b", "a"), queue="mail"),
        NewJob(job_type="send", run_at=NOON + 3 * HOUR, tags=("b", "c"), idempotency_key="k"),
        NewJob(job_type="build", run_at=NOON, priority=5),
        NewJob(job_type="clean", run_at=NOON),
    ]
    return [answer.id for answer in queue.store.insert(jobs)]


FOUND: list[tuple[Any, list[int]]] = [
    (None, [5, 4, 3, 2, 1, 0]),
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"job_type": "send"}, [3, 2, 1, 0]),
    ({"job_types": ["build", "clean"]}, [5, 4]),
    ({"job_type": ("build",)}, [4]),
    ({"priority": 5}, [4, 1]),
    ({"priorities": {5, 7}}, [4, 1]),
    ({"queue": "mail"}, [2]),
    ({"status": "pending", "queue": "default", "priority": 5}, [4, 1]),
    ({"statuses": [JobStatus.PROCESSING]}, []),
    ({"idempotency_key": "k"}, [3]),
    ({"run_at": NOON + HOUR}, [1]),
    ({"run_at": {"eq": NOON + HOUR}}, [1]),
    ({"run_at": {"gt": NOON + HOUR}}, [3, 2]),
    ({"run_at": {"gte": NOON + HOUR, "lt": NOON + 3 * HOUR}}, [2, 1]),
    ({"run_at": TimeRange(lte=NOON), "job_type": "send"}, [0]),
    ({"run_at": {"gte": NOON.astimezone(tz=None), "lt": NOON + HOUR, "gt": None}}, [5, 4, 0]),
    ({"tags": ["a"]}, [2, 1]),
    ({"tags": ["a", "b"]}, [2]),
    ({"tags": {"values": ["a", "c"], "mode": "any"}}, [3, 2, 1]),
    ({"tags": TagMatch(("a", "b"), TagMode.EXACT)}, [2]),
    ({"tags": {"values": ["a"], "mode": "none"}}, [5, 4, 3, 0]),
    ({"tags": {"values": [], "mode": "exact"}}, [5, 4, 0]),
    ({"tags": {"values": ["a"]}}, [2, 1]),
    (JobFilter(job_types=("send",), tags=TagMatch(("b",))), [3, 2]),
]


@pytest.mark.parametrize(("filters", "expected"), FOUND, ids=lambda value: str(value)[:50])
def test_filters(queue: JobQueue, ids: list[int], filters: Any, expected: list[int]) -> None:
    found = queue.get_jobs(filters)
    assert [ids.index(job.id) for job in found] == expected
    assert queue.count_jobs(filters) == len(expected)


def test_a_tag_is_no_pattern_and_no_sql(queue: JobQueue) -> None:
    odd = ["%", "_", "a'b", 'a"b', "{x}", "a\\b", "a,b", "ä", "🎉", "A"]
    ids = [queue.store.insert([NewJob(job_type="t", tags=(tag,))])[0].id for tag in odd]
    for job_id, tag in zip(ids, odd, strict=True):
        assert [job.id for job in queue.get_jobs_by_tags([tag])] == [job_id]
        assert [job.id for job in queue.get_jobs_by_tags([tag], "exact")] == [job_id]
    assert queue.get_jobs_by_tags(["a"]) == []


def test_tags_come_with_every_list(queue: JobQueue, ids: list[int]) -> None:
    """Elsewhere a list by status has no tags."""
    expected = [(), (), ("b", "c"), ("b", "a"), ("a",), ()]
    assert [job.tags for job in queue.get_jobs_by_status("pending")] == expected
    assert [job.tags for job in queue.get_all_jobs()] == expected


def test_pages_by_the_last_id_are_not_disturbed_by_new_jobs(queue: JobQueue, ids: list[int]) -> None:
    first = queue.get_jobs({"job_type": "send"}, limit=3)
    queue.store.insert([NewJob(job_type="send")])
    second = queue.get_jobs({"job_type": "send"}, limit=3, after=first[-1].id)
    assert [ids.index(job.id) for job in [*first, *second]] == [3, 2, 1, 0]
    assert queue.get_jobs({"job_type": "send"}, after=second[-1].id) == []


def test_pages_by_offset(queue: JobQueue, ids: list[int]) -> None:
    assert [ids.index(job.id) for job in queue.get_all_jobs(limit=2, offset=3)] == [2, 1]
    assert [ids.index(job.id) for job in queue.get_jobs_by_status("pending", limit=2, offset=5)] == [0]
    assert [ids.index(job.id) for job in queue.get_jobs_by_tags(["b"], limit=1, offset=1)] == [2]


def test_the_default_page_is_a_hundred(queue: JobQueue) -> None:
    queue.store.insert([NewJob(job_type="t") for _ in range(101)])
    assert len(queue.get_jobs()) == 100
    assert len(queue.get_jobs(limit=101)) == 101


def test_counts(queue: JobQueue, ids: list[int]) -> None:
    assert queue.count_jobs_by("status") == {"pending": 6}
    assert queue.count_jobs_by("queue") == {"default": 5, "mail": 1}
    assert queue.count_jobs_by("job_type", filters={"priority": 5}) == {"send": 1, "build": 1}
    assert queue.count_jobs_by("queue", "status") == {("default", "pending"): 5, ("mail", "pending"): 1}
    assert queue.count_jobs_by("queue", filters={"queue": "nobody"}) == {}


def test_no_such_job(queue: JobQueue) -> None:
    assert queue.get_job(2**40) is None
    assert queue.get_job(2**70) is None
    assert queue.get_job_events(2**40) == []
    assert queue.explain_job(2**40) is None


WRONG: list[tuple[Any, str]] = [
    ("send", "filters is 'send'; expected a mapping"),
    ([("job_type", "send")], "expected a mapping"),
    ({"job_typ": "send"}, "'job_typ' is not a filter. Did you mean 'job_type'?"),
    ({3: "send"}, "3 is not a filter."),
    ({"job_type": None}, "job_type holds None; expected a string"),
    ({"job_type": 3}, "job_type holds 3; expected a string"),
    ({"job_type": []}, "job_type is empty; expected at least one value, or no job_type for any."),
    ({"job_type": "a", "job_types": ["b"]}, "is given twice"),
    ({"queue": "x" * 256}, "expected a string of at most 255 characters"),
    ({"queue": "a\0b"}, "expected a string of at most 255 characters"),
    ({"queue": "\ud800"}, "expected a string of at most 255 characters"),
    ({"queue": {"a": 1}}, "expected a string"),
    ({"status": "finished"}, "'finished' is not a status; expected one of pending, processing"),
    ({"status": "Failed"}, "Did you mean 'failed'?"),
    ({"status": ["failed", None]}, "None is not a status"),
    ({"statuses": []}, "statuses is empty"),
    ({"priority": "5"}, "priority is '5'; expected a whole number"),
    ({"priority": True}, "priority is True"),
    ({"priority": 2**70}, "expected a whole number from"),
    ({"priority": 1.0}, "priority is 1.0"),
    ({"ids": ["7"]}, "ids is '7'; expected a whole number"),
    ({"ids": list(range(1001))}, "ids has too many values; expected at most 1000"),
    ({"tags": "vip"}, "tags is 'vip'; expected a list of strings, such as ['vip']."),
    ({"tags": []}, "tags is empty; expected at least one tag, or the mode 'exact'"),
    ({"tags": {"values": [], "mode": "none"}}, "tags is empty"),
    (
        {"tags": {"values": ["a"], "mode": "some"}},
        "'some' is not a mode of tags; expected one of all, any",
    ),
    ({"tags": {"values": ["a"], "mode": ["all"]}}, "is not a mode of tags"),
    ({"tags": {"value": ["a"]}}, "tags has the unknown key 'value'. Did you mean 'values'?"),
    ({"tags": {"mode": "any"}}, "tags is None; expected a list"),
    ({"tags": [1]}, "tags holds 1; expected a string"),
    ({"tags": ["x"] * 3 + [f"t{n}" for n in range(50)]}, "tags has too many values; expected at most 50"),
    ({"run_at": "2030-01-01"}, "run_at is '2030-01-01'; expected a datetime"),
    ({"run_at": date(2030, 1, 1)}, "expected a datetime"),
    ({"run_at": datetime(2030, 1, 1)}, "run_at.eq is"),
    ({"run_at": {"after": NOON}}, "run_at has the unknown key 'after'."),
    ({"run_at": {"gt": "yesterday"}}, "run_at.gt is 'yesterday'; expected an aware datetime"),
    ({"run_at": {"eq": NOON, "gt": NOON}}, "run_at has 'eq' beside other bounds"),
    ({"run_at": {}}, "run_at has no bound; expected one of gt, gte, lt, lte, eq."),
    ({"run_at": {"gt": None}}, "run_at has no bound"),
    ({"held": "yes"}, "held is 'yes'; expected True or False"),
    (JobFilter(statuses=("nonsense",)), "'nonsense' is not a status"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("filters", "words"), WRONG, ids=lambda value: str(value)[:50])
def test_filters_that_mean_nothing(queue: JobQueue, filters: Any, words: str) -> None:
    for ask in (queue.get_jobs, queue.count_jobs, queue.cancel_all_upcoming_jobs):
        with pytest.raises(InvalidFilter) as caught:
            ask(filters)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"limit": 0}, "limit is 0; expected a whole number from 1 to 10000."),
        ({"limit": -1}, "limit is -1"),
        ({"limit": None}, "limit is None"),
        ({"limit": "10"}, "limit is '10'"),
        ({"limit": 10**6}, "limit is 1000000"),
        ({"limit": True}, "limit is True"),
        ({"offset": -1}, "offset is -1"),
        ({"offset": 1.5}, "offset is 1.5"),
        ({"offset": 2**63}, "offset is"),
        ({"after": "7"}, "after is '7'; expected a whole number."),
        ({"after": 7, "offset": 1}, "offset and after are both given; expected one of them."),
    ],
)
def test_pages_that_do_not_exist(queue: JobQueue, page: Mapping[str, Any], words: str) -> None:
    for ask in (
        lambda: queue.get_jobs(**page),
        lambda: queue.get_all_jobs(**page),
        lambda: queue.get_jobs_by_status("failed", **page),
        lambda: queue.get_jobs_by_tags(["a"], **page),
    ):
        with pytest.raises(InvalidFilter) as caught:
            ask()
        assert words in str(caught.value)


def test_words_that_are_none(queue: JobQueue) -> None:
    with pytest.raises(InvalidFilter, match="'done' is not a status"):
        queue.get_jobs_by_status("done")
    with pytest.raises(InvalidFilter, match="'some' is not a mode of tags"):
        queue.get_jobs_by_tags(["a"], "some")
    with pytest.raises(InvalidFilter, match="tags is 'abc'; expected a list"):
        queue.get_jobs_by_tags("abc")
    with pytest.raises(InvalidFilter, match="Jobs cannot be counted by 'stauts'. Did you mean 'status'"):
        queue.count_jobs_by("stauts")
    with pytest.raises(InvalidFilter, match="got no field; expected some of status, queue, job_type"):
        queue.count_jobs_by()


@pytest.mark.django_db(transaction=True)
def test_the_async_twins() -> None:
    async def live() -> list[Any]:
        queue = get_queue()
        return [await queue.aget_jobs({"job_type": "x"}, limit=5), await queue.acount_jobs_by("status")]

    assert async_to_sync(live)() == [[], {}]
