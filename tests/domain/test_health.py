"""The verdict on a queue."""

from __future__ import annotations

import pytest

from dataqueue_django.domain.health import HealthFacts, HealthLimits, HealthStatus, as_json, judge

WELL = {"ready": 2, "oldest_ready": 30.0, "workers": 2, "unserved": 0, "failed_rate": 0.1}


@pytest.mark.parametrize(
    ("facts", "limits", "verdict", "problems"),
    [
        ({}, {}, "ok", []),
        ({"workers": 0, "unserved": 2}, {}, "ok", []),
        ({}, {"max_oldest": 30, "max_failed_rate": 0.1, "min_workers": 2}, "ok", []),
        ({"oldest_ready": None}, {"max_oldest": 0}, "ok", []),
        ({}, {"max_oldest": 29.5}, "unhealthy", ["A job has been ready for 30 s; at most 29.5 s are allowed."]),
        (
            {},
            {"max_failed_rate": 0.05},
            "unhealthy",
            ["10.0% of the jobs that ended lately failed; at most 5.0% are allowed."],
        ),
        ({}, {"min_workers": 3}, "unhealthy", ["2 workers are alive; at least 3 are needed."]),
        ({"failed_rate": None}, {"max_failed_rate": 0.5}, "unknown", ["How many jobs failed lately is not known."]),
        (
            {"failed_rate": None},
            {"max_failed_rate": 0.5, "min_workers": 3},
            "unhealthy",
            ["2 workers are alive; at least 3 are needed.", "How many jobs failed lately is not known."],
        ),
    ],
)
def test_the_verdict(facts: dict, limits: dict, verdict: str, problems: list[str]) -> None:
    found = judge(HealthFacts(**{**WELL, **facts}), HealthLimits(**limits))
    assert (found.status, list(found.problems)) == (HealthStatus(verdict), problems)


def test_what_is_shown_of_it() -> None:
    found = judge(HealthFacts(**WELL), HealthLimits(max_oldest=10))
    assert as_json(found) == {
        "status": "unhealthy",
        "problems": ["A job has been ready for 30 s; at most 10 s are allowed."],
        "ready": 2,
        "oldestReadySeconds": 30.0,
        "workers": 2,
        "unserved": 0,
        "failedRate": 0.1,
    }
