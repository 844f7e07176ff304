"""Prometheus metrics: gauges read from each queue at a scrape, and counters of what this process heard of.

    pip install "dataqueue-django[metrics]"

The endpoint `metrics` shows `registry`. A worker has no endpoint: `prometheus_client.start_http_server(9102,
registry=registry)` gives it one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import Error

from . import conf
from .domain.records import JobStatus
from .exceptions import ConfigurationError
from .logs import package as logger
from .queue import JobQueue, get_queue
from .signals import SIGNALS

try:
    from prometheus_client import CollectorRegistry, Counter, generate_latest
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
except ImportError:
    raise ConfigurationError('Metrics need prometheus-client: pip install "dataqueue-django[metrics]".') from None

UNFINISHED = (JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.WAITING)
"""The states that are counted; those that have ended are counted by nobody, since there may be millions."""

LANE = ("alias", "queue", "job_type")


class QueueCollector:
    """The gauges of every alias; each scrape reads the store anew, and one that is away is `dataqueue_up 0`."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering it asks no database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read every alias."""
        gauges = _Gauges()
        for alias in conf.aliases():
            try:
                gauges.read(get_queue(alias))
            except (Error, ConnectionError):
                logger.exception("the store of DATAQUEUE[%r] could not be read for metrics", alias)
                gauges.up.add_metric((alias,), 0)
        yield from vars(gauges).values()


class _Gauges:
    """One scrape."""

    def __init__(self) -> None:
        self.up = GaugeMetricFamily("dataqueue_up", "Whether the store answers.", labels=("alias",))
        self.jobs = GaugeMetricFamily("dataqueue_jobs", "Jobs that have not ended.", labels=(*LANE, "status"))
        self.ready = GaugeMetricFamily("dataqueue_ready_jobs", "Jobs that could be claimed now.", labels=LANE)
        self.oldest = GaugeMetricFamily(
            "dataqueue_oldest_ready_seconds", "For how long the first of them has been ready.", labels=LANE
        )
        self.workers = GaugeMetricFamily("dataqueue_workers", "Live workers.", labels=("alias",))
        self.slots = GaugeMetricFamily("dataqueue_worker_slots", "Jobs they can run at once.", labels=("alias",))

    def read(self, queue: JobQueue) -> None:
        """Read one queue: all of it before anything is kept, so that a failure leaves no half."""
        backlogs, workers = queue.get_backlogs(), queue.get_live_workers()
        counts = queue.count_jobs_by("queue", "job_type", "status", filters={"statuses": UNFINISHED})
        alias = queue.alias
        self.up.add_metric((alias,), 1)
        for (name, job_type, status), number in counts.items():
            self.jobs.add_metric((alias, name, job_type, status), number)
        for backlog in backlogs:
            lane = (alias, backlog.queue, backlog.job_type)
            self.ready.add_metric(lane, backlog.ready)
            self.oldest.add_metric(lane, backlog.waited)
        self.workers.add_metric((alias,), len(workers))
        self.slots.add_metric((alias,), sum(worker.concurrency for worker in workers))


registry = CollectorRegistry()
registry.register(QueueCollector())

EVENTS = Counter(
    "dataqueue_events", "What happened to jobs, as far as this process did it.", (*LANE, "event"), registry=registry
)


def watch_events() -> None:
    """Count the events of this process from now on, in `dataqueue_events_total`; a second call changes nothing."""
    for signal in SIGNALS.values():
        signal.connect(_count, dispatch_uid="dataqueue_django.metrics")


def exposition() -> tuple[bytes, str]:
    """Return the text that Prometheus reads, and its content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _count(*, alias: str, queue: str, job_type: str, event_type: Any, **_: Any) -> None:
    EVENTS.labels(alias, queue, job_type, event_type.value).inc()
