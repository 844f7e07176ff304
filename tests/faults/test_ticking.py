"""Many processes fire the same schedules, and some are killed at it: each tick has one job, and none is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataqueue_django import get_queue
from dataqueue_django.domain.filters import EVERYTHING, Order
from dataqueue_django.domain.records import CronSchedule, Kind, TickOutcome
from dataqueue_django.domain.schedules import Wanted, new_schedule, timing_of
from dataqueue_django.stores.orm.portable import PortableStore
from tests.database_urls import url_of
from tests.faults.fleet import TRIALS, stop_all, wait_for_end
from tests.harness.fixtures import REAL
from tests.harness.workers import ROOT, Workers, environment, wait_until

pytestmark = REAL
PROCESSES = 8
START = datetime(2026, 3, 28, 12, tzinfo=UTC)
END = START + timedelta(days=2)
"""Over these two days Berlin sets its clocks, on the 29th at 1:00 UTC; the other zones do not."""

SPEED = timedelta(days=2).total_seconds() / 8
EXPRESSIONS = (
    ("*/20 * * * *", "UTC"),
    ("0 * * * *", "Europe/Berlin"),
    ("30 2 * * *", "Europe/Berlin"),
    ("*/30 1-3 * * *", "Europe/Berlin"),
    ("15,45 */2 * * *", "Asia/Kolkata"),
    ("0 0 * * *", "Australia/Lord_Howe"),
    ("@hourly", "America/New_York"),
)
SCHEDULES = 20

TICKER = """
import sys, time
from datetime import datetime, timedelta
from pathlib import Path
import django
django.setup()
from dataqueue_django import get_queue
from dataqueue_django.queue.ticking import enqueue_due

start, end, speed, begun = *map(datetime.fromisoformat, sys.argv[1:3]), float(sys.argv[3]), Path(sys.argv[4])
queue = get_queue()
store, due = queue.store, queue.store.due_schedules
print("ready", flush=True)
while not begun.exists():
    time.sleep(0.01)
since = begun.stat().st_mtime

def now():
    return min(end, start + timedelta(seconds=max(0, time.time() - since) * speed))

store.now, store.due_schedules = now, lambda *, limit: due(limit=limit, now=now())
over = False
while not over:
    over = now() == end
    enqueue_due(queue)
    time.sleep(0.002)
"""


class Tickers:
    """Processes whose clock runs from START to END in seconds, and who fire what is due by it."""

    def __init__(self, store: PortableStore, folder: Path) -> None:
        self._url, self._script, self._begun = url_of(store.alias), folder / "ticker.py", folder / "begun"
        self._script.write_text(TICKER)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start one; its clock runs once all began."""
        given = [START.isoformat(), END.isoformat(), str(SPEED), str(self._begun)]
        process = subprocess.Popen(
            [sys.executable, self._script, *given], cwd=ROOT, env=environment(self._url), stdout=subprocess.PIPE
        )
        self.processes.append(process)
        return process

    def begin(self) -> None:
        """Let the clocks run, once everybody is there."""
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        self._begun.touch()

    def close(self) -> None:
        """Leave nobody behind."""
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def tickers(store: PortableStore, tmp_path: Path) -> Iterator[Tickers]:
    """Nobody yet."""
    made = Tickers(store, tmp_path)
    yield made
    made.close()


def schedules(store: PortableStore) -> list[CronSchedule]:
    """Put schedules of several kinds, as they were at START."""
    made = []
    for n in range(SCHEDULES):
        expression, timezone = EXPRESSIONS[n % len(EXPRESSIONS)]
        wanted = Wanted(cron_expression=expression, timezone=timezone, catch_up=1000, overlap="allow")
        if n % 4 == 3:
            wanted = Wanted(every=timedelta(minutes=37 + n), catch_up=1000, overlap="allow")
        put = store.put(new_schedule(f"schedule {n}", "harness.act", {"acts": ["ok"]}, {}, wanted, now=START))
        made.append(put)
    return made


def ticks_of(schedule: CronSchedule) -> list[datetime]:
    """The ticks of a schedule up to END."""
    found = []
    for tick in timing_of(schedule).recurrence.after(START):
        if tick > END:
            return found
        found.append(tick)
    return found


def test_each_tick_is_fired_once_by_many_of_whom_some_are_killed(
    store: PortableStore, tickers: Tickers, tally: Callable[[str], None]
) -> None:
    made = schedules(store)
    expected = {schedule.id: ticks_of(schedule) for schedule in made}
    total = sum(map(len, expected.values()))
    for _ in range(PROCESSES):
        tickers.start()
    tickers.begin()
    kills = max(2, TRIALS // 2)
    for kill in range(1, kills + 1):
        wait_until(lambda kill=kill: store.count()[()] >= total * kill / (kills + 2))  # type: ignore[misc]
        alive = [process for process in tickers.processes if process.poll() is None]
        os.kill(random.choice(alive).pid, signal.SIGKILL)
        tickers.start()
    ended = [process.wait(timeout=100) for process in tickers.processes]
    assert Counter(ended) == {0: PROCESSES, -signal.SIGKILL: kills}
    jobs = store.query(EVERYTHING, order=Order.OLDEST, limit=10 * total)
    for schedule in made:
        ticks = store.ticks(schedule.id, limit=1000)
        assert [tick.tick_at for tick in reversed(ticks)] == expected[schedule.id]
        assert {tick.outcome for tick in ticks} == {TickOutcome.ENQUEUED}
        mine = {job.scheduled_for: job.id for job in jobs if job.cron_schedule_id == schedule.id}
        assert mine == {tick.tick_at: tick.job_id for tick in ticks}
        after: CronSchedule = store.fetch(Kind.SCHEDULE, schedule.id)
        assert (after.runs, after.last_tick_at) == (len(ticks), ticks[0].tick_at)
        assert after.next_run_at is not None
        assert after.next_run_at > END
    assert len(jobs) == total
    tally(f"{total} ticks of {SCHEDULES} schedules by {PROCESSES} processes, {kills} killed: one job for each tick")


def test_workers_fire_schedules_that_are_there_and_those_that_are_added_later(
    store: PortableStore, workers: Workers
) -> None:
    queue = get_queue(store.alias)
    first = queue.add_cron_job("first", None, "harness.act", {"acts": ["ok"]}, every=1, overlap="allow")
    for _ in range(2):
        workers.start("--concurrency", "2")
    wait_until(lambda: len(store.ticks(first)) >= 2, what=workers.output)
    second = queue.add_cron_job("second", None, "harness.act", {"acts": ["ok"]}, every=1, max_runs=2)
    wait_until(lambda: _runs(store, second) == 2, what=workers.output)
    assert queue.pause_cron_job(first)
    fired = store.ticks(first, limit=1000)
    assert len({tick.tick_at for tick in fired}) == len(fired) == _runs(store, first)
    wait_for_end(store, [tick.job_id for tick in fired + store.ticks(second)], what=workers.output)
    assert stop_all(workers) == {0}
    assert len(store.ticks(second)) >= 2


def _runs(store: PortableStore, schedule_id: int) -> int:
    found: CronSchedule = store.fetch(Kind.SCHEDULE, schedule_id)
    return found.runs
