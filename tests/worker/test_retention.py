"""Upkeep deletes what was kept for long enough: by itself, in lots, and without looking at everything each time."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from dataqueue_django.conf import AliasSettings, RetentionSettings, settings_for
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.liveness import expire
from dataqueue_django.domain.records import (
    CronSchedule,
    CronTick,
    Duty,
    JobLog,
    JobStatus,
    Kind,
    TickOutcome,
    Worker,
)
from dataqueue_django.domain.retention import OVERLAP
from dataqueue_django.handlers.registry import Registry, make_handler
from dataqueue_django.queue import retention
from dataqueue_django.stores.orm.portable import PortableStore
from dataqueue_django.worker.upkeep import Upkeep
from tests.harness.duties import ended, left, make_due
from tests.harness.fixtures import REAL

pytestmark = REAL
ENDS = (JobStatus.COMPLETED, JobStatus.CANCELLED, JobStatus.FAILED)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a busy machine does to the clock play no part: one time of a duty is as long as it takes."""
    monkeypatch.setattr(retention, "SECONDS", 60.0)


@pytest.fixture
def handlers() -> Registry:
    return Registry()


def keeping(alias: str, **days: float | None) -> AliasSettings:
    return replace(settings_for(alias), retention=RetentionSettings(**days))


def rounds(store: PortableStore, settings: AliasSettings, handlers: Registry | None = None) -> Upkeep:
    made = Upkeep(store, settings, handlers=handlers or Registry())
    make_due(store)
    made.round(me=0, unbroken_since=0.0)
    return made


def duty(store: PortableStore, name: str) -> Duty:
    found: Duty = store.fetch(Kind.DUTY, name)
    return found


def test_what_the_setting_does_not_keep_goes_by_itself(store: PortableStore, alias: str) -> None:
    old = {status: ended(store, timedelta(days=31), status=status)[0] for status in ENDS}
    young = ended(store, timedelta(days=29))
    rounds(store, settings_for(alias))
    assert left(store) == {old[JobStatus.FAILED], *young}
    assert duty(store, "clean_jobs").report == {"cleaned_up_jobs": 2}

    rounds(store, keeping(alias, completed=None, failed=30))
    assert left(store) == set(young)


def test_nothing_goes_where_all_is_kept(store: PortableStore, alias: str) -> None:
    kept = ended(store, timedelta(days=9999))
    rounds(store, keeping(alias, completed=None, cancelled=None, events=None, logs=None, ticks=None, workers=None))
    assert left(store) == set(kept)
    assert {one.error for one in store.find(Kind.DUTY)} == {""}


def test_a_job_type_may_have_times_of_its_own(store: PortableStore, alias: str, handlers: Registry) -> None:
    def handle(job_type: str, **policy: Any) -> None:
        handlers.register(make_handler(lambda: None, job_type=job_type, **policy))

    handle("short", keep_for=timedelta(hours=1))
    handle("long", keep_for=timedelta(days=400))
    handle("ever", keep_for=math.inf)
    handle("broken", keep_failed_for=60)
    hours, years = timedelta(hours=2), timedelta(days=399)
    gone = [ended(store, hours, job_type="short"), ended(store, years)]
    gone.append(ended(store, hours, job_type="broken", status=JobStatus.FAILED))
    gone.append(ended(store, hours, job_type="short", status=JobStatus.CANCELLED))
    kept = [ended(store, years, job_type=job_type) for job_type in ("long", "ever")]
    kept.append(ended(store, years, job_type="short", status=JobStatus.FAILED))
    kept += [ended(store, timedelta(minutes=59), job_type="short"), ended(store, hours)]
    rounds(store, settings_for(alias), handlers)
    assert left(store) == {job_id for ids in kept for job_id in ids}
    assert duty(store, "clean_jobs").report == {"cleaned_up_jobs": len(gone)}


def test_events_lines_ticks_and_workers_go_by_their_age(store: PortableStore, alias: str) -> None:
    [job_id] = ended(store, timedelta(days=10))
    lines = tuple(
        JobLog(job_id=job_id, created_at=store.now() - timedelta(days=days), level="info", message=f"{days}")
        for days in (1, 10)
    )
    schedule = store.put(CronSchedule(schedule_name="nightly", job_type="send", cron_expression="0 3 * * *"))
    tick = CronTick(schedule_id=schedule.id, tick_at=store.now(), outcome=TickOutcome.SKIPPED)
    ticked = Change(kind=Kind.SCHEDULE, verb=Verb.TICK, id=schedule.id, put=(tick,))
    store.commit([(Change(verb=Verb.RECORD, id=job_id, put=lines),)])
    store.commit([(ticked,)], now=store.now() - timedelta(days=10))
    for days in (1, 10):
        gone = store.put(Worker(label=f"{days}"))
        store.commit([(expire(gone.id),)], now=store.now() - timedelta(days=days))

    rounds(store, keeping(alias, events=9, logs=9, ticks=9, workers=9))
    assert store.events(job_id) == []
    assert [line.message for line in store.logs(job_id)] == ["1"]
    assert store.ticks(schedule.id) == []
    assert [worker.label for worker in store.find(Kind.WORKER)] == ["1"]
    assert left(store) == {job_id}
    reports = [duty(store, name).report for name in ("clean_events", "clean_logs", "clean_ticks", "forget_workers")]
    assert reports == [
        {"cleaned_up_events": 1},
        {"cleaned_up_logs": 1},
        {"cleaned_up_ticks": 1},
        {"forgotten_workers": 1},
    ]


def test_the_next_time_begins_where_the_last_one_ended(
    store: PortableStore, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime | None] = []
    original = type(store).delete_ended

    def noted(self: PortableStore, *given: Any, since: datetime | None, **rest: Any) -> int:
        asked.append(since)
        return original(self, *given, since=since, **rest)

    monkeypatch.setattr(type(store), "delete_ended", noted)
    ended(store, timedelta(days=40))
    rounds(store, keeping(alias, cancelled=None))
    first = store.now() - timedelta(days=30)
    assert asked == [None, None]  # one that finds a job, one that finds no more
    rounds(store, keeping(alias, cancelled=None))
    [since] = asked[2:]
    assert since is not None
    assert first - OVERLAP - timedelta(minutes=5) < since <= first - OVERLAP
    late = ended(store, timedelta(days=30, seconds=60))
    rounds(store, keeping(alias, cancelled=None))
    assert not left(store) & set(late)
    rounds(store, keeping(alias, cancelled=None, completed=20))
    assert asked[-1] is None  # what is kept has changed


def test_what_does_not_fit_into_one_time_goes_on_soon(
    store: PortableStore, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SECONDS", 0.0)
    ended(store, timedelta(days=40), count=250)
    made = Upkeep(store, settings_for(alias), handlers=Registry())
    made.round(me=0, unbroken_since=0.0)
    assert (len(left(store)), duty(store, "clean_jobs").report) == (150, {"cleaned_up_jobs": 100})
    row = duty(store, "clean_jobs")
    assert row.due_at - row.finished_at == timedelta(seconds=1)
    assert made.ripe_at < math.inf
    for _ in range(3):
        make_due(store)
        made.round(me=0, unbroken_since=0.0)
    assert left(store) == set()
    assert made.ripe_at == math.inf
