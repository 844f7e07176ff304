"""SIGKILL of random workers at random moments under mixed load, and of workers that come back under their old name.

One worker that runs nothing is spared, so that somebody has watched the others for their whole lease.

Every run prints its seed; CRASH_SEED repeats the choices of one, CRASH_KILLS sets the number of kills.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from datetime import UTC, datetime

import pytest
from django.db import transaction

from dataqueue_django.domain.filters import JobFilter
from dataqueue_django.domain.lifecycle import ENDINGS
from dataqueue_django.domain.records import EventType, JobStatus, StepKind
from dataqueue_django.stores.base import Store
from tests.app.jobs import act, act_async, durable
from tests.app.models import BusinessRow
from tests.crash.forkserver import ForkServer
from tests.harness.checkers import Snapshot, check_all, k10_nothing_left, k11_effects_once, wait_for_rest
from tests.harness.databases import hang_up
from tests.harness.fixtures import REAL
from tests.harness.ledger import ACKNOWLEDGED, BEGIN, Ledger
from tests.harness.workers import SHORT_CLOCKS, Workers, wait_until

pytestmark = REAL

KILLS = int(os.environ.get("CRASH_KILLS", "5"))
WORKERS = 3
LABELS, TOGETHER = KILLS, 5

LOAD = (
    ["ok"],
    ["sleep:0.05+ok"],
    ["progress:30+sleep:0.02+ok"],
    ["fail", "ok"],
    ["fail:three times"],
    ["snooze:0.02", "ok"],
    ["give_up"],
    ["retry_later:0.01", "sleep:0.01+ok"],
)

DURABLE_LOAD = (
    ["run:r+pause:0.02+atomic:a+finish:f"],
    ["atomic:a+fail", "atomic:a+spawn:ok:spawned+pause:0.01+atomic:b+log:line+finish:f"],
    ["run:r+token:0.2+atomic:a+ok"],
    ["spawn:sleep:0.02+log:line+progress:5+sleep:0.05+token:0.1+run:r+finish:f"],
)

SPAWNED = ({"acts": ["ok:spawned"]}, {"acts": ["sleep:0.02"]})
"""The payloads of the jobs that handlers add."""


class Enqueuer:
    """Adds jobs of every sort, alone and with a business row, and notes which were acknowledged."""

    def __init__(self, alias: str, ledger: Ledger, chance: random.Random) -> None:
        self._alias, self._ledger, self._chance = alias, ledger, chance

    def add(self, count: int) -> None:
        """Add jobs."""
        for _ in range(count):
            kind, load = self._chance.choice(((act, LOAD), (act_async, LOAD), (durable, DURABLE_LOAD)))
            with transaction.atomic(using=self._alias):
                added = kind.using(alias=self._alias).enqueue(acts=self._chance.choice(load))
                BusinessRow.objects.using(self._alias).create(note="load", job_id=added.id)
            self._ledger.write(ACKNOWLEDGED, job=added.id)


def test_random_kills_under_load_lose_nothing(
    alias: str,
    store: Store,
    workers: Workers,
    ledger: Ledger,
    chance: random.Random,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enqueuer = Enqueuer(alias, ledger, chance)
    enqueuer.add(30)
    observer = workers.start("--queues", "nobody's", clocks={"POLL_INTERVAL": 1.0}).ready()
    for _ in range(WORKERS):
        workers.start("--concurrency", "4")
    killed: dict[int, datetime] = {}
    while len(killed) < KILLS:
        wanted = len(ledger.read(BEGIN)) + chance.randrange(1, 8)
        enqueuer.add(8)
        wait_until(lambda wanted=wanted: len(ledger.read(BEGIN)) >= wanted, what=workers.output, every=0.005)
        victim = chance.choice([worker for worker in workers.running if worker is not observer])
        killed[victim.pid] = datetime.now(UTC)
        victim.kill()
        workers.start("--concurrency", "4")
    wait_for_rest(store, failing=workers.autopsy)
    assert set(workers.stop()) == {0}
    snapshot = check_all(store, ledger)
    rows = BusinessRow.objects.using(alias).filter(note="load").values_list("job_id", flat=True)
    spawned = {job.id for job in snapshot.jobs.values() if job.payload in SPAWNED}
    assert set(rows) == set(snapshot.jobs) - spawned
    steps = [step for found in snapshot.steps.values() for step in found if step.kind is StepKind.SPAWN]
    assert {step.result["jobId"] for step in steps} == spawned
    effects = BusinessRow.objects.using(alias).exclude(note="load").values_list("note", "job_id")
    k11_effects_once(snapshot, ledger.read(), effects)
    k10_nothing_left([worker.pid for worker in workers.all], alias)
    _judge_endings(snapshot)
    with capsys.disabled():
        print(f"{alias}: {len(killed)} kills, {len(snapshot.jobs)} jobs; {_recovery(snapshot, ledger, killed)}")


def _judge_endings(snapshot: Snapshot) -> None:
    """Nothing but what was told to fail, or was in three crashes or out of attempts, has failed."""
    for job in snapshot.jobs.values():
        assert job.status in (JobStatus.COMPLETED, JobStatus.FAILED), snapshot.describe([job.id])
        told = any(word in str(job.payload) for word in ("fail:three", "give_up"))
        unlucky = job.failure_reason == "worker_lost" or job.crash_count > 0
        assert told or job.status is JobStatus.COMPLETED or unlucky, snapshot.describe([job.id])


def _recovery(snapshot: Snapshot, ledger: Ledger, killed: dict[int, datetime]) -> str:
    """How long jobs of killed workers waited to be claimable again (promise: lease + reaping + 1 s)."""
    pids = {entry.execution: entry.pid for entry in ledger.read(BEGIN)}
    times = sorted(
        (event.created_at - killed[pid]).total_seconds()
        for events in snapshot.events.values()
        for event in events
        if event.event_type in ENDINGS and _is_crash(event.metadata, event.event_type)
        if (pid := pids.get((event.job_id, event.claim_seq))) in killed
    )
    promised = SHORT_CLOCKS["LEASE"] + SHORT_CLOCKS["REAP_EVERY"] + 1
    if not times:
        return "no job was running at any kill"
    return (
        f"{len(times)} jobs reclaimed, recovery p50 {statistics.median(times):.2f} s, "
        f"p95 {times[int(len(times) * 0.95)]:.2f} s, max {times[-1]:.2f} s (promised {promised:.1f} s)"
    )


def _is_crash(metadata: object, event_type: EventType) -> bool:
    return event_type is EventType.RECLAIMED or (isinstance(metadata, dict) and "crashes" in metadata)


def test_a_worker_killed_and_restarted_under_its_name_leaves_nothing_processing(
    alias: str, store: Store, fork_server: ForkServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new process beats for itself, not for the row of the dead one."""
    slowest = 0.0
    for first in range(0, LABELS, TOGETHER):
        names = [f"name {number}" for number in range(first, first + TOGETHER)]
        began = time.monotonic()
        hang_up(alias)
        for name in names:
            assert fork_server.run("dies_at_work", name=name).killed
        assert store.count(JobFilter(statuses=(JobStatus.PROCESSING,)))[()] == TOGETHER
        hang_up(alias)
        pids = [fork_server.start("comes_back", name=name) for name in names]
        slowest = max(slowest, time.monotonic() - began)
        answers = [fork_server.finish(pid) for pid in pids]
        assert {answer.status for answer in answers} == {0}, [answer.log for answer in answers]
    snapshot = check_all(store, Ledger(fork_server.ledger))
    for job in snapshot.jobs.values():
        assert (job.status, job.crash_count) == (JobStatus.COMPLETED, 1), snapshot.describe([job.id])
    with capsys.disabled():
        print(f"\n{alias}: {LABELS} names killed and restarted within {slowest:.1f} s, every job reclaimed and done")


def test_a_killed_command_restarted_with_its_worker_id(
    alias: str, store: Store, workers: Workers, ledger: Ledger
) -> None:
    """The same with real commands, twice."""
    added = act.using(alias=alias, max_attempts=9).enqueue(acts=["sleep:60+fail", "sleep:60+fail", "ok"])
    for round in (1, 2):
        victim = workers.start("--worker-id", "w1")
        wait_until(lambda round=round: len(ledger.read(BEGIN)) == round, what=workers.output)
        victim.kill()
    workers.start("--worker-id", "w1")
    wait_for_rest(store, failing=workers.autopsy)
    assert store.get([added.id])[0].status is JobStatus.COMPLETED
    assert workers.stop() == [0]
    check_all(store, ledger)
