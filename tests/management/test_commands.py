"""dataqueue_status, dataqueue_reclaim and dataqueue_cleanup: what they do, print and refuse."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from dataqueue_django import JobStatus, get_queue
from dataqueue_django.domain.filters import EVERYTHING
from dataqueue_django.domain.liveness import expire, stop
from dataqueue_django.domain.records import Claim, FailureReason, Worker
from dataqueue_django.domain.steering import cancel
from dataqueue_django.domain.transitions import Execution, Fault, complete, fail
from dataqueue_django.queue import JobQueue

BROKEN = Fault(reason=FailureReason.HANDLER_ERROR, type="ValueError", message="x")


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    """The queue "shop", in the database of the test."""
    settings.DATAQUEUE = {"shop": {"OPTIONS": {"DATABASE": any_alias}, "OUTSIDE_TRANSACTION": "allow"}}
    return get_queue("shop")


def run(command: str, *options: str) -> str:
    """Run a command on the queue of the test and return what it printed."""
    out = StringIO()
    call_command(f"dataqueue_{command}", "--alias", "shop", *options, stdout=out, stderr=StringIO())
    return out.getvalue()


def facts(command: str, *options: str) -> Any:
    """Run a command with --json and return the document."""
    return json.loads(run(command, "--json", *options))


def refused(code: int, command: str, *options: str) -> str:
    """Run a command that must end with an exit code, and return what it says."""
    with pytest.raises(CommandError) as caught:
        run(command, *options)
    assert caught.value.returncode == code, caught.value
    return str(caught.value)


def add(queue: JobQueue, /, job_type: str = "send", count: int = 1, **options: Any) -> list[int]:
    """Add jobs."""
    return queue.add_jobs([{"job_type": job_type, **options}] * count, allow_unknown=True)


def start(queue: JobQueue, worker: Worker, *ids: int, at: datetime | None = None) -> list[Execution]:
    """Claim jobs, now or at another time."""
    claim = Claim(limit=len(ids), worker_id=worker.id, locked_by=worker.label, ids=ids, crashed=None)
    found = queue.store.claim(claim, now=at)
    return [Execution(job.id, job.claim_seq, job.attempts, job.max_attempts, job.crash_count) for job in found]


def worker(queue: JobQueue, **given: Any) -> Worker:
    """Register a worker."""
    return queue.store.put(Worker(label="w1", **given))


def ended(queue: JobQueue, days: float, *, completed: int = 0, cancelled: int = 0, failed: int = 0) -> None:
    """Add jobs that ended so long ago."""
    holder = queue.store.put(Worker(label="old"))
    now = timezone.now() - timedelta(days=days)
    queue.store.commit([cancel(id) for id in add(queue, count=cancelled)] if cancelled else [], now=now)
    for n, end in ((completed, complete), (failed, lambda run: fail(run, BROKEN, retry_in=None))):
        runs = start(queue, holder, *add(queue, count=n)) if n else []
        queue.store.commit([(end(run),) for run in runs], now=now)
    queue.store.commit([(expire(holder.id),)])


def left(queue: JobQueue) -> dict[str, int]:
    return queue.count_jobs_by("status")


# -- status


def test_the_status_of_nothing(queue: JobQueue) -> None:
    seen = facts("status")
    assert datetime.fromisoformat(seen.pop("at")).tzinfo is not None
    assert seen == {
        "alias": "shop",
        "byStatus": {status.value: 0 for status in JobStatus},
        "byQueue": {},
        "byJobType": {},
        "jobs": [],
        "oldestReadySeconds": None,
        "ready": [],
        "workers": [],
        "unserved": [],
    }
    assert "No jobs.\n\nNo live workers." in run("status")


def test_the_status_of_a_busy_queue(queue: JobQueue) -> None:
    add(queue, "send", 2, queue="mail", run_at=timezone.now() - timedelta(minutes=10))
    add(queue, "build", run_at=timezone.now() + timedelta(hours=1))
    one = worker(queue, job_types=("send", "build"), exclude_queues=("slow",), concurrency=3, hostname="h", pid=7)
    gone = worker(queue, job_types=("send",))
    queue.store.commit([(expire(gone.id),), (stop(one.id),)])
    [held] = add(queue, "build", queue="reports")
    start(queue, one, held)
    seen = facts("status")
    assert seen["byStatus"]["pending"] == 3
    assert seen["byStatus"]["processing"] == 1
    assert seen["byQueue"] == {"default": 1, "mail": 2, "reports": 1}
    assert seen["byJobType"] == {"build": 2, "send": 2}
    assert {"status": "pending", "queue": "mail", "jobType": "send", "count": 2} in seen["jobs"]
    [ready] = seen["ready"]
    assert (ready["queue"], ready["jobType"], ready["count"]) == ("mail", "send", 2)
    assert 600 <= ready["oldestReadySeconds"] < 900
    assert seen["oldestReadySeconds"] == pytest.approx(ready["oldestReadySeconds"], abs=0.01)
    [shown] = seen["workers"]
    assert (shown["id"], shown["label"], shown["hostname"], shown["pid"]) == (one.id, "w1", "h", 7)
    assert (shown["queues"], shown["excludeQueues"], shown["jobTypes"]) == ([], ["slow"], ["send", "build"])
    assert (shown["concurrency"], shown["running"]) == (3, 1)
    assert shown["stoppingAt"]
    assert shown["lastBeatAt"]
    assert seen["unserved"] == []
    text = run("status")
    assert "all but slow" in text
    assert "1 of 3" in text
    assert "10 min" in text
    assert ", stopping" in text


@pytest.mark.parametrize(
    ("reason", "sentence", "given"),
    [
        ("no_worker", "no worker is running", None),
        ("no_worker_for_queue", "no running worker takes this queue", {"queues": ("other",)}),
        ("no_worker_for_queue", "no running worker takes this queue", {"exclude_queues": ("default",)}),
        ("no_worker_knows_type", "no running worker knows this job type", {"job_types": ("other",)}),
    ],
)
def test_what_nobody_will_take(queue: JobQueue, reason: str, sentence: str, given: Any) -> None:
    add(queue, "send", 3)
    if given is not None:
        worker(queue, **given)
    [one] = facts("status")["unserved"]
    assert (one["queue"], one["jobType"], one["count"], one["reason"]) == ("default", "send", 3, reason)
    assert f"3 ready jobs of 'send' in the queue 'default': {sentence}" in run("status")


def test_a_silent_worker_is_not_live(queue: JobQueue, monkeypatch: Any) -> None:
    worker(queue)
    later = timezone.now() + timedelta(minutes=1)
    monkeypatch.setattr(queue.store, "now", lambda: later)
    assert facts("status")["workers"] == []


def test_names_cannot_steer_a_terminal(queue: JobQueue) -> None:
    worker(queue, job_types=("send",))
    queue.store.put(Worker(label="\x1b[31mred"))
    assert "\x1b" not in run("status")
    assert "\\x1b[31mred" in run("status")
    assert facts("status")["workers"][1]["label"] == "\x1b[31mred"


# -- reclaim


def test_reclaiming(queue: JobQueue) -> None:
    holder, other = worker(queue), worker(queue)
    start(queue, holder, *add(queue, count=2))
    start(queue, other, *add(queue))
    queue.store.commit([(expire(holder.id),)])
    assert facts("reclaim") == {"alias": "shop", "reclaimed": 2}
    assert run("reclaim") == "0 jobs taken back.\n"
    assert left(queue)["processing"] == 1


def test_reclaiming_from_the_living_takes_force(queue: JobQueue) -> None:
    long_ago = timezone.now() - timedelta(minutes=11)
    start(queue, worker(queue), *add(queue, run_at=long_ago), at=long_ago)
    assert facts("reclaim")["reclaimed"] == 0
    assert facts("reclaim", "--minutes", "12", "--force")["reclaimed"] == 0
    assert run("reclaim", "--force") == "1 job taken back.\n"
    assert "processing" not in left(queue)


@pytest.mark.parametrize("minutes", ["0", "-1", "abc", "nan", "inf", "600000"])
def test_minutes_that_make_no_sense(queue: JobQueue, minutes: str) -> None:
    with pytest.raises(CommandError, match="argument --minutes: .* is not a number from 0.001 to 525600"):
        run("reclaim", f"--minutes={minutes}")


# -- cleanup


def test_retention_says_how_long(queue: JobQueue) -> None:
    ended(queue, 31, completed=3, cancelled=2, failed=1)
    ended(queue, 29, completed=1, cancelled=1)
    add(queue)
    assert facts("cleanup") == {
        "alias": "shop",
        "deleted": {"completed": 3, "cancelled": 2, "failed": None, "events": 1, "logs": 0, "ticks": 0},
    }
    assert left(queue) == {"completed": 1, "cancelled": 1, "failed": 1, "pending": 1}
    assert run("cleanup") == "Deleted 0 completed and 0 cancelled jobs, 0 events, 0 logs, 0 ticks.\n"


def test_the_setting_is_obeyed(queue: JobQueue, settings: Any) -> None:
    shop = settings.DATAQUEUE["shop"]
    ended(queue, 3, completed=1, cancelled=1, failed=1)
    kept = dict.fromkeys(("COMPLETED", "CANCELLED", "EVENTS", "LOGS", "TICKS"))
    settings.DATAQUEUE = {"shop": {**shop, "RETENTION": kept}}
    assert run("cleanup") == "Deleted nothing, since RETENTION keeps it all.\n"
    settings.DATAQUEUE = {"shop": {**shop, "RETENTION": {**kept, "FAILED": 2}}}
    assert run("cleanup") == "Deleted 1 failed jobs.\n"
    assert facts("cleanup", "--statuses", "completed")["deleted"]["completed"] is None
    assert left(queue) == {"completed": 1, "cancelled": 1}


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (["--days", "2"], {"completed", "cancelled"}),
        (["--days", "2", "--statuses", "failed"], {"failed"}),
        (["--days", "2.5", "--statuses", "completed,failed"], {"completed", "failed"}),
        (["--days", "4"], set()),
        (["--days", "2", "--statuses", "failed,completed,cancelled,failed", "--batch-size", "1"], set(JobStatus)),
        (["--days", "0", "--yes"], {"completed", "cancelled"}),
    ],
)
def test_days_on_the_command_line(queue: JobQueue, options: list[str], gone: set[str]) -> None:
    ended(queue, 3, completed=2, cancelled=2, failed=2)
    deleted = facts("cleanup", *options)["deleted"]
    assert {name for name, count in deleted.items() if count == 2 and name != "events"} == gone & set(left_at_first())
    assert set(left(queue)) == set(left_at_first()) - gone


def left_at_first() -> list[str]:
    return ["completed", "cancelled", "failed"]


def test_events_on_the_command_line(queue: JobQueue) -> None:
    ended(queue, 3, failed=1)
    assert facts("cleanup", "--events-days", "2")["deleted"]["events"] == 1  # the end itself; the rest is new
    assert facts("cleanup", "--events-days", "0", "--yes")["deleted"]["events"] == 2
    assert left(queue) == {"failed": 1}


def test_logs_and_ticks_on_the_command_line(queue: JobQueue, monkeypatch: Any) -> None:
    asked: dict[str, Any] = {}
    for name in ("delete_logs", "delete_ticks"):
        monkeypatch.setattr(queue.store, name, lambda name=name, **given: asked.update({name: given}) or 0)
    facts("cleanup", "--logs-days", "2", "--ticks-days", "3", "--batch-size", "7")
    ages = {name: round((queue.store.now() - given["before"]) / timedelta(days=1), 3) for name, given in asked.items()}
    assert ages == {"delete_logs": 2, "delete_ticks": 3}
    assert {given["limit"] for given in asked.values()} == {7}


@pytest.mark.parametrize("options", [["--days", "0"], ["--logs-days", "0"], ["--days=0", "--json"]])
def test_deleting_everything_has_to_be_confirmed(queue: JobQueue, options: list[str]) -> None:
    ended(queue, 3, completed=1)
    before = left(queue), len(queue.get_job_events(queue.get_all_jobs()[0].id))
    assert "--yes" in refused(2, "cleanup", *options)
    assert before == (left(queue), len(queue.get_job_events(queue.get_all_jobs()[0].id)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--days", "-1"], "argument --days: '-1' is not a number from 0 to 36500"),
        (["--days", "nan"], "argument --days: 'nan' is not a number"),
        (["--days", "1e9"], "argument --days: '1e9' is not a number"),
        (["--events-days", "x"], "argument --events-days: 'x' is not a number"),
        (["--batch-size", "0"], "argument --batch-size: '0' is not a whole number from 1 to 1000"),
        (["--batch-size", "2.5"], "argument --batch-size: '2.5' is not a whole number"),
        (["--statuses", "complete"], "'complete' is not one of them. Did you mean 'completed'?"),
        (["--statuses", "pending"], "'pending' is not one of them. Expected some of completed,cancelled,failed."),
        (["--statuses", ""], "'' is not one of them."),
        (["--day", "3"], "unrecognized arguments: --day 3 Did you mean '--days'?"),
        (["--dais=3"], "Did you mean '--days'?"),
        (["--days"], "argument --days: expected one argument"),
    ],
)
def test_wrong_options(queue: JobQueue, options: list[str], sentence: str) -> None:
    ended(queue, 3, completed=1)
    with pytest.raises(CommandError) as caught:
        run("cleanup", *options)
    assert sentence in str(caught.value)
    assert left(queue) == {"completed": 1}


# -- all of them


COMMANDS = ["status", "reclaim", "cleanup"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_alias(queue: JobQueue, command: str) -> None:
    with pytest.raises(CommandError, match="no alias 'shpo'. Did you mean 'shop'") as caught:
        call_command(f"dataqueue_{command}", alias="shpo")
    assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="no alias 'zzz'. Known: 'shop'"):
        call_command(f"dataqueue_{command}", alias="zzz")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_in_the_setting(settings: Any, command: str) -> None:
    settings.DATAQUEUE = {"shop": {"WORKR": {}}}
    assert "Did you mean 'WORKER'" in refused(1, command)
    settings.DATAQUEUE = []
    assert "expected a Mapping" in refused(1, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_fails_is_one_sentence(queue: JobQueue, command: str, monkeypatch: Any) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("server closed the connection\n\tThis probably means trouble")

    for method in ("count", "delete_ended", "now"):
        monkeypatch.setattr(queue.store, method, gone)
    text = refused(1, command)
    assert text.startswith("The store of DATAQUEUE['shop'] failed: server closed the connection")
    assert "\n" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_without_the_newest_migration(queue: JobQueue, command: str, monkeypatch: Any) -> None:
    from dataqueue_django.stores.orm import portable

    monkeypatch.setattr(portable, "unapplied", lambda connection: ["0002_more"])
    assert "lacks the migration 0002_more; run `manage.py migrate`" in refused(1, command)


def test_migrations_are_compared_by_name(queue: JobQueue, any_alias: str) -> None:
    from django.db import connections
    from django.db.migrations.recorder import MigrationRecorder

    from dataqueue_django.stores.orm.migrated import unapplied

    connection = connections[any_alias]
    assert unapplied(connection) == []
    MigrationRecorder(connection).record_applied("dataqueue", "9999_from_the_future")
    assert unapplied(connection) == []
    MigrationRecorder(connection).record_unapplied("dataqueue", "0001_initial")
    assert unapplied(connection) == ["0001_initial"]
    assert queue.store.count(EVERYTHING) == {(): 0}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interruption_keeps_what_was_done(queue: JobQueue, command: str, monkeypatch: Any) -> None:
    ended(queue, 40, completed=3)
    real, calls = queue.store.delete_ended, []

    def interrupted(*args: Any, **options: Any) -> int:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(queue.store, "delete_ended", interrupted)
    if command != "cleanup":
        monkeypatch.setattr(queue.store, "count", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
    text = refused(130, command, *(["--batch-size", "1"] if command == "cleanup" else []))
    assert text.startswith("Interrupted.")
    if command == "cleanup":
        assert "Deleted until then: 2 completed jobs." in text
        assert left(queue) == {"completed": 1}


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[Any], Any]]:
    """Set what Ctrl+C does to this process, for the time of a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (1, "Interrupted. Deleted until then: 3 completed jobs."),
        (2, "Interrupted. Deleted until then: 2 completed jobs. The batch under way may have been stored as well."),
    ],
)
def test_ctrl_c_while_a_batch_is_stored(
    queue: JobQueue, monkeypatch: Any, ctrl_c: Callable[[Any], Any], times: int, said: str
) -> None:
    """What is told is what was stored; who cannot wait for it is told that nobody knows."""
    ctrl_c(signal.default_int_handler)
    ended(queue, 40, completed=4)
    real, calls = queue.store.delete_ended, []

    def stored(*args: Any, **options: Any) -> int:
        count = real(*args, **options)
        calls.append(args)
        if len(calls) == 3:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return count

    monkeypatch.setattr(queue.store, "delete_ended", stored)
    assert refused(130, "cleanup", "--batch-size", "1").strip() == said
    assert left(queue) == {"completed": 1}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_is_ignored_stays_so(queue: JobQueue, ctrl_c: Callable[[Any], Any]) -> None:
    ctrl_c(signal.SIG_IGN)
    run("cleanup")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


# -- check


def checked(*options: str) -> tuple[int, str]:
    """Run dataqueue_check and return its exit code and what it printed."""
    out = StringIO()
    try:
        call_command("dataqueue_check", "--alias", "shop", *options, stdout=out, stderr=StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_check_of_a_queue_that_is_well(queue: JobQueue) -> None:
    assert checked() == (0, "Queue 'shop': ok\n")
    assert checked("--max-oldest", "60", "--min-workers", "0")[0] == 0


def test_the_check_says_what_is_wrong_and_ends_with_a_code_of_its_own(queue: JobQueue) -> None:
    add(queue, run_at=timezone.now() - timedelta(minutes=10))
    code, text = checked("--max-oldest", "300", "--min-workers", "1")
    assert code == 3
    assert "A job has been ready for 600 s; at most 300 s are allowed." in text
    assert "0 workers are alive; at least 1 are needed." in text
    code, text = checked("--max-oldest", "300", "--json")
    found = json.loads(text)
    assert (code, found["status"], found["ready"], found["unserved"]) == (3, "unhealthy", 1, 1)
    worker(queue, job_types=("send",))
    assert checked("--min-workers", "1")[0] == 0


def test_the_check_of_a_store_that_is_away(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr(type(queue.store), "backlogs", away)
    assert "away" in refused(1, "check")


def test_the_check_says_when_it_cannot_tell(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(rate: float | None, silent_for: float | None) -> None:
        stats = SimpleNamespace(failure_rate=rate, silent_for=silent_for)
        monkeypatch.setattr(JobQueue, "get_stats", lambda *_: stats)

    told(None, None)
    assert checked("--max-failed-rate", "0.5") == (
        1,
        "Queue 'shop': unknown\nHow many jobs failed lately is not known.\n",
    )
    told(None, 20.0)
    assert checked("--max-failed-rate", "0.5")[0] == 0, "nothing has ended, and somebody counts"
    told(None, 2000.0)
    assert checked("--max-failed-rate", "0.5")[0] == 1
    told(0.6, 20.0)
    assert checked("--max-failed-rate", "0.5")[0] == 3


@pytest.mark.parametrize("option", [("--max-oldest", "-1"), ("--max-failed-rate", "2"), ("--min-workers", "1.5")])
def test_limits_of_the_check_that_make_no_sense(queue: JobQueue, option: tuple[str, str]) -> None:
    with pytest.raises(CommandError):
        run("check", *option)
