"""Whether a queue is well: one judgement for the command, the endpoint and code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class HealthStatus(StrEnum):
    """The verdict; `unknown` says that something asked for could not be judged, and nothing else is wrong."""

    OK = "ok"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthFacts:
    """What is known of a queue; seconds. `oldest_ready` is None while nothing is ready, a rate that nobody knows, too.

    `unserved` are ready jobs that no live worker takes.
    """

    ready: int
    oldest_ready: float | None
    workers: int
    unserved: int
    failed_rate: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthLimits:
    """What is still well; None does not limit."""

    max_oldest: float | None = None
    max_failed_rate: float | None = None
    min_workers: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """A verdict with its reasons, a sentence each, and what it was made of."""

    status: HealthStatus
    problems: tuple[str, ...]
    facts: HealthFacts


def judge(facts: HealthFacts, limits: HealthLimits) -> Health:
    """Return the verdict. What equals its limit is well."""
    wrong, unknown = tuple(_wrong(facts, limits)), tuple(_unknown(facts, limits))
    status = HealthStatus.UNHEALTHY if wrong else HealthStatus.UNKNOWN if unknown else HealthStatus.OK
    return Health(status=status, problems=wrong + unknown, facts=facts)


def as_json(health: Health) -> dict[str, Any]:
    """Return a verdict as the command and the endpoint show it."""
    facts = health.facts
    return {
        "status": health.status.value,
        "problems": list(health.problems),
        "ready": facts.ready,
        "oldestReadySeconds": None if facts.oldest_ready is None else round(facts.oldest_ready, 3),
        "workers": facts.workers,
        "unserved": facts.unserved,
        "failedRate": facts.failed_rate,
    }


def _wrong(facts: HealthFacts, limits: HealthLimits) -> Iterator[str]:
    if limits.max_oldest is not None and facts.oldest_ready is not None and facts.oldest_ready > limits.max_oldest:
        yield f"A job has been ready for {facts.oldest_ready:.0f} s; at most {limits.max_oldest:g} s are allowed."
    rate, most = facts.failed_rate, limits.max_failed_rate
    if most is not None and rate is not None and rate > most:
        yield f"{rate:.1%} of the jobs that ended lately failed; at most {most:.1%} are allowed."
    if limits.min_workers is not None and facts.workers < limits.min_workers:
        yield f"{facts.workers} workers are alive; at least {limits.min_workers} are needed."


def _unknown(facts: HealthFacts, limits: HealthLimits) -> Iterator[str]:
    if limits.max_failed_rate is not None and facts.failed_rate is None:
        yield "How many jobs failed lately is not known."
