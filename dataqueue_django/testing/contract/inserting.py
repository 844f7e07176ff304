"""Inserting: what goes in comes out, keys are unique, a batch is all or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ...domain.records import Inserted, Job, JobStatus, NewJob
from ...domain.transitions import complete
from .base import NOW, Contract, ids_of

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "negative": -7,
    "beyond 64 bits": 2**80,
    "fraction": 0.1,
    "whole float": 3.0,
    "tiny": 5e-300,
    "large float": 9.0e15,
    "empty text": "",
    "text null": "null",
    "quotes": 'it\'s "quoted" \\ and %s %(x)s {y} $1 :z',
    "control characters": "tab\t newline\n bell\x07",
    "beyond the BMP": "naïve 日本語 \U0001f600",
    "empty list": [],
    "empty object": {},
    "nested": {"a": [1, {"b": [None, "x", {"c": {}}]}], "": {"": ""}},
    "long": "x" * 100_000,
}


class Inserting(Contract):
    """See Store.insert."""

    def test_every_field_comes_back(self) -> None:
        new = NewJob(
            job_type="report.build",
            payload={"order": 7},
            queue="Reports",
            priority=-3,
            max_attempts=9,
            run_at=self.later(60),
            timeout_ms=1500,
            isolate=True,
            retry_delay_ms=10,
            retry_backoff="linear",
            retry_delay_max_ms=2**40,
            dead_letter_job_type="bury",
            tags=("b", "a"),
            idempotency_key="key 1",
            group_id="customer-9",
        )
        [answer] = self.store.insert([new], now=self.now)
        assert answer == Inserted(id=answer.id, existed=False, at=self.now)
        given = {name: getattr(new, name) for name in new.__slots__}
        assert self.job(answer.id) == Job(
            id=answer.id, created_at=self.now, updated_at=self.now, ready_at=self.later(60), **given
        )

    def test_defaults(self) -> None:
        job_id = self.add("send")
        assert self.job(job_id) == Job(
            id=job_id,
            job_type="send",
            payload=None,
            created_at=self.now,
            updated_at=self.now,
            run_at=self.now,
            ready_at=self.now,
            status=JobStatus.PENDING,
        )

    def test_nothing_to_insert(self) -> None:
        assert self.store.insert([], now=self.now) == []

    def test_a_batch_is_answered_in_order_with_ascending_ids(self) -> None:
        ids = self.add_all([NewJob(job_type="t", payload=n, idempotency_key=f"{-n}") for n in range(50)])
        assert ids == sorted(set(ids))
        assert [job.payload for job in self.store.get(ids)] == list(range(50))

    def test_later_calls_draw_higher_ids(self) -> None:
        ids = [self.add() for _ in range(3)]
        self.store.delete([ids[-1]])
        assert self.add() > ids[-1] > ids[1] > ids[0]

    def test_the_largest_batch(self) -> None:
        size = self.store.features.max_batch
        ids = self.add_all([NewJob(job_type="t", tags=("x",)) for _ in range(size)])
        assert len(set(ids)) == size
        assert self.store.count() == {(): size}

    def test_inserting_is_an_event(self) -> None:
        [event] = self.store.events(self.add())
        assert event.event_type.value == "added"
        assert (event.created_at, event.claim_seq, event.attempt) == (self.now, 0, 0)
        assert (event.worker_id, event.actor, event.metadata) == (None, "", None)

    def test_a_time_in_the_past_is_kept(self) -> None:
        job = self.job(self.add(run_at=self.later(-3600)))
        assert (job.run_at, job.ready_at) == (self.later(-3600), self.later(-3600))

    def test_a_time_in_another_zone_is_the_same_moment(self) -> None:
        elsewhere = self.later(60).astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert self.job(self.add(run_at=elsewhere)).run_at == self.later(60)

    def test_an_insert_without_a_time_goes_by_the_clock_of_the_store(self) -> None:
        [answer] = self.store.insert([NewJob(job_type="t")])
        job = self.job(answer.id)
        assert job.created_at == job.run_at == job.ready_at == answer.at
        assert abs(answer.at - datetime.now(UTC)) < timedelta(minutes=5)

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    def test_payloads_come_back_equal(self, value: Any) -> None:
        job_id = self.add(payload=value)
        assert same(self.job(job_id).payload, value)
        [job] = self.claim()
        assert same(job.payload, value)

    def test_payloads_are_nobody_elses(self) -> None:
        given = {"items": [1]}
        job_id = self.add(payload=given)
        given["items"].append(2)
        self.job(job_id).payload["items"].append(3)
        [job] = self.claim()
        job.payload["items"].append(4)
        assert self.job(job_id).payload == {"items": [1]}

    def test_tags_keep_their_order(self) -> None:
        job_id = self.add(tags=("zebra", "Äpfel", "a,b", "zebra "))
        assert self.job(job_id).tags == ("zebra", "Äpfel", "a,b", "zebra ")
        assert self.claim()[0].tags == ("zebra", "Äpfel", "a,b", "zebra ")

    # -- idempotency keys

    def test_a_taken_key_names_the_job_that_stands_there(self) -> None:
        job_id = self.add("send", payload=1, idempotency_key="k")
        before = self.trace(job_id)
        [answer] = self.store.insert([NewJob(job_type="other", payload=2, idempotency_key="k")], now=self.later(5))
        assert (answer.id, answer.existed, answer.at) == (job_id, True, self.later(5))
        assert self.trace(job_id) == before
        assert self.store.count() == {(): 1}

    def test_a_key_twice_in_one_call_is_one_job(self) -> None:
        jobs = [NewJob(job_type="t", payload=n, idempotency_key=key) for n, key in enumerate("baab")]
        answers = self.store.insert(jobs, now=self.now)
        assert [answer.existed for answer in answers] == [False, False, True, True]
        assert answers[0].id == answers[3].id != answers[1].id == answers[2].id
        assert [job.payload for job in self.store.get([a.id for a in answers])] == [0, 1]

    def test_old_and_new_keys_in_one_call(self) -> None:
        standing = self.add(idempotency_key="old")
        jobs = [NewJob(job_type="t", idempotency_key=key) for key in ("new", "old", None, "new", "old")]
        answers = self.store.insert(jobs, now=self.now)
        assert [answer.existed for answer in answers] == [False, True, False, True, True]
        assert [answer.id == standing for answer in answers] == [False, True, False, False, True]
        assert self.store.count() == {(): 3}

    def test_keys_are_compared_byte_by_byte(self) -> None:
        keys = ["k", "K", "k ", " k", "ķ", "ｋ", "k\u0301", "straße", "strasse", "0", "00"]
        answers = self.store.insert([NewJob(job_type="t", idempotency_key=key) for key in keys], now=self.now)
        assert not any(answer.existed for answer in answers)

    def test_a_key_stays_taken_when_its_job_has_ended(self) -> None:
        run = self.running(idempotency_key="k")
        self.commit(complete(run))
        assert self.store.insert([NewJob(job_type="t", idempotency_key="k")], now=self.now)[0].existed

    def test_deleting_frees_a_key(self) -> None:
        gone = self.add(idempotency_key="k")
        self.store.delete([gone])
        [answer] = self.store.insert([NewJob(job_type="t", idempotency_key="k")], now=self.now)
        assert not answer.existed
        assert answer.id != gone

    # -- all or nothing

    def test_a_broken_batch_leaves_nothing(self) -> None:
        broken: Any = object()
        with pytest.raises(Exception, match="object"):
            self.store.insert([NewJob(job_type="t", idempotency_key="k"), broken], now=self.now)
        assert self.store.count() == {(): 0}
        assert not self.store.insert([NewJob(job_type="t", idempotency_key="k")], now=self.now)[0].existed

    def test_jobs_are_claimable_at_once(self) -> None:
        ids = self.add_all([NewJob(job_type="t") for _ in range(3)])
        assert ids_of(self.claim()) == ids


def same(value: Any, expected: Any) -> bool:
    """Return whether two JSON values are equal and of the same types, so that True is not 1."""
    return repr(_sorted(value)) == repr(_sorted(expected))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


assert NOW.microsecond, "a store that cuts times to milliseconds must be found out"
