"""PostgreSQL behind a proxy that forwards a commit, a claim or a completion, and cuts before the answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataqueue_django.domain.records import EventType, JobStatus
from dataqueue_django.stores.base import Store
from tests.app.jobs import act, durable
from tests.app.models import BusinessRow
from tests.crash.proxy import CuttingProxy
from tests.database_urls import url_of
from tests.harness.checkers import check_all, k4_no_overlap, k10_nothing_left, k11_effects_once, wait_for_rest
from tests.harness.databases import emptied
from tests.harness.fixtures import REAL
from tests.harness.ledger import ACKNOWLEDGED, Ledger
from tests.harness.workers import Workers

pytestmark = REAL

JOBS, CUTS, LABEL, OUTPUT = 60, 20, "a-label-to-look-for", "an-output-to-look-for"

DURABLE_JOBS, DURABLE_CUTS = 20, 40
DURABLE = "run:r+atomic:a+spawn:ok+pause:0.01+token:0.05+atomic:b+finish:f"

MARKS = {
    "commit": b"COMMIT",
    "claim": LABEL.encode(),
    "completion": OUTPUT.encode(),
}


@pytest.fixture
def behind_proxy(db: None, tmp_path: Path) -> Callable[[bytes], tuple[Workers, CuttingProxy]]:
    def start(mark: bytes) -> tuple[Workers, CuttingProxy]:
        url = url_of("postgres")
        address = urlsplit(url)
        passed = count()

        def every_second_one(data: bytes) -> bool:
            return mark in data and proxy.count < proxy.limit and next(passed) % 2 == 0

        proxy = CuttingProxy(str(address.hostname), int(address.port or 5432), every_second_one)
        proxy.limit = CUTS
        through = url.replace(f"{address.hostname}:{address.port}", f"127.0.0.1:{proxy.port}")
        return Workers("postgres", tmp_path, url=through), proxy

    return start


@pytest.mark.parametrize("kind", MARKS)
def test_what_a_cut_connection_did_not_tell_is_found_out(
    kind: str, behind_proxy: Callable[[bytes], tuple[Workers, CuttingProxy]], capsys: pytest.CaptureFixture[str]
) -> None:
    store: Store = emptied("postgres")
    workers, proxy = behind_proxy(MARKS[kind])
    ledger = Ledger(workers.ledger)
    try:
        with proxy:
            for n in range(JOBS):
                acts = ["fail", f"ok:{OUTPUT}"] if n % 2 else [f"ok:{OUTPUT}"]
                added = act.using(alias="postgres", max_attempts=10).enqueue(acts=acts)
                ledger.write(ACKNOWLEDGED, job=added.id)
            worker = workers.start("--worker-id", LABEL, "--concurrency", "1", "--batch-size", "1").ready()
            wait_for_rest(store, failing=workers.autopsy)
            assert workers.stop() == [0]
            snapshot = check_all(store, ledger)
            k4_no_overlap(snapshot, ledger.read(), strict=True)
            k10_nothing_left([worker.pid], "postgres")
    finally:
        workers.kill()
    assert {job.status for job in snapshot.jobs.values()} == {JobStatus.COMPLETED}
    assert {job.crash_count for job in snapshot.jobs.values()} == {0}
    assert "no longer owns it" not in worker.output, worker.output
    given_back = sum(e.event_type is EventType.RELEASED for events in snapshot.events.values() for e in events)
    with capsys.disabled():
        print(f"\n{kind}: {proxy.count} answers cut on the wire, {given_back} claims given back uncharged")
    assert proxy.count >= min(CUTS, 10), worker.output


def test_a_durable_handler_whose_answers_are_cut_goes_on(
    behind_proxy: Callable[[bytes], tuple[Workers, CuttingProxy]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every second COMMIT of a worker and its handlers is carried out, and its answer cut."""
    store: Store = emptied("postgres")
    workers, proxy = behind_proxy(b"COMMIT")
    proxy.limit = DURABLE_CUTS
    ledger = Ledger(workers.ledger)
    try:
        with proxy:
            for _ in range(DURABLE_JOBS):
                durable.using(alias="postgres", max_attempts=1).enqueue(acts=[DURABLE])
            workers.start("--concurrency", "2", clocks={"LEASE": 20.0}).ready()
            wait_for_rest(store, failing=workers.autopsy)
            assert workers.stop() == [0]
    finally:
        workers.kill()
    snapshot = check_all(store, ledger)
    rows = list(BusinessRow.objects.using("postgres").values_list("note", "job_id"))
    k11_effects_once(snapshot, ledger.read(), rows)
    assert len(rows) == 3 * DURABLE_JOBS
    assert len(snapshot.jobs) == 2 * DURABLE_JOBS
    assert {job.status for job in snapshot.jobs.values()} == {JobStatus.COMPLETED}, workers.output()
    assert {job.attempts for job in snapshot.jobs.values()} == {1}
    with capsys.disabled():
        print(f"\ndurable: {proxy.count} answers cut on the wire, {len(rows)} effects, each exactly once")
    assert proxy.count >= DURABLE_CUTS // 2
