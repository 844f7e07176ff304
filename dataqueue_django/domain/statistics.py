"""What is counted of jobs, in which buckets of time, and what follows from the counts: rates, percentiles, a series."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, TypeVar

from .changes import Change
from .records import ClaimedJob, Counts, EventType, FailureReason, Flow, QueueStat, Resolution

BOUNDS = (
    *(20, 35, 60, 104, 180, 312, 540, 935, 1_620, 2_806, 4_860, 8_418, 14_580, 25_253, 43_740, 75_760, 131_220),
    *(227_280, 393_660, 681_840, 1_180_980, 2_045_520, 3_542_940, 6_136_559, 10_628_820),
)
"""Milliseconds up to which each place of a histogram counts, from 20 ms to 3 hours; one more place counts the rest.

Each is √3 times the one before. They never change: histograms of all times and all versions can be added.
"""

LENGTH: Mapping[Resolution, timedelta] = {
    Resolution.MINUTE: timedelta(minutes=1),
    Resolution.HOUR: timedelta(hours=1),
    Resolution.DAY: timedelta(days=1),
}
FINEST: Mapping[Resolution, timedelta] = {
    Resolution.MINUTE: timedelta(hours=3),
    Resolution.HOUR: timedelta(days=7),
}
"""The longest window that is told in each resolution: some two hundred points. Longer ones are told in days."""

FLOW = tuple(f.name for f in fields(Flow))
NUMBERS = tuple(f.name for f in fields(Counts) if not f.name.endswith("_hist"))

NOT_BY_HANDLERS = frozenset({FailureReason.WORKER_LOST, FailureReason.DEPENDENCY_FAILED})
"""Reasons for which a job fails that no execution of its own reports: whoever finds out says so."""

FOUND_IN_EVENTS = (EventType.ADDED, EventType.CANCELLED, EventType.RECLAIMED, EventType.FAILED)
"""The events that are counted from their rows, since they come from any process: web requests, commands, workers."""

Found = tuple[EventType, str | None, datetime, str, str]
"""What events are counted by: type, failure reason, minute, queue and job type."""

Key = TypeVar("Key", bound=Hashable)


def bucket_of(at: datetime, resolution: Resolution) -> datetime:
    """Return the beginning of the minute, hour or day in UTC that `at` is in."""
    whole = at.astimezone(UTC).replace(second=0, microsecond=0)
    if resolution is Resolution.MINUTE:
        return whole
    return whole.replace(minute=0) if resolution is Resolution.HOUR else whole.replace(minute=0, hour=0)


def place_of(milliseconds: float) -> int:
    """Return the place of a histogram that counts a duration."""
    return bisect_left(BOUNDS, milliseconds)


def added(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the sum of two histograms."""
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of all counts."""
    sums = dict.fromkeys(NUMBERS, 0)
    run_hist: tuple[int, ...] = ()
    wait_hist: tuple[int, ...] = ()
    for one in counts:
        for name in NUMBERS:
            sums[name] += getattr(one, name)
        run_hist, wait_hist = added(run_hist, one.run_hist), added(wait_hist, one.wait_hist)
    return Counts(**sums, run_hist=run_hist, wait_hist=wait_hist)


def grouped(rows: Iterable[QueueStat], by: Callable[[QueueStat], Key]) -> dict[Key, Counts]:
    """Return the sums of the rows by a key, in the order of the keys' first rows."""
    lots: dict[Key, list[QueueStat]] = {}
    for row in rows:
        lots.setdefault(by(row), []).append(row)
    return {key: total(lot) for key, lot in lots.items()}


# -- what is counted where


def counted_as(change: Change) -> str | None:
    """Return which counter of the worker an outcome adds to; None for those that others count, or nobody."""
    if change.event is EventType.COMPLETED:
        return "completed"
    told = change.metadata or {}
    if change.event is not EventType.FAILED or told.get("failureReason") in NOT_BY_HANDLERS:
        return None
    return "retried" if told.get("willRetry") else "failed"


def found_as(event: EventType, reason: str | None) -> str | None:
    """Return which counter an event among FOUND_IN_EVENTS adds to; None where the worker has counted it."""
    if event is EventType.FAILED:
        return "failed" if reason in NOT_BY_HANDLERS else None
    return {EventType.ADDED: "enqueued", EventType.CANCELLED: "cancelled", EventType.RECLAIMED: "retried"}.get(event)


def counts_of(found: Mapping[Found, int]) -> dict[tuple[datetime, str, str], Counts]:
    """Return what events count, by minute, queue and job type."""
    lots: dict[tuple[datetime, str, str], list[Counts]] = {}
    for (event, reason, minute, queue, job_type), number in found.items():
        if (counter := found_as(event, reason)) is not None:
            counted: dict[str, Any] = {counter: number}
            lots.setdefault((minute, queue, job_type), []).append(Counts(**counted))
    return {key: total(lot) for key, lot in lots.items()}


def waited_for(job: ClaimedJob) -> float | None:
    """Return for how many seconds a job was ready before it was claimed; None unless this is its first execution.

    What a later one waited for is mostly its backoff, or what its handler waited for.
    """
    if job.claim_seq != 1:
        return None
    return max(0.0, (job.locked_at - max(job.run_at, job.created_at)).total_seconds())


@dataclass(slots=True)
class Tally:
    """Counts that grow: what a worker keeps of one job type of one queue."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    run_ms_sum: int = 0
    wait_ms_sum: int = 0
    run_hist: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    wait_hist: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def began(self, waited: float | None) -> None:
        """Count an execution that begins, with the seconds its job waited if that counts."""
        self.started += 1
        if waited is not None:
            milliseconds = round(waited * 1000)
            self.wait_ms_sum += milliseconds
            self.wait_hist[place_of(milliseconds)] += 1

    def ended(self, counter: str, seconds: float) -> None:
        """Count an outcome; only what has completed counts among the durations of runs."""
        setattr(self, counter, getattr(self, counter) + 1)
        if counter == "completed":
            milliseconds = round(seconds * 1000)
            self.run_ms_sum += milliseconds
            self.run_hist[place_of(milliseconds)] += 1

    def counts(self) -> Counts:
        """Return what was counted so far."""
        return Counts(
            started=self.started,
            completed=self.completed,
            failed=self.failed,
            retried=self.retried,
            ran=sum(self.run_hist),
            run_ms_sum=self.run_ms_sum,
            run_hist=_trimmed(self.run_hist),
            waited=sum(self.wait_hist),
            wait_ms_sum=self.wait_ms_sum,
            wait_hist=_trimmed(self.wait_hist),
        )


def _trimmed(histogram: Sequence[int]) -> tuple[int, ...]:
    end = len(histogram)
    while end and not histogram[end - 1]:
        end -= 1
    return tuple(histogram[:end])


# -- what follows from the counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Durations in seconds. The percentiles are read off a histogram: right to within a factor of √3.

    Beyond 3 hours they are "at least 3 hours"; the mean is exact.
    """

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point(Flow):
    """What happened in one bucket, from `at` on for `length`."""

    at: datetime
    length: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats(Flow):
    """What happened from `since` to `until`, by the store's clock.

    `throughput` is completed jobs a second, `failure_rate` the share of the jobs that ended by failing for good (None
    when none completed or failed), `wait` from ready to started on the first attempt, `run` of executions that
    completed. `oldest_ready_age` is for how many seconds the longest waiting job is ready now. `series` has no points
    for buckets in which nothing happened. `as_of` is when statistics were last written; None is never.
    """

    since: datetime
    until: datetime
    throughput: float
    failure_rate: float | None
    wait: Latency | None
    run: Latency | None
    oldest_ready_age: float | None
    series: tuple[Point, ...]
    as_of: datetime | None

    @property
    def silent_for(self) -> float | None:
        """For how many seconds no statistics have been written: above a minute or two, no worker writes any."""
        return None if self.as_of is None else max(0.0, (self.until - self.as_of).total_seconds())


def percentile(histogram: Sequence[int], share: float) -> float:
    """Return below which duration, in seconds, `share` of what a histogram counts lies; it must count something."""
    wanted, seen = share * sum(histogram), 0
    for place, count in enumerate(histogram):
        if count and seen + count >= wanted:
            return _within(place, (wanted - seen) / count) / 1000
        seen += count
    return _within(len(histogram) - 1, 1.0) / 1000  # where a share of all is more than all, by rounding


def _within(place: int, share: float) -> float:
    """The milliseconds at a share of a place. Only its ends are known; of the last one only where it begins."""
    if place >= len(BOUNDS):
        return float(BOUNDS[-1])
    high = BOUNDS[place]
    return high * share if place == 0 else float(BOUNDS[place - 1] * (high / BOUNDS[place - 1]) ** share)


def latency(count: int, ms_sum: int, histogram: Sequence[int]) -> Latency | None:
    """Return what a histogram tells; None if it counts nothing."""
    if not count or not any(histogram):
        return None
    p50, p95, p99 = (percentile(histogram, share) for share in (0.5, 0.95, 0.99))
    return Latency(count=count, mean=ms_sum / 1000 / count, p50=p50, p95=p95, p99=p99)


def resolution_for(window: timedelta) -> Resolution:
    """Return in which buckets a window is told."""
    return next((resolution for resolution, longest in FINEST.items() if window <= longest), Resolution.DAY)


def stats_of(
    rows: Iterable[QueueStat],
    *,
    since: datetime,
    until: datetime,
    resolution: Resolution,
    oldest_ready_age: float | None,
    as_of: datetime | None,
) -> Stats:
    """Return what the rows say of the time from `since`, which begins a bucket, to `until`."""
    buckets = grouped(rows, lambda row: bucket_of(row.bucket, resolution))
    counts = total(buckets.values())
    ended = counts.completed + counts.failed
    return Stats(
        **_flow(counts),
        since=since,
        until=until,
        throughput=counts.completed / max(1.0, (until - since).total_seconds()),
        failure_rate=counts.failed / ended if ended else None,
        wait=latency(counts.waited, counts.wait_ms_sum, counts.wait_hist),
        run=latency(counts.ran, counts.run_ms_sum, counts.run_hist),
        oldest_ready_age=oldest_ready_age,
        series=tuple(Point(**_flow(one), at=at, length=LENGTH[resolution]) for at, one in sorted(buckets.items())),
        as_of=as_of,
    )


def _flow(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in FLOW}
