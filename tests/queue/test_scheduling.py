"""Schedules, as users hold them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from dataqueue_django import conf, job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.records import CronSchedule, JobStatus, Kind, Overlap, ScheduleStatus, TickOutcome
from dataqueue_django.exceptions import (
    ConfigurationError,
    DataQueueError,
    InvalidJob,
    InvalidPayload,
    InvalidSchedule,
    NameTaken,
    ScheduleNotFound,
)
from dataqueue_django.handlers import registry
from dataqueue_django.queue import JobQueue
from dataqueue_django.queue.ticking import enqueue_due
from tests.queue.states import finish

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _handlers(forget_handlers: None) -> None:
    @job("report", queue="reports", timeout=60)
    def report(day: str = "today") -> None: ...

    @job("other")
    def other(payload: Any) -> None: ...


def kept(queue: JobQueue, id: int) -> CronSchedule:
    """Return a schedule that must exist."""
    found = queue.get_cron_job(id)
    assert found is not None
    return found


def due(queue: JobQueue, id: int, ago: timedelta = timedelta()) -> datetime:
    """Make a schedule due since a while, and return since when: its last minute, or a tick of its interval."""
    at, every_ms = queue.store.now() - ago, kept(queue, id).every_ms
    fields = {"next_run_at": at.replace(second=0, microsecond=0)}
    if every_ms is not None:
        fields = {"next_run_at": at, "created_at": at - timedelta(milliseconds=every_ms)}
    change = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=id, set=fields)
    assert queue.store.commit([(change,)])[0].applied
    return fields["next_run_at"]


# -- adding and reading


def test_adding_reading_and_removing(queue: JobQueue) -> None:
    id = queue.add_cron_job("daily", "0 9 * * *", "report", {"day": "mon"}, timezone="Europe/Berlin", tags=["x"])
    found = kept(queue, id)
    assert found == queue.get_cron_job_by_name("daily")
    assert [found] == queue.list_cron_jobs() == queue.list_cron_jobs("active")
    assert queue.list_cron_jobs("paused") == []
    assert (found.cron_expression, found.timezone, found.job_type) == ("0 9 * * *", "Europe/Berlin", "report")
    assert (found.payload, found.options) == ({"day": "mon"}, {"tags": ["x"]})
    assert (found.status, found.overlap, found.allow_overlap, found.declared) == (
        ScheduleStatus.ACTIVE,
        Overlap.SKIP,
        False,
        False,
    )
    runs = queue.get_next_cron_runs(id)
    assert len(runs) == 10
    assert runs[0] == found.next_run_at
    assert queue.remove_cron_job(id)
    assert not queue.remove_cron_job(id)
    assert queue.get_cron_job(id) is queue.get_cron_job_by_name("daily") is None
    assert queue.get_next_cron_runs(id) == []


def test_a_name_is_taken_once_even_in_a_transaction(queue: JobQueue) -> None:
    with transaction.atomic(using=queue.alias):
        id = queue.add_cron_job("daily", "@daily", "report")
        with pytest.raises(NameTaken, match="A schedule named 'daily' exists already"):
            queue.add_cron_job("daily", "@hourly", "report")
        assert kept(queue, id).cron_expression == "0 0 * * *"


def test_it_joins_the_callers_transaction(queue: JobQueue) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=queue.alias):
        queue.add_cron_job("daily", "@daily", "report")
        raise ZeroDivisionError
    assert queue.list_cron_jobs() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs a cron expression or an interval"),
        ({"cron_expression": "@daily", "every": 5}, "expected one of them"),
        ({"cron_expression": "* * * *"}, "has 4 fields; expected five"),
        ({"cron_expression": "@dayly"}, "Did you mean '@daily'?"),
        ({"cron_expression": "61 * * * *"}, "field 1, the minute, cannot be '61'"),
        ({"cron_expression": "0 0 30 2 *"}, "which never comes"),
        ({"cron_expression": 5}, "expected five fields"),
        ({"every": 0}, "every is 0; expected 1 second to 3650 days"),
        ({"every": "1h"}, "every is '1h'"),
        ({"every": 60, "timezone": "Europe/Berln"}, "Did you mean 'Europe/Berlin'?"),
        ({"every": 60, "catch_up": "lates"}, "Did you mean 'latest'?"),
        ({"every": 60, "catch_up": -1}, "catch_up is -1; expected a whole number from 0 to 1000."),
        ({"every": 60, "overlap": "skipp"}, "Did you mean 'skip'?"),
        ({"every": 60, "overlap": "skip", "allow_overlap": True}, "allow_overlap and overlap are both given"),
        ({"every": 60, "allow_overlap": 1}, "allow_overlap is 1; expected True or False."),
        ({"every": 60, "max_runs": 0}, "max_runs is 0"),
        ({"every": 60, "jitter": -1}, "jitter is -1"),
        ({"every": 60, "start_at": datetime(2030, 1, 1)}, "start_at is"),
        ({"every": 60, "end_at": datetime(2020, 1, 1, tzinfo=UTC)}, "never fires"),
        (
            {
                "every": 60,
                "start_at": datetime(2031, 1, 1, tzinfo=UTC),
                "end_at": datetime(2030, 1, 1, tzinfo=UTC),
            },
            "expected a time after start_at",
        ),
        ({"every": 60, "priorty": 1}, "Did you mean 'priority'?"),
        ({"every": 60, "run_at": None}, "unknown option 'run_at'"),
        ({"every": 60, "idempotency_key": "k"}, "unknown option 'idempotency_key'"),
        ({"every": 60, "schedule_name": ""}, "schedule_name is ''"),
        ({"every": 60, "schedule_name": "x" * 256}, "expected a name of 1 to 255 characters"),
    ],
)
def test_what_no_schedule_can_be(queue: JobQueue, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        queue.add_cron_job(**{"schedule_name": "s", "job_type": "report", **given})
    assert words in str(caught.value)
    assert queue.list_cron_jobs() == []


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"job_type": "repotr"}, InvalidJob),
        ({"payload": {"dya": "x"}}, InvalidPayload),
        ({"priority": "high"}, InvalidJob),
        ({"tags": ["x" * 200]}, InvalidJob),
    ],
)
def test_jobs_that_could_not_be_added(queue: JobQueue, given: dict[str, Any], kind: type[DataQueueError]) -> None:
    with pytest.raises(kind):
        queue.add_cron_job(**{"schedule_name": "s", "cron_expression": "@daily", "job_type": "report", **given})
    assert queue.list_cron_jobs() == []


@pytest.mark.parametrize("given", [0, -1, "1", None, True, 2**63, 1.5])
def test_ids_that_are_none(queue: JobQueue, given: Any) -> None:
    for call in (queue.get_cron_job, queue.pause_cron_job, queue.run_cron_job, queue.get_cron_ticks):
        with pytest.raises(InvalidSchedule, match="The id of a schedule is"):
            call(given)


# -- firing


def test_what_is_due_is_fired_once(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", {"day": "mon"}, every=HOUR, priority=7)
    assert queue.enqueue_due_cron_jobs() == 0
    at = due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1
    assert queue.enqueue_due_cron_jobs() == 0
    [added] = queue.get_jobs()
    assert (added.cron_schedule_id, added.scheduled_for, added.run_at) == (id, at, at)
    assert (added.job_type, added.queue, added.priority, added.payload) == ("report", "reports", 7, {"day": "mon"})
    assert added.timeout_ms == 60_000
    after = kept(queue, id)
    assert (after.last_job_id, after.runs, after.last_tick_at, after.next_run_at) == (added.id, 1, at, at + HOUR)
    [tick] = queue.get_cron_ticks(id)
    assert (tick.tick_at, tick.outcome, tick.job_id) == (at, TickOutcome.ENQUEUED, added.id)


@pytest.mark.parametrize(("catch_up", "fired"), [("latest", 1), ("none", 0), (3, 3), (100, 6)])
def test_after_a_time_without_anybody(queue: JobQueue, catch_up: Any, fired: int) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR, catch_up=catch_up, overlap="allow")
    since = due(queue, id, ago=5 * HOUR + timedelta(minutes=10))
    assert queue.enqueue_due_cron_jobs() == fired
    assert [tick.tick_at for tick in queue.get_cron_ticks(id)] == [
        since + hours * HOUR for hours in range(5, 5 - fired, -1)
    ]
    assert kept(queue, id).next_run_at == since + 6 * HOUR


def test_no_second_job_while_the_first_has_not_ended(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR)
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1
    [first] = queue.get_jobs()
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 0
    assert [tick.outcome for tick in queue.get_cron_ticks(id)] == [TickOutcome.SKIPPED, TickOutcome.ENQUEUED]
    assert queue.run_cron_job(id) is None
    finish(queue, first.id)
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1


def test_the_next_one_replaces(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR, overlap="replace")
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1
    [first] = queue.get_jobs()
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1
    replaced = queue.get_job(first.id)
    assert replaced is not None
    assert replaced.status is JobStatus.CANCELLED
    assert [one.status for one in queue.get_jobs()] == [JobStatus.PENDING, JobStatus.CANCELLED]


def test_limits(queue: JobQueue) -> None:
    id = queue.add_cron_job("twice", None, "report", every=HOUR, max_runs=2, overlap="allow")
    for fired in (1, 1, 0):
        if kept(queue, id).next_run_at is not None:
            due(queue, id)
        assert queue.enqueue_due_cron_jobs() == fired
    after = kept(queue, id)
    assert (after.runs, after.next_run_at, after.status) == (2, None, ScheduleStatus.ACTIVE)
    assert queue.run_cron_job(id) is not None


def test_jitter_puts_the_job_off_not_the_tick(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR, jitter=HOUR)
    at = due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 1
    [added] = queue.get_jobs()
    assert added.scheduled_for == at
    assert at < added.run_at < at + HOUR


def test_a_schedule_whose_jobs_cannot_be_made_is_paused_and_says_why(queue: JobQueue) -> None:
    id = queue.add_cron_job("other", None, "other", every=HOUR, force_kill_on_timeout=True, timeout=5)
    broken = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=id, set={"options": {"force_kill_on_timeout": True}})
    assert queue.store.commit([(broken,)])[0].applied
    due(queue, id)
    assert queue.enqueue_due_cron_jobs() == 0
    after = kept(queue, id)
    assert (after.status, after.paused_by) == (ScheduleStatus.PAUSED, "dataqueue")
    assert "expected a timeout" in after.pause_reason


def test_a_zone_that_this_machine_does_not_know_pauses_the_one_schedule(queue: JobQueue) -> None:
    id, other = queue.add_cron_job("x", "@daily", "report"), queue.add_cron_job("y", None, "report", every=HOUR)
    lost = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=id, set={"timezone": "Lost/Zone"})
    assert queue.store.commit([(lost,)])[0].applied
    due(queue, id)
    due(queue, other)
    assert queue.enqueue_due_cron_jobs() == 1
    assert "Lost/Zone" in kept(queue, id).pause_reason


def test_looking_costs_one_statement_when_nothing_is_due(queue: JobQueue) -> None:
    queue.add_cron_job("hourly", None, "report", every=HOUR)
    with CaptureQueriesContext(connections[queue.alias]) as captured:
        assert enqueue_due(queue) == 0
    assert len(captured) == 1
    with CaptureQueriesContext(connections[queue.alias]) as captured:
        assert queue.store.next_schedule_in() is not None
    assert len(captured) == 1


class _OffMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


@pytest.mark.parametrize("off", [timedelta(minutes=10), timedelta(minutes=-10)])
def test_a_wrong_clock_fires_nothing_early_or_late(
    queue: JobQueue, off: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL says what time it is. SQLite has the clock of its host alone."""
    if connections[queue.alias].vendor == "sqlite":
        return

    class Off(datetime, metaclass=_OffMeta):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + off

    ready = queue.add_cron_job("ready", None, "report", every=HOUR)
    later = queue.add_cron_job("later", None, "report", every=HOUR)
    at = due(queue, ready)
    due(queue, later, ago=-timedelta(minutes=5))
    modules = [module for name, module in sys.modules.items() if name.startswith("dataqueue_django.")]
    patched = [module for module in modules if vars(module).get("datetime") is datetime]
    for module in patched:
        monkeypatch.setattr(module, "datetime", Off)
    assert len(patched) > 5
    assert enqueue_due(queue) == 1
    assert [tick.tick_at for tick in queue.get_cron_ticks(ready)] == [at]
    assert kept(queue, ready).next_run_at == at + HOUR
    added = queue.add_cron_job("added", None, "report", every=HOUR)
    assert abs(kept(queue, added).created_at - at) < timedelta(minutes=5)


# -- steering


def test_pausing_and_resuming(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR)
    assert queue.pause_cron_job(id, reason="holidays", actor="ann")
    assert not queue.pause_cron_job(id)
    paused = kept(queue, id)
    assert (paused.status, paused.pause_reason, paused.paused_by) == (ScheduleStatus.PAUSED, "holidays", "ann")
    assert (paused.next_run_at, queue.get_next_cron_runs(id)) == (None, [])
    assert queue.list_cron_jobs("paused") == [paused]
    assert queue.enqueue_due_cron_jobs() == 0
    assert queue.resume_cron_job(id)
    assert not queue.resume_cron_job(id)
    resumed = kept(queue, id)
    assert (resumed.pause_reason, resumed.paused_at) == ("", None)
    assert resumed.next_run_at is not None
    assert resumed.next_run_at > queue.store.now()


def test_running_now(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR)
    before = kept(queue, id).next_run_at
    job_id = queue.run_cron_job(id, actor="ann")
    assert job_id is not None
    [tick] = queue.get_cron_ticks(id)
    assert (tick.outcome, tick.actor, tick.job_id) == (TickOutcome.BY_HAND, "ann", job_id)
    assert kept(queue, id).next_run_at == before
    finish(queue, job_id)
    queue.pause_cron_job(id)
    assert queue.run_cron_job(id) is not None


def test_editing(queue: JobQueue) -> None:
    id = queue.add_cron_job("daily", "0 9 * * *", "report", {"day": "mon"}, priority=3, tags=["x"], max_runs=5)
    before = kept(queue, id)
    assert queue.edit_cron_job(id, priority=4, tags=None, payload={"day": "tue"}, catch_up=3)
    after = kept(queue, id)
    assert (after.options, after.payload, after.catch_up) == ({"priority": 4}, {"day": "tue"}, 3)
    assert (after.next_run_at, after.max_runs) == (before.next_run_at, 5)
    assert queue.edit_cron_job(id, every=60, max_runs=None, allow_overlap=True)
    after = kept(queue, id)
    assert (after.cron_expression, after.every_ms, after.max_runs, after.allow_overlap) == ("", 60_000, None, True)
    assert after.next_run_at != before.next_run_at
    assert queue.edit_cron_job(id, cron_expression="@hourly", timezone="Asia/Kolkata", job_type="other", payload=[1])
    after = kept(queue, id)
    assert (after.cron_expression, after.every_ms, after.job_type, after.payload) == ("0 * * * *", None, "other", [1])
    assert after.next_run_at is not None
    assert after.next_run_at.minute == 30
    assert after.overlap is Overlap.ALLOW


@pytest.mark.parametrize(
    ("updates", "kind", "words"),
    [
        ({"cron_expresion": "@daily"}, InvalidSchedule, "Did you mean 'cron_expression'?"),
        ({"schedule_name": "x"}, InvalidSchedule, "'schedule_name' of a schedule cannot be edited"),
        ({"cron_expression": "x"}, InvalidSchedule, "has 1 fields"),
        ({"cron_expression": None}, InvalidSchedule, "needs a cron expression or an interval"),
        ({"timezone": None}, InvalidSchedule, "timezone is None"),
        ({"catch_up": None}, InvalidSchedule, "catch_up is None"),
        ({"job_type": "nothing"}, InvalidJob, "No handler"),
        ({"payload": {"x": 1}}, InvalidPayload, "x"),
        ({"max_attempts": 0}, InvalidJob, "max_attempts is 0"),
    ],
)
def test_edits_that_are_none(queue: JobQueue, updates: dict[str, Any], kind: type[Exception], words: str) -> None:
    id = queue.add_cron_job("daily", "@daily", "report")
    before = kept(queue, id)
    with pytest.raises(kind) as caught:
        queue.edit_cron_job(id, **updates)
    assert words in str(caught.value)
    assert kept(queue, id) == before


def test_ticks_never_go_back(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR, overlap="allow")
    at = due(queue, id)
    ahead = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=id, set={"last_tick_at": at + 5 * HOUR})
    assert queue.store.commit([(ahead,)])[0].applied  # as after a clock that was ahead
    assert queue.edit_cron_job(id, every=HOUR / 2)
    after = kept(queue, id)
    assert after.next_run_at is not None
    assert after.next_run_at > at + 5 * HOUR


@pytest.mark.parametrize("act", ["pause_cron_job", "resume_cron_job", "remove_cron_job", "run_cron_job"])
def test_what_there_is_not(queue: JobQueue, act: str) -> None:
    assert not getattr(queue, act)(99)
    with pytest.raises(ScheduleNotFound, match="There is no schedule 99"):
        getattr(queue, act)(99, strict=True)
    with pytest.raises(ScheduleNotFound):
        queue.edit_cron_job(99, priority=1, strict=True)


def test_async_twins(queue: JobQueue) -> None:
    assert async_to_sync(queue.alist_cron_jobs)() == []


# -- declared in code


@pytest.fixture
def declaring(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], int]:
    """Return a function that sets SCHEDULES and stores what the code declares."""
    from dataclasses import replace

    def declare(schedules: dict[str, Any]) -> int:
        monkeypatch.setattr(queue, "settings", replace(queue.settings, schedules=schedules))
        return queue.declare_cron_jobs()

    return declare


def test_schedules_of_the_setting(queue: JobQueue, declaring: Callable[[dict[str, Any]], int]) -> None:
    said = {"job_type": "report", "cron": "0 2 * * *", "payload": {"day": "x"}, "priority": 2}
    assert declaring({"nightly": said}) == 1
    assert declaring({"nightly": said}) == 0
    [found] = queue.list_cron_jobs()
    assert (found.declared, found.cron_expression, found.payload, found.options) == (
        True,
        "0 2 * * *",
        {"day": "x"},
        {"priority": 2},
    )
    assert declaring({"nightly": {**said, "cron": "0 3 * * *"}}) == 1
    assert kept(queue, found.id).next_run_at != found.next_run_at
    with pytest.raises(InvalidSchedule, match="'nightly' is declared in code"):
        queue.edit_cron_job(found.id, priority=1)
    assert queue.run_cron_job(found.id) is not None


def test_one_that_is_no_longer_declared_is_paused_and_comes_back(
    queue: JobQueue, declaring: Callable[[dict[str, Any]], int]
) -> None:
    said = {"job_type": "report", "every": 60}
    declaring({"a": said, "b": said})
    a, b = queue.list_cron_jobs()
    queue.pause_cron_job(b.id, actor="ann")
    assert declaring({}) == 1
    assert kept(queue, a.id).pause_reason == "no longer declared in code"
    assert declaring({"a": said, "b": said}) == 1
    assert kept(queue, a.id).status is ScheduleStatus.ACTIVE
    assert kept(queue, b.id).paused_by == "ann"


def test_one_that_people_made_stays_theirs(
    queue: JobQueue, declaring: Callable[[dict[str, Any]], int], caplog: pytest.LogCaptureFixture
) -> None:
    id = queue.add_cron_job("nightly", "@daily", "report")
    before = kept(queue, id)
    assert declaring({"nightly": {"job_type": "report", "every": 60}}) == 0
    assert kept(queue, id) == before
    assert "stands there already" in caplog.text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("x", "expected a mapping"),
        ({"job_type": "report"}, "needs a cron expression"),
        ({"job_type": "repotr", "cron": "@daily"}, "Did you mean 'report'?"),
        ({"cron": "@daily"}, "No handler is registered for the job type None"),
        ({"job_type": "report", "cron_expression": "@daily"}, "unknown option 'cron_expression'"),
        ({"job_type": "report", "cron": "@daily", "payload": {"x": 1}}, "x"),
        ({"job_type": "report", "cron": "@daily", "queue": ""}, "queue is ''"),
    ],
)
def test_declared_wrongly(queue: JobQueue, declaring: Callable[[dict[str, Any]], int], said: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        declaring({"nightly": said})
    assert "The schedule 'nightly' of" in str(caught.value)
    assert words in str(caught.value)
    assert queue.list_cron_jobs() == []


def test_what_is_declared_wrongly_keeps_nothing_else_from_firing(
    queue: JobQueue, declaring: Callable[[dict[str, Any]], int]
) -> None:
    id = queue.add_cron_job("hourly", None, "report", every=HOUR)
    due(queue, id)
    with pytest.raises(ConfigurationError):
        declaring({"nightly": {"job_type": "report"}})
    with pytest.raises(ConfigurationError, match="'nightly'"):
        queue.enqueue_due_cron_jobs()
    assert kept(queue, id).runs == 1


def test_schedules_on_jobs(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    @job("digest", cron="* * * * *", timezone="Europe/Berlin", catch_up="none", queue="nightly")
    def digest(day: str = "today") -> None: ...

    monkeypatch.setattr("dataqueue_django.queue.declaring.home_alias", lambda: queue.alias)
    assert queue.declare_cron_jobs() == 1
    found = queue.get_cron_job_by_name("digest")
    assert found is not None
    assert (found.declared, found.timezone, found.catch_up, found.payload) == (True, "Europe/Berlin", 0, {})
    due(queue, found.id)
    assert queue.enqueue_due_cron_jobs() == 1
    assert queue.get_jobs()[0].queue == "nightly"
    monkeypatch.setattr("dataqueue_django.queue.declaring.home_alias", lambda: "elsewhere")
    assert queue.declare_cron_jobs() == 1
    assert kept(queue, found.id).status is ScheduleStatus.PAUSED


def test_who_does_not_know_the_handler_adds_the_job_as_it_is_declared(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a deployment old workers fire what new ones have stored."""

    @job("fresh", every=HOUR, queue="uploads", isolate=True, timeout=timedelta(minutes=1), tags=["x"], retry_delay=5)
    def fresh() -> None: ...

    monkeypatch.setattr("dataqueue_django.queue.declaring.home_alias", lambda: queue.alias)
    queue.declare_cron_jobs()
    assert queue.declare_cron_jobs() == 0
    fresh_id = queue.list_cron_jobs()[0].id
    registry.remove("fresh")
    due(queue, fresh_id)
    assert enqueue_due(queue) == 1
    [added] = queue.get_jobs()
    assert (added.queue, added.timeout_ms, added.tags, added.isolate) == ("uploads", 60_000, ("x",), True)


def test_jobs_that_cannot_have_a_schedule() -> None:
    with pytest.raises(ConfigurationError, match=r"the minute, cannot be '99'"):
        job("x", cron="99 * * * *")(lambda: None)
    with pytest.raises(ConfigurationError, match=r"needs a cron expression or an interval"):
        job("x", timezone="UTC")(lambda: None)
    with pytest.raises(ConfigurationError, match=r"payload.n is missing.*SCHEDULES"):

        @job("x", every=5)
        def needs(n: int) -> None: ...

    assert registry.get("x") is None


def test_the_setting_is_read() -> None:
    said = {"nightly": {"job_type": "report", "cron": "@daily"}}
    assert conf.read({"SCHEDULES": said}, "here").schedules == said
    with pytest.raises(ConfigurationError, match=r"here\['SCHEDULES'\] is \[\]; expected a Mapping"):
        conf.read({"SCHEDULES": []}, "here")
