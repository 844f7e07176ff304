"""SIGKILL before and after the statements that the store sends, in every scenario.

Each scenario runs once to find its points, then once for each point and side, in a fork that dies there. Then a healthy
worker brings everything to rest and all checkers run. A COMMIT is told apart by what it stores.

`CRASH_TRIALS=all` kills at every repetition of every statement and on both sides. `CRASH_TRIALS=each` kills at a
statement the first time that a kind of thread sends it in a scenario, and on one side: after what stores something,
since before it all is as it was after the one that stored something last, and before any other; the first that stores
gets both. One that stores nothing is killed in the first scenario that sends it. Both fail if a statement that the
surveys saw was killed nowhere.

Without it the same places are a lot from which each scenario draws some, most of them such as store something. Every
run prints its seed; CRASH_SEED repeats the choices of one.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from django.db import connections

from dataqueue_django.stores.base import Store
from tests.crash.forkserver import Answer, ForkServer
from tests.crash.points import AFTER, BEFORE, Point, Trap, files_in, shown, sql_files
from tests.crash.scenarios import RELEASE, SCENARIOS
from tests.harness.checkers import check_all, k10_nothing_left, wait_for_rest
from tests.harness.databases import hang_up
from tests.harness.fixtures import REAL
from tests.harness.ledger import Ledger
from tests.harness.workers import Workers, wait_until

pytestmark = REAL

EVERY = os.environ.get("CRASH_TRIALS") == "all"
EACH = EVERY or os.environ.get("CRASH_TRIALS") == "each"
STORING, OTHERS = 2, 1
"""How many places that store something and others each scenario draws, where it does not take each."""

TRIES = 3
START_UP = "registration and heartbeat"
"""What a worker does when it starts and idles is killed in this scenario only, unless everything is."""

WRITING = re.compile(r"^(?:INSERT|UPDATE|DELETE|COMMIT|WITH|SAVEPOINT|RELEASE|ROLLBACK)")


@dataclass
class Campaign:
    """What was found, could be drawn, was killed and was not reached again."""

    chance: random.Random
    points: dict[str, list[Point]] = field(default_factory=dict)
    undone: dict[str, set[Point]] = field(default_factory=dict)
    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    orm: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    trials: dict[str, tuple[str, Trap | None]] = field(default_factory=dict)

    @property
    def killed(self) -> set[str]:
        """The statements at which a process was killed."""
        return {text for _, text, _ in self.kills}


def test_a_kill_at_any_statement_loses_nothing(
    alias: str,
    store: Store,
    workers: Workers,
    fork_server: ForkServer,
    chance: random.Random,
    capsys: pytest.CaptureFixture[str],
) -> None:
    campaign, began = Campaign(chance), time.monotonic()
    workers.ledger = fork_server.ledger
    for name in SCENARIOS:
        _survey(campaign, fork_server, alias, name)
        traps = _traps(campaign, name)
        if EACH:
            _kill_all(campaign, fork_server, alias, name, traps)
        else:
            _kill_some(campaign, fork_server, alias, name, traps)
    for name in SCENARIOS if EACH else ():
        _kill_all(campaign, fork_server, alias, name, _left_out(campaign, name))
    workers.ledger.with_name(RELEASE).touch()
    workers.start("--concurrency", "8").ready()
    wait_until(lambda: not store.due_schedules(), what=workers.autopsy)
    wait_for_rest(store, failing=workers.autopsy)
    assert workers.stop() == [0]
    _verify(campaign, alias, store, Ledger(workers.ledger))
    k10_nothing_left([worker.pid for worker in workers.all], alias)
    with capsys.disabled():
        _report(campaign, alias, time.monotonic() - began)
    _check_coverage(campaign, connections[alias].vendor)


def _survey(campaign: Campaign, server: ForkServer, alias: str, name: str) -> None:
    answer = _run(campaign, server, alias, name, None)
    assert answer.status == 0, answer.log
    assert answer.result is not None
    campaign.points[name] = [Point(*passed) for passed in answer.result["passed"]]
    campaign.undone[name] = {Point(*passed) for passed in answer.result["undone"]}
    campaign.orm |= set(answer.result["orm"])
    campaign.methods |= set(answer.result["methods"])


def _run(campaign: Campaign, server: ForkServer, alias: str, name: str, trap: Trap | None) -> Answer:
    queue = f"trial {len(campaign.trials)}"
    campaign.trials[queue] = name, trap
    hang_up(alias)
    answer = server.run("trial", name=name, queue=queue, traps=[trap.to_json()] if trap else [], survey=trap is None)
    quick = SCENARIOS[name].quick
    if quick is not None:
        try:
            quick(alias, queue)
        except AssertionError as error:
            raise AssertionError(f"{name}, {trap}: {error}") from error
    return answer


def _kill_all(campaign: Campaign, server: ForkServer, alias: str, name: str, traps: list[Trap]) -> None:
    for trap in traps:
        _kill(campaign, server, alias, name, trap)


def _kill(campaign: Campaign, server: ForkServer, alias: str, name: str, trap: Trap) -> bool:
    for _ in range(TRIES):
        answer = _run(campaign, server, alias, name, trap)
        assert answer.killed or answer.status == 0, f"{name}, {trap.side} {trap.point}: {answer}"
        if answer.killed:
            campaign.kills[name, trap.point.text, trap.side] += 1
            return True
    campaign.missed.append(f"{name}: {trap.side} {trap.point}")
    return False


def _kill_some(campaign: Campaign, server: ForkServer, alias: str, name: str, traps: list[Trap]) -> None:
    """Draw until enough were killed: another is drawn for one that was not reached again."""
    undone = campaign.undone[name]
    storing = [trap for trap in traps if WRITING.match(trap.point.text) and trap.point not in undone]
    others = [trap for trap in traps if trap not in storing]
    for lot, wanted in ((storing, STORING), (others, OTHERS)):
        chosen = iter(campaign.chance.sample(lot, len(lot)))
        killed = 0
        while killed < min(wanted, len(lot)) and (trap := next(chosen, None)):
            killed += _kill(campaign, server, alias, name, trap)
        assert not lot or killed, f"{name}: none of {len(lot)} places was reached again"


def _traps(campaign: Campaign, name: str) -> list[Trap]:
    points = campaign.points[name]
    if EVERY:
        return [Trap(point, side) for point in points for side in (BEFORE, AFTER)]
    elsewhere = set() if name == START_UP else {(p.role, p.text) for p in campaign.points[START_UP]}
    chosen = [point for point in points if point.n == 1 and (point.role, point.text) not in elsewhere]
    storing = [point for point in chosen if WRITING.match(point.text) and point not in campaign.undone[name]]
    known = campaign.killed if EACH else campaign.offered
    worth_it = [point for point in chosen if point in storing or point.text not in known]
    if not EACH:
        campaign.offered |= {point.text for point in worth_it}
    return [Trap(point, side) for point in worth_it for side in _sides(point, storing)]


def _sides(point: Point, storing: list[Point]) -> tuple[str, ...]:
    if point not in storing:
        return (BEFORE,)
    return (BEFORE, AFTER) if point == storing[0] else (AFTER,)


def _left_out(campaign: Campaign, name: str) -> list[Trap]:
    """The store's statements that no trial reached, since it took another turn than the survey, whoever sends them."""
    texts = {point.text for point in campaign.points[name]} & (campaign.orm - campaign.killed)
    return [Trap(Point("", text, 1), BEFORE) for text in sorted(texts)]


def _verify(campaign: Campaign, alias: str, store: Store, ledger: Ledger) -> None:
    snapshot = check_all(store, ledger)
    jobs = snapshot.jobs.values()
    for queue, (name, trap) in campaign.trials.items():
        mine = [job for job in jobs if job.queue in (queue, f"{queue} b")]
        try:
            SCENARIOS[name].verify(queue, mine, snapshot)
        except AssertionError as error:
            where = f"{trap.side} {trap.point}" if trap else "not killed"
            raise AssertionError(f"{name}, {where}: {error}") from error


def _report(campaign: Campaign, alias: str, seconds: float) -> None:
    print(f"\n{alias}: {sum(campaign.kills.values())} kills in {seconds:.0f} s, by scenario:")
    for name, points in campaign.points.items():
        kills = sum(n for (scenario, _, _), n in campaign.kills.items() if scenario == name)
        print(f"  {name:28} {len(points):4} points passed {kills:4} kills")
    print(f"{alias}: by statement ({len(campaign.killed)}), before and after:")
    for text in sorted(campaign.killed, key=shown):
        before, after = (
            sum(n for (_, t, s), n in campaign.kills.items() if (t, s) == (text, side)) for side in (BEFORE, AFTER)
        )
        print(f"  {before:4} {after:4}  {shown(text)[:150]}")
    print(f"{alias}: {len(campaign.missed)} points were not reached again: {campaign.missed}")


NOT_SENT = {"postgresql": {"portable/due"}}
"""Statements of the portable path in whose place a vendor's own claim needs none."""


def _check_coverage(campaign: Campaign, vendor: str) -> None:
    """Every statement of the store that other means know of was among those at which a process was killed.

    Where some are drawn: among those that could be.
    """
    assert set(Store.__abstractmethods__) <= campaign.methods, set(Store.__abstractmethods__) - campaign.methods
    folders = {"portable", {"postgresql": "postgres"}.get(vendor, vendor)}
    expected = {name for name in sql_files() if name.split("/")[0] in folders} - NOT_SENT.get(vendor, set())
    reached = campaign.killed if EACH else {point.text for points in campaign.points.values() for point in points}
    covered = {name for text in reached for name in files_in(text)}
    assert expected <= covered, f"no process was killed at {expected - covered}"
    unkilled = campaign.orm - reached
    assert not unkilled, "no process was killed at:\n" + "\n".join(sorted(unkilled))
