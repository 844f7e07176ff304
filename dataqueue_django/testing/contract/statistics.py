"""Statistics: counts by writer and bucket, what is there at a moment, and what events tell."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from ...domain.changes import DUE, After, Change, Verb
from ...domain.records import Duty, EventType, FailureReason, Kind, NewJob, QueueGauge, QueueStat, Resolution
from ...domain.statistics import FOUND_IN_EVENTS, bucket_of
from ...domain.steering import cancel
from ...domain.tokens import new_token
from ...domain.transitions import Fault, complete, fail, park, reclaim
from ...domain.waits import Wait, WaitKind
from .base import Contract

MINUTE, HOUR = Resolution.MINUTE, Resolution.HOUR


class Statistics(Contract):
    """See stores.statistics."""

    def test_rows_of_statistics_come_back_as_they_were(self) -> None:
        row = self.stat(enqueued=2**40, ran=3, run_ms_sum=70, run_hist=(0, 2, 1), waited=1, wait_hist=(1,))
        self.store.write_stats([row], now=self.later(5))
        [stored] = self.stats()
        assert stored == self.stat(
            enqueued=2**40, ran=3, run_ms_sum=70, run_hist=(0, 2, 1), waited=1, wait_hist=(1,), updated_at=self.later(5)
        )

    def test_a_row_takes_the_place_of_the_one_with_its_key(self) -> None:
        for completed in (1, 2, 2):
            self.store.write_stats([self.stat(completed=completed, run_hist=(completed,))], now=self.now)
        self.store.write_stats([self.stat(writer=8, completed=5)], now=self.now)
        assert [(row.writer, row.completed, row.run_hist) for row in self.stats()] == [(7, 2, (2,)), (8, 5, ())]

    def test_rows_that_differ_in_any_part_of_the_key_are_apart(self) -> None:
        others: list[dict[str, Any]] = [
            {"queue": "Mail"},
            {"queue": "mail "},
            {"job_type": "Send"},
            {"writer": 0},
            {"bucket": self.minute(1)},
            {"resolution": HOUR},
        ]
        self.store.write_stats([self.stat(), *(self.stat(**other) for other in others)], now=self.now)
        assert len(self.stats()) == 6
        assert len(self.stats(HOUR)) == 1

    def test_reading_is_by_bucket_and_whatever_is_asked_for(self) -> None:
        rows = [
            self.stat(bucket=self.minute(n), queue=queue, job_type=job_type, writer=writer)
            for n in (2, 0, 1)
            for queue in ("mail", "files")
            for job_type in ("send", "read")
            for writer in (7, 0)
        ]
        self.store.write_stats(rows, now=self.now)
        found = self.stats(since=self.minute(1), until=self.minute(2))
        assert len(found) == 8
        assert {row.bucket for row in found} == {self.minute(1)}
        assert [row.bucket for row in self.stats(queue="mail", job_type="send", writer=0)] == [
            self.minute(n) for n in range(3)
        ]
        assert self.stats(queue="post") == []

    def test_which_buckets_were_written_since(self) -> None:
        assert self.store.stats_written_at(MINUTE) is None
        self.store.write_stats([self.stat(bucket=self.minute(n)) for n in (3, 1)], now=self.now)
        self.store.write_stats([self.stat(bucket=self.minute(1), writer=8)], now=self.later(9))
        self.store.write_stats([self.stat(resolution=HOUR)], now=self.later(10))
        assert self.store.stat_buckets(MINUTE) == [self.minute(1), self.minute(3)]
        assert self.store.stat_buckets(MINUTE, updated_since=self.later(9)) == [self.minute(1)]
        assert self.store.stat_buckets(MINUTE, updated_since=self.later(9.5)) == []
        assert self.store.stats_written_at(MINUTE) == self.later(9)
        assert self.store.stats_written_at(HOUR) == self.later(10)

    def test_deleting_old_rows(self) -> None:
        self.store.write_stats([self.stat(bucket=self.minute(n)) for n in (4, 0, 1, 2, 3)], now=self.now)
        self.store.write_stats([self.stat(resolution=HOUR, bucket=self.minute(-900))], now=self.now)
        assert self.store.delete_stats(MINUTE, before=self.minute(4), limit=3) == 3
        assert [row.bucket for row in self.stats()] == [self.minute(3), self.minute(4)]
        assert self.store.delete_stats(MINUTE, before=self.minute(4)) == 1
        assert self.store.delete_stats(MINUTE, before=self.minute(4)) == 0
        assert len(self.stats(HOUR, since=self.minute(-900))) == 1

    def test_a_change_brings_rows_along_only_if_it_holds(self) -> None:
        self.store.put(Duty(id="count", due_at=self.now), now=self.now)
        gauge = QueueGauge(bucket=self.minute(0), queue="mail", ready=4, oldest_ready_s=12)

        def step(seen: Any, completed: int) -> bool:
            put = (self.stat(completed=completed), gauge)
            change = Change(
                kind=Kind.DUTY,
                verb=Verb.DUTY,
                id="count",
                guard={"state": (seen,)},
                set={"state": {"upto": completed}},
                put=put,
            )
            return self.commit(change)[0].applied

        assert step(None, 1)
        assert not step(None, 2)
        assert [row.completed for row in self.stats()] == [1]
        assert step({"upto": 1}, 3)
        assert [(row.completed, row.updated_at) for row in self.stats()] == [(3, self.now)]
        assert self.store.gauges(since=self.minute(0)) == [gauge]
        assert self.store.fetch(Kind.DUTY, "count").state == {"upto": 3}

    def test_a_duty_is_taken_by_one(self) -> None:
        self.store.put(Duty(id="count", due_at=self.now), now=self.now)
        taken = Change(kind=Kind.DUTY, verb=Verb.DUTY, id="count", guard={"due_at": DUE}, set={"due_at": After(30)})
        answers = self.commit(taken, taken, at=self.later(1))
        assert [answer.applied for answer in answers] == [True, False]
        assert not self.commit(taken, at=self.later(30))[0].applied
        assert self.commit(taken, at=self.later(31))[0].applied

    def test_measuring_tells_in_which_condition_jobs_are(self) -> None:
        self.add_all([*self.new(3, "mail"), *self.new(2, "files", run_at=self.later(60))])
        self.add(queue="mail", run_at=self.later(-90))
        self.running(queue="mail")
        self.commit(complete(self.running(queue="mail")))
        self.commit(fail(self.running(queue="files"), FAULT, retry_in=60))
        self.commit(fail(self.running(queue="files"), FAULT, retry_in=None))
        self.waiting_for_a_token("files")
        mail, files = self.store.measure(now=self.later(30))[::-1]
        assert mail == QueueGauge(bucket=self.minute(0), queue="mail", ready=4, running=1, oldest_ready_s=120)
        assert files == QueueGauge(bucket=self.minute(0), queue="files", scheduled=3, waiting=1)
        later = self.store.measure(now=self.later(61))
        assert [(one.queue, one.ready, one.scheduled) for one in later] == [("files", 3, 0), ("mail", 4, 0)]

    def test_an_empty_store_measures_nothing(self) -> None:
        self.commit(complete(self.running()))
        assert self.store.measure(now=self.now) == []

    def test_gauges_by_time_and_queue(self) -> None:
        self.store.put(Duty(id="gauge", due_at=self.now), now=self.now)
        gauges = [
            QueueGauge(bucket=self.minute(n), queue=queue, ready=n, workers=2)
            for n in range(3)
            for queue in ("files", "mail")
        ]
        self.commit(Change(kind=Kind.DUTY, verb=Verb.DUTY, id="gauge", put=tuple(gauges)))
        assert self.store.gauges(since=self.minute(0)) == gauges
        assert self.store.gauges(since=self.minute(1), until=self.minute(2), queue="mail") == [gauges[3]]
        assert self.store.delete_gauges(before=self.minute(2), limit=3) == 3
        assert self.store.delete_gauges(before=self.minute(2)) == 1
        assert self.store.gauges(since=self.minute(0)) == gauges[4:]

    def test_events_are_counted_by_what_they_tell(self) -> None:
        start = self.store.last_event_id()
        first, second = self.add("send", queue="mail"), self.add("read", queue="files")
        self.add_all(self.new(2, "mail"))
        self.store.commit([cancel(first)], now=self.now)
        lost = self.start(second)
        self.commit(reclaim(lost, crash_limit=1))
        self.commit(reclaim(self.running(queue="files", job_type="read")))
        self.commit(fail(self.running(queue="mail"), FAULT, retry_in=None))
        self.commit(complete(self.running(queue="mail")))
        end = self.store.last_event_id()

        minute = bucket_of(self.now, MINUTE)
        assert self.store.count_events(FOUND_IN_EVENTS, after=start, upto=end) == {
            (EventType.ADDED, None, minute, "mail", "send"): 5,
            (EventType.ADDED, None, minute, "files", "read"): 2,
            (EventType.CANCELLED, None, minute, "mail", "send"): 1,
            (EventType.FAILED, "worker_lost", minute, "files", "read"): 1,
            (EventType.RECLAIMED, None, minute, "files", "read"): 1,
            (EventType.FAILED, "handler_error", minute, "mail", "send"): 1,
        }
        assert self.store.count_events([EventType.CANCELLED], after=start, upto=end) == {
            (EventType.CANCELLED, None, minute, "mail", "send"): 1
        }

    def test_events_are_counted_once_by_ranges_of_ids(self) -> None:
        marks = [self.store.last_event_id()]
        for size in (3, 1, 2):
            self.add_all(self.new(size, "mail"))
            marks.append(self.store.last_event_id())

        def added(after: int, upto: int) -> int:
            return sum(self.store.count_events([EventType.ADDED], after=after, upto=upto).values())

        assert [added(a, b) for a, b in pairwise(marks)] == [3, 1, 2]
        assert added(marks[0], marks[-1]) == 6
        assert added(marks[-1], marks[-1] + 1000) == 0

    def test_events_of_jobs_that_are_gone_do_not_count(self) -> None:
        start, id = self.store.last_event_id(), self.add(queue="mail")
        end = self.store.last_event_id()
        self.store.delete([id])
        assert self.store.count_events(FOUND_IN_EVENTS, after=start, upto=end) == {}

    def test_backlogs_of_a_queue_or_a_type(self) -> None:
        self.add_all([*self.new(2, "mail"), *self.new(1, "files")])
        self.add("read", queue="mail", run_at=self.later(-5))
        lanes = [
            [(one.queue, one.job_type, one.ready) for one in self.store.backlogs(now=self.now, **wanted)]
            for wanted in ({"queue": "mail"}, {"job_type": "send"}, {"queue": "files", "job_type": "read"})
        ]
        assert lanes == [
            [("mail", "read", 1), ("mail", "send", 2)],
            [("files", "send", 1), ("mail", "send", 2)],
            [],
        ]

    # -- words

    def new(self, number: int, queue: str, **options: Any) -> list[NewJob]:
        """Return jobs to be added."""
        return [NewJob(job_type="send", queue=queue, **options)] * number

    def minute(self, number: int) -> datetime:
        """Return the beginning of a minute, counted from now's."""
        return bucket_of(self.now, MINUTE) + timedelta(minutes=number)

    def stat(self, **given: Any) -> QueueStat:
        """Return a row of one type in one queue in this minute."""
        key = {"resolution": MINUTE, "bucket": self.minute(0), "queue": "mail", "job_type": "send", "writer": 7}
        return QueueStat(**{**key, **given})

    def stats(self, resolution: Resolution = MINUTE, **options: Any) -> list[QueueStat]:
        """Return rows, all from now's minute on if nothing else is said."""
        return self.store.stats(resolution, **{"since": self.minute(0), **options})

    def waiting_for_a_token(self, queue: str) -> None:
        """Insert a job and let it wait for a token."""
        token = self.store.put(new_token(UUID(int=7)), now=self.now)
        run = self.running(queue=queue)
        parked = self.store.commit([park(run, Wait(kind=WaitKind.TOKEN, place=0, token_id=token.id))], now=self.now)
        assert parked[0].choice == 0


FAULT = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="no")
