"""Many workers under several limits at once, some killed or cut off: no limit is ever exceeded, nor left unused."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections

from dataqueue_django import JobContext
from dataqueue_django.domain.controls import limit_id, scope_id
from dataqueue_django.domain.records import Claim, EventType, JobStatus, Kind, Limit, NewJob, Pause, Worker
from dataqueue_django.domain.transitions import Execution, complete
from dataqueue_django.exceptions import GroupFull
from dataqueue_django.stores import Store
from dataqueue_django.stores.orm.portable import PortableStore
from tests.faults.fleet import TRIALS, add, begun, events_of, registered, wait_for_end
from tests.faults.inprocess import SHORT, Workshop
from tests.harness.checkers import check_all, intervals
from tests.harness.databases import emptied
from tests.harness.fixtures import REAL
from tests.harness.ledger import BEGIN, END, Entry, Ledger
from tests.harness.workers import SHORT_CLOCKS, Workers, wait_until

pytestmark = REAL
PROCESSES = 4
SECOND = 1_000_000_000
CALM = {"LEASE": 30, "HEARTBEAT": 1, "POLL_INTERVAL": 1}
"""No pause of a busy machine costs a worker its lease, and who looks for room goes by hints when that is worth it."""

NARROW, KIND, CUSTOMERS, WINDOW, TRICKLE = "narrow", "harness.durable", "customers", "harness.act_async", "trickle"
AT_ONCE, OF_KIND, OF_GROUP, GROUPS = 3, 4, 1, 5
RATE, PER, BURST = max(16, TRIALS), timedelta(seconds=2), 4
"""A window that was used up at once opens again at once: its length is long beside what workers need to see that."""

SLOW_MACHINE = 5.0
"""Seconds by which slots may come back later than leases and rounds of upkeep say, where other things run as well."""

USED = 0.9 if TRIALS >= 40 else 0.5
"""The share of a rate that workers have to use while there is work: above 0.9 on a machine that runs nothing else, of
which the long run makes sure. On a busy one this tells workers that come late from those that sleep through room."""


def limit(queue: str = "", job_type: str = "", *, per_group: bool = False, **most: Any) -> Limit:
    """Return a limit of a scope."""
    id = limit_id(queue, job_type, per_group=per_group)
    return Limit(id=id, queue=queue, job_type=job_type, per_group=per_group, **most)


LIMITS = (
    limit(NARROW, concurrency=AT_ONCE),
    limit(job_type=KIND, concurrency=OF_KIND),
    limit(CUSTOMERS, per_group=True, concurrency=OF_GROUP),
    limit(job_type=WINDOW, rate=RATE, per_ms=PER // timedelta(milliseconds=1)),
    limit(TRICKLE, rate=RATE, per_ms=PER // timedelta(milliseconds=1), burst=BURST),
)


@dataclass(frozen=True)
class Span:
    """From when to when a handler ran."""

    begin: int
    end: int


def spans(entries: Iterable[Entry], ids: Collection[int], ended_at: Mapping[int, int] | None = None) -> list[Span]:
    """Return the executions of some jobs; those without an end ended with their process, at the time given for it."""
    runs = [run for id, runs in intervals(entries).items() if id in ids for run in runs]
    return [Span(begin.at, end.at if end else (ended_at or {})[begin.pid]) for begin, end in runs]


def most_at_once(found: Iterable[Span]) -> int:
    """Return how many of these ran at once at most; one that ends as another begins does not count with it."""
    steps = sorted([(one.begin, 1) for one in found] + [(one.end, -1) for one in found])
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def starts(store: Store, ids: Iterable[int]) -> list[datetime]:
    """Return when jobs were handed out."""
    found = (event for id in ids for event in store.events(id) if event.event_type is EventType.PROCESSING)
    return sorted(event.created_at for event in found)


def check_window(times: Sequence[datetime], rate: int, per: timedelta) -> None:
    """Assert that no more than `rate` of these are within any `per`."""
    close = [(a, b) for a, b in zip(times, times[rate:], strict=False) if b - a < per]
    assert not close, f"more than {rate} within {per}: {[(a, b - a) for a, b in close]}"


def check_bucket(times: Sequence[datetime], rate: int, per: timedelta, burst: int) -> None:
    """Assert that from any of these to any other there are no more than a full bucket and what came into it."""
    for n, since in enumerate(times):
        for count, until in enumerate(times[n:], 1):
            allowed = burst + rate * ((until - since) / per)
            assert count <= allowed + 1e-6, f"{count} from {since} to {until}, {allowed} were allowed"


def test_processes_keep_five_limits_at_once_and_use_them(
    store: PortableStore, workers: Workers, ledger: Ledger, tally: Callable[[str], None]
) -> None:
    share = 10 * TRIALS
    for one in LIMITS:
        store.put(one)
    fleet = [workers.start("--concurrency", "8", clocks=CALM) for _ in range(PROCESSES)]
    registered(store, *fleet)
    narrow = add(store, "sleep:0.02+ok", count=share, queue=NARROW)
    kind = add(store, "sleep:0.02+ok", count=share // 2, job_type=KIND)
    both = add(store, "sleep:0.02+ok", count=share - share // 2, job_type=KIND, queue=NARROW)
    groups = {
        name: add(store, "sleep:0.01+ok", count=share // GROUPS, queue=CUSTOMERS, group_id=name)
        for name in map("customer {}".format, range(GROUPS))
    }
    window = add(store, "ok", count=share, job_type=WINDOW)
    trickle = add(store, "ok", count=share, queue=TRICKLE)
    grouped = [id for ids in groups.values() for id in ids]
    everything = [*narrow, *kind, *both, *grouped, *window, *trickle]
    wait_for_end(store, everything, what=workers.output)
    assert workers.stop() == [0] * PROCESSES

    entries = ledger.read()
    once = dict.fromkeys(everything, 1)
    assert Counter(entry.job for entry in entries if entry.act == BEGIN) == once
    assert Counter(entry.job for entry in entries if entry.act == END) == once
    assert most_at_once(spans(entries, [*narrow, *both])) <= AT_ONCE
    assert most_at_once(spans(entries, [*kind, *both])) <= OF_KIND
    for ids in groups.values():
        assert most_at_once(spans(entries, ids)) <= OF_GROUP
    in_window, from_bucket = starts(store, window), starts(store, trickle)
    check_window(in_window, RATE, PER)
    check_bucket(from_bucket, RATE, PER, BURST)
    used = (
        (ceil(len(in_window) / RATE) - 1) * PER / (in_window[-1] - in_window[0]),
        (len(from_bucket) - BURST) / RATE * PER / (from_bucket[-1] - from_bucket[0]),
    )
    assert min(used) >= USED, f"{used}\n{workers.output()[-10_000:]}"
    check_all(store, ledger)
    tally(
        f"{len(everything)} jobs under 5 limits by {PROCESSES} processes, no limit exceeded, used {used[0]:.0%} of the "
        f"window, {used[1]:.0%} of the bucket"
    )


def test_slots_of_a_killed_worker_come_back_and_are_not_given_twice(
    store: PortableStore, workers: Workers, ledger: Ledger, tmp_path: Path, tally: Callable[[str], None]
) -> None:
    """The first claim of a job holds its slot until the worker is killed; the next one is short."""
    store.put(limit(NARROW, concurrency=AT_ONCE))
    killed_at: dict[int, int] = {}
    ids, waited = [], []
    rounds = max(1, TRIALS // 4)
    for _ in range(rounds):
        victim = workers.start("--concurrency", str(AT_ONCE))
        registered(store, victim)
        held = add(store, f"stubborn:{tmp_path / 'never'}", "sleep:0.01+ok", count=AT_ONCE, queue=NARROW)
        wait_until(lambda: begun(ledger, held), what=workers.output)  # noqa: B023
        others = [workers.start("--concurrency", str(AT_ONCE)) for _ in range(PROCESSES - 1)]
        watchers = registered(store, *others)
        behind = add(store, "sleep:0.02+ok", count=4 * AT_ONCE, queue=NARROW)
        elsewhere = add(store, "ok", count=4 * AT_ONCE)
        wait_for_end(store, elsewhere, what=workers.output)
        assert len(watchers) == len(others)
        assert not ledger.jobs(BEGIN) & set(behind)
        victim.signal(signal.SIGKILL)
        victim.wait()
        killed_at[victim.pid] = time.monotonic_ns()
        wait_for_end(store, [*held, *behind], what=workers.output)
        again = [entry.at for entry in ledger.read(BEGIN) if entry.job in {*held, *behind} and entry.pid != victim.pid]
        waited.append((min(again) - killed_at[victim.pid]) / SECOND)
        assert most_at_once(spans(ledger.read(), [*held, *behind], killed_at)) <= AT_ONCE
        ids += [*held, *behind, *elsewhere]
        assert workers.stop() == [0] * len(others)
    late = SHORT_CLOCKS["LEASE"] + 3 * SHORT_CLOCKS["REAP_EVERY"] + SHORT_CLOCKS["HEARTBEAT"] + SLOW_MACHINE
    assert max(waited) < late, f"{waited}\n{workers.output()[-10_000:]}"
    assert {job.status for job in store.get(ids)} == {JobStatus.COMPLETED}
    assert events_of(store, ids)[EventType.RECLAIMED] == rounds * AT_ONCE
    check_all(store, ledger)
    tally(f"{rounds} workers killed with {AT_ONCE} slots each, given out again after {max(waited):.1f} s at most")


def test_limits_hold_while_workers_are_killed_at_random(
    store: PortableStore, workers: Workers, ledger: Ledger, tally: Callable[[str], None]
) -> None:
    for one in LIMITS:
        store.put(one)
    killed_at: dict[int, int] = {}
    for _ in range(PROCESSES):
        workers.start("--concurrency", "4")
    share = 5 * TRIALS
    narrow = add(store, "sleep:0.05+ok", count=share, queue=NARROW)
    kind = add(store, "sleep:0.05+ok", count=share, job_type=KIND)
    customer = add(store, "sleep:0.05+ok", count=share, queue=CUSTOMERS, group_id="one")
    window = add(store, "ok", count=share, job_type=WINDOW)
    trickle = add(store, "ok", count=share, queue=TRICKLE)
    everything = [*narrow, *kind, *customer, *window, *trickle]
    kills = max(2, TRIALS // 4)
    for n in range(1, kills + 1):
        done = len(everything) * n // (kills + 2)
        wait_until(lambda: len(ledger.jobs(END)) >= done, what=workers.output)  # noqa: B023
        victim = random.choice(workers.running)
        victim.kill()
        killed_at[victim.pid] = time.monotonic_ns()
        workers.start("--concurrency", "4")
    wait_for_end(store, everything, what=workers.output)
    assert workers.stop() == [0] * PROCESSES
    entries = ledger.read()
    assert most_at_once(spans(entries, narrow, killed_at)) <= AT_ONCE
    assert most_at_once(spans(entries, kind, killed_at)) <= OF_KIND
    assert most_at_once(spans(entries, customer, killed_at)) <= OF_GROUP
    check_window(starts(store, window), RATE, PER)
    check_bucket(starts(store, trickle), RATE, PER, BURST)
    assert {job.status for job in store.get(everything)} == {JobStatus.COMPLETED}
    check_all(store, ledger)
    tally(f"{kills} of {PROCESSES} workers killed over {len(everything)} jobs under 5 limits, none exceeded")


class Unreachable:
    """A store that can be cut off from those who have it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, *given: Any, **named: Any) -> Any:
        """Commit, unless it is cut off."""
        if self.cut:
            raise OperationalError("the connection is cut")
        return self._store.commit(*given, **named)


def test_slots_of_a_worker_whose_heartbeat_is_cut_come_back_and_are_not_given_twice(
    workshop: Workshop, tally: Callable[[str], None]
) -> None:
    """Its other connections go on: it must let go of what it holds in time, by itself."""
    store = workshop.store
    store.put(limit(NARROW, concurrency=AT_ONCE))
    found: list[Span] = []
    stopped: list[int] = []

    def hold(ctx: JobContext) -> None:
        since = time.monotonic_ns()
        try:
            while ctx.job.claim_seq == 1:
                ctx.signal.wait(0.01)
                ctx.signal.raise_if_aborted()
        except BaseException:
            stopped.append(ctx.job.id)
            raise
        finally:
            found.append(Span(since, time.monotonic_ns()))

    def pass_by(ctx: JobContext) -> None:
        since = time.monotonic_ns()
        ctx.signal.wait(0.02)
        found.append(Span(since, time.monotonic_ns()))

    workshop.handle("hold", hold, takes_context=True)
    workshop.handle("pass", pass_by, takes_context=True)
    workshop.handle("elsewhere", lambda: None)
    first = workshop.start(concurrency=AT_ONCE)
    held = [workshop.add("hold", queue=NARROW, retry_delay=0.01) for _ in range(AT_ONCE)]
    for id in held:
        workshop.until(id, lambda job: job.status is JobStatus.PROCESSING)
    heart = first.processor._heart
    way = heart._store = Unreachable(heart._store)  # type: ignore[assignment]
    second = workshop.start(concurrency=AT_ONCE)
    behind = [workshop.add("pass", queue=NARROW) for _ in range(4 * AT_ONCE)]
    workshop.until_ended(*[workshop.add("elsewhere") for _ in range(4 * AT_ONCE)])
    assert not found
    way.cut, cut_at = True, time.monotonic_ns()
    workshop.until_ended(*held, *behind)
    assert sorted(stopped) == sorted(held)
    assert most_at_once(found) <= AT_ONCE
    waited = (min(span.begin for span in found if span.begin > cut_at) - cut_at) / SECOND
    assert waited < SHORT.lease + 3 * SHORT.reap_every + SHORT.heartbeat + SLOW_MACHINE
    way.cut = False
    for worker in (first, second):
        worker.processor.stop()
        assert worker.wait() == 0
    tally(f"a heartbeat cut off under {AT_ONCE} slots, given out again after {waited:.1f} s")


@pytest.mark.usefixtures("db")
def test_claiming_and_finishing_while_limits_change_never_deadlocks(
    caplog: pytest.LogCaptureFixture, tally: Callable[[str], None]
) -> None:
    """Each thread claims under several limits, whose rows it locks, while the others do, and change and close them."""
    store = emptied("postgres")
    rounds, handed_out = max(8, TRIALS * 5 // 4), Counter[str]()

    def take_part(n: int) -> None:
        chance = random.Random(n)
        me = store.put(Worker(label=f"thread {n}"))
        claim = Claim(limit=6, worker_id=me.id, locked_by="thread", group_concurrency=3)
        try:
            for _ in range(rounds):
                for act in chance.sample(ACTS, len(ACTS)):
                    try:
                        act(store, claim, chance, handed_out)
                    except GroupFull:
                        handed_out["refused"] += 1
        finally:
            connections["postgres"].close()

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(PROCESSES) as pool:
        for future in [pool.submit(take_part, n) for n in range(PROCESSES)]:
            future.result()
    assert not [record for record in caplog.records if "cut short" in record.message or "deadlock" in record.message]
    assert handed_out["claimed"] > rounds
    tally(f"{PROCESSES} threads, {rounds} rounds of {len(ACTS)} acts, {handed_out['claimed']} jobs, no deadlock")


def _claim_and_finish(store: PortableStore, claim: Claim, chance: random.Random, counts: Counter[str]) -> None:
    jobs = store.claim(claim)
    counts["claimed"] += len(jobs)
    items = [(complete(Execution.of(job)),) for job in chance.sample(jobs, len(jobs))]
    counts["claimed"] += len(left := store.exchange(items, claim)[1])
    store.commit([(complete(Execution.of(job)),) for job in chance.sample(left, len(left))])


def _add(store: PortableStore, claim: Claim, chance: random.Random, counts: Counter[str]) -> None:
    names = [chance.choice("abcdefgh") for _ in range(12)]
    jobs = [
        NewJob(
            job_type=chance.choice("xy"), queue=chance.choice("pq"), group_id=name if chance.random() < 0.8 else None
        )
        for name in names
    ]
    store.insert(jobs, bounded=chance.random() < 0.7)


def _limit(store: PortableStore, claim: Claim, chance: random.Random, counts: Counter[str]) -> None:
    queue, job_type = chance.choice(["p", "q", ""]), chance.choice(["x", "y", ""])
    most = {"concurrency": chance.randint(2, 9), "rate": chance.randint(20, 90), "per_ms": 200, "max_size": 50}
    if not (per_group := chance.random() < 0.5):
        del most["max_size"]
    if chance.random() < 0.5:
        most["burst"] = 9
    if chance.random() < 0.3:
        store.remove(Kind.LIMIT, [limit_id(queue, job_type, per_group=per_group)])
    else:
        store.put(limit(queue, job_type, per_group=per_group, **most))


def _close(store: PortableStore, claim: Claim, chance: random.Random, counts: Counter[str]) -> None:
    uses = store.usage(chance.choice("pq"), chance.choice("xy"), chance.choice("abcdefgh"))
    keys = [use.key for use in uses]
    store.close_rate(chance.sample(keys, len(keys)), until=store.now() + timedelta(milliseconds=5))


def _pause(store: PortableStore, claim: Claim, chance: random.Random, counts: Counter[str]) -> None:
    store.put(Pause(id=scope_id("p"), queue="p"))
    store.remove(Kind.PAUSE, [scope_id("p")])


ACTS = (_claim_and_finish, _add, _limit, _claim_and_finish, _close, _claim_and_finish, _pause)
