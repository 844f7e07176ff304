"""Jobs claimed ahead of the free slots must not be kept from workers that could run them."""

from __future__ import annotations

from threading import Event

from dataqueue_django.domain.records import EventType, JobStatus
from tests.faults.inprocess import Workshop
from tests.harness.fixtures import REAL
from tests.harness.workers import PATIENCE, wait_until

pytestmark = REAL


def test_a_long_job_after_short_ones_pins_no_other_job_for_long(workshop: Workshop) -> None:
    """A busy worker that claims, holds and returns the same jobs again and again keeps them from everybody."""
    go = Event()
    workshop.handle("works", lambda long: go.wait(PATIENCE) if long else None)
    with workshop.working(concurrency=1, hold=0.1):
        shorts = [workshop.add("works", {"long": False}) for _ in range(50)]
        workshop.until_ended(*shorts)
        long = workshop.add("works", {"long": True})
        behind = [workshop.add("works", {"long": False}) for _ in range(5)]
        workshop.until(long, lambda job: job.status == JobStatus.PROCESSING)
        row = workshop.live_workers()[0]
        wait_until(lambda: workshop.live_workers()[0].beat >= row.beat + 6)
        events = [event.event_type for id in behind for event in workshop.store.events(id)]
        assert events.count(EventType.PROCESSING) <= len(behind), "claimed again without anything having ended"
        assert {workshop.job(id).status for id in behind} == {JobStatus.PENDING}
        go.set()
        workshop.until_ended(*behind)
