"""`manage.py dataqueue_status`: what there is, who works, and what nobody will run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ...domain.backlog import Backlog
from ...domain.records import JobStatus, Worker
from ...queue import JobQueue
from ...queue.overseeing import Overview
from ..base import QueueCommand
from ..showing import printable, timestamp

REASONS = {
    "no_worker": "no worker is running; start one with `manage.py dataqueue_worker`",
    "no_worker_for_queue": "no running worker takes this queue",
    "no_worker_knows_type": "no running worker knows this job type",
}


class Command(QueueCommand):
    """`get_overview`, printed."""

    help = (
        "Show how many jobs there are, how long ready ones have waited, the live workers, and ready jobs that none of "
        "them will take. Exit codes: 0 shown, 1 failed, 2 usage."
    )

    def run(self, queue: JobQueue, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look once."""
        return _as_json(queue.alias, queue.get_overview())

    def tell(self, facts: Mapping[str, Any]) -> str:
        """Tables, each only where there is something to show."""
        parts = [f"Queue {facts['alias']!r} at {facts['at']}"]
        parts += _section("Jobs", ["queue", "job type", *JobStatus], _count_rows(facts["jobs"]))
        parts += _section("Ready", ["queue", "job type", "jobs", "oldest"], map(_ready_row, facts["ready"]))
        workers = ["id", "label", "running", "queues", "job types", "last beat"]
        parts += _section("Workers", workers, (_worker_row(one, facts["at"]) for one in facts["workers"]))
        parts += [] if facts["jobs"] else ["No jobs."]
        parts += [] if facts["workers"] else ["No live workers."]
        parts += ["\n".join(map(_trouble, facts["unserved"]))] if facts["unserved"] else []
        return "\n\n".join(parts)


def _as_json(alias: str, seen: Overview) -> dict[str, Any]:
    jobs = [
        {"status": status, "queue": queue, "jobType": job_type, "count": count}
        for (status, queue, job_type), count in sorted(seen.counts.items())
    ]
    return {
        "alias": alias,
        "at": timestamp(seen.at),
        "byStatus": {**{status.value: 0 for status in JobStatus}, **_sum(jobs, "status")},
        "byQueue": _sum(jobs, "queue"),
        "byJobType": _sum(jobs, "jobType"),
        "jobs": jobs,
        "oldestReadySeconds": max((backlog.waited for backlog in seen.backlogs), default=None),
        "ready": [_backlog(backlog) for backlog in seen.backlogs],
        "workers": [_worker(worker, seen.busy[worker.id]) for worker in seen.workers],
        "unserved": [{**_backlog(one.backlog), "reason": one.obstacle.value} for one in seen.unserved],
    }


def _sum(jobs: Iterable[Mapping[str, Any]], field: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in jobs:
        total[one[field]] += one["count"]
    return dict(sorted(total.items()))


def _backlog(backlog: Backlog) -> dict[str, Any]:
    return {
        "queue": backlog.queue,
        "jobType": backlog.job_type,
        "count": backlog.ready,
        "oldestReadySeconds": round(backlog.waited, 3),
    }


def _worker(worker: Worker, running: int) -> dict[str, Any]:
    return {
        "id": worker.id,
        "label": worker.label,
        "hostname": worker.hostname,
        "pid": worker.pid,
        "queues": list(worker.queues),
        "excludeQueues": list(worker.exclude_queues),
        "jobTypes": list(worker.job_types),
        "concurrency": worker.concurrency,
        "running": running,
        "startedAt": timestamp(worker.started_at),
        "lastBeatAt": timestamp(worker.last_beat_at),
        "stoppingAt": timestamp(worker.stopping_at),
    }


# -- for people


def _section(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table under its title; nothing without rows."""
    if lines := [list(row) for row in rows]:
        table = [list(head), *lines]
        widths = [max(len(row[n]) for row in table) for n in range(len(head))]
        shown = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        yield "\n".join([title, *(line.rstrip() for line in shown)])


def _count_rows(jobs: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for one in jobs:
        counts.setdefault((one["queue"], one["jobType"]), Counter())[one["status"]] += one["count"]
    for (queue, job_type), by_status in sorted(counts.items()):
        yield [printable(queue), printable(job_type), *(str(by_status[status]) for status in JobStatus)]


def _ready_row(one: Mapping[str, Any]) -> list[str]:
    return [printable(one["queue"]), printable(one["jobType"]), str(one["count"]), _span(one["oldestReadySeconds"])]


def _worker_row(one: Mapping[str, Any], at: str) -> list[str]:
    queues = ", ".join(one["queues"]) or "all"
    if one["excludeQueues"]:
        queues += f" but {', '.join(one['excludeQueues'])}"
    beat = (datetime.fromisoformat(at) - datetime.fromisoformat(one["lastBeatAt"])).total_seconds()
    stopping = ", stopping" if one["stoppingAt"] else ""
    return [
        str(one["id"]),
        printable(one["label"]),
        f"{one['running']} of {one['concurrency']}",
        printable(queues),
        str(len(one["jobTypes"])),
        f"{_span(max(0.0, beat))} ago{stopping}",
    ]


def _trouble(one: Mapping[str, Any]) -> str:
    jobs = "1 ready job" if one["count"] == 1 else f"{one['count']} ready jobs"
    where = f"{printable(one['jobType'])!r} in the queue {printable(one['queue'])!r}"
    return f"Nobody will take {jobs} of {where}: {REASONS[one['reason']]}."


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
