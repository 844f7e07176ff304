"""A worker that ends with jobs to give back does not wait for anything once it has given them back."""

from __future__ import annotations

from threading import Thread

import pytest
from django.db import connections

from dataqueue_django import get_queue
from dataqueue_django.domain.records import JobStatus
from dataqueue_django.worker import leaving as module
from dataqueue_django.worker.loop import WorkerLoop
from dataqueue_django.worker.options import ProcessorOptions
from tests.app.jobs import act
from tests.harness.fixtures import REAL
from tests.harness.workers import wait_until

pytestmark = REAL


def test_giving_back_at_once_takes_no_longer_than_the_store(any_alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 3600.0)
    queue = get_queue(any_alias)
    added = act.using(alias=any_alias).enqueue(acts=["sleep:60"])
    processor = WorkerLoop(queue, ProcessorOptions(concurrency=1))

    def run() -> None:
        processor.run()
        connections.close_all()

    thread = Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: queue.store.get([added.id])[0].status is JobStatus.PROCESSING)
    processor.give_back()
    wait_until(lambda: not thread.is_alive(), what="the worker did not end")
    assert queue.store.get([added.id])[0].status is JobStatus.PENDING
