"""dataqueue_cron: what it does, prints and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dataqueue_django import get_queue, job
from dataqueue_django.domain.changes import Change, Verb
from dataqueue_django.domain.records import Kind, TickOutcome
from dataqueue_django.handlers import registry
from dataqueue_django.queue import JobQueue


@pytest.fixture
def queue(any_alias: str, settings: Any) -> Iterator[JobQueue]:
    """The queue "shop", in the database of the test, with a schedule in the setting."""

    @job("cron.report")
    def report() -> None: ...

    settings.DATAQUEUE = {
        "shop": {
            "OPTIONS": {"DATABASE": any_alias},
            "OUTSIDE_TRANSACTION": "allow",
            "SCHEDULES": {"nightly": {"job_type": "cron.report", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}},
        }
    }
    yield get_queue("shop")
    registry.remove("cron.report")


def run(*given: str) -> str:
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("dataqueue_cron", *given, "--alias", "shop", stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*given: str) -> str:
    """Run the command, which must refuse, and return what it says."""
    with pytest.raises(CommandError) as caught:
        run(*given)
    assert caught.value.returncode == 2
    return str(caught.value)


def test_list(queue: JobQueue) -> None:
    id = queue.add_cron_job("hourly", None, "cron.report", every=3600)
    queue.pause_cron_job(id, reason="quiet \x1b[2J week")
    declared, stored = sorted(run("list").splitlines(), reverse=True)
    assert declared.startswith("nightly: cron.report at 0 2 * * * (Europe/Berlin), next at 20")
    assert declared.endswith("UTC, declared in code")
    assert stored == "hourly: cron.report every 1:00:00, paused: quiet \\x1b[2J week"
    facts = json.loads(run("list", "--json"))
    assert facts["action"] == "list"
    [first, second] = facts["schedules"]
    assert (first["scheduleName"], first["everyMs"], first["status"], first["nextRunAt"]) == (
        "hourly",
        3_600_000,
        "paused",
        None,
    )
    assert (second["declared"], second["cronExpression"], second["lastJobId"]) == (True, "0 2 * * *", None)
    assert second["nextRunAt"].endswith("Z")


def test_run_due(queue: JobQueue) -> None:
    assert run("run-due") == "0 jobs added.\n"
    [schedule] = queue.list_cron_jobs()
    due = queue.get_next_cron_runs(schedule.id)[0] - timedelta(days=7)  # the same time of day, in the past
    change = Change(verb=Verb.TICK, kind=Kind.SCHEDULE, id=schedule.id, set={"next_run_at": due})
    assert queue.store.commit([(change,)])[0].applied
    assert run("run-due") == "1 job added.\n"
    assert json.loads(run("run-due", "--json")) == {"alias": "shop", "action": "run-due", "enqueued": 0}


def test_run_pause_and_resume(queue: JobQueue) -> None:
    assert run("pause", "nightly", "--reason", "holidays") == "nightly: paused.\n"
    assert run("pause", "nightly") == "nightly: was so already.\n"
    [schedule] = queue.list_cron_jobs()
    assert (schedule.pause_reason, schedule.paused_by) == ("holidays", "dataqueue_cron")
    [job_id] = {json.loads(run("run", "nightly", "--json"))["jobId"]}
    assert queue.get_job(job_id) is not None
    assert run("run", "nightly") == "nightly: nothing was added, since its last job has not ended.\n"
    assert [tick.outcome for tick in queue.get_cron_ticks(schedule.id)] == [TickOutcome.BY_HAND]
    assert run("resume", "nightly") == "nightly: resumed.\n"
    assert json.loads(run("resume", "nightly", "--json"))["changed"] is False


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["run"], "run needs the name of a schedule."),
        (["list", "nightly"], "list takes no name."),
        (["run", "nightli"], "There is no schedule 'nightli'. Did you mean 'nightly'?"),
        (["run", "x"], "There is no schedule 'x'. Known: nightly."),
        (["resume", "nightly", "--reason", "x"], "resume takes no --reason."),
        (["pause", "nightly", "--reason", "x" * 1001], "reason is"),
        (["pause", "x" * 300], "schedule_name is"),
    ],
)
def test_what_it_refuses(given: list[str], words: str) -> None:
    assert words in refused(*given)


@pytest.mark.usefixtures("queue")
def test_another_word() -> None:
    with pytest.raises(CommandError, match=r"'lst' is not one of them\. Did you mean 'list'\?"):
        run("lst")


def test_what_is_declared_wrongly_is_said(queue: JobQueue, settings: Any) -> None:
    settings.DATAQUEUE = {"shop": {**settings.DATAQUEUE["shop"], "SCHEDULES": {"x": {"job_type": "cron.report"}}}}
    assert "The schedule 'x' of 'shop' is declared wrongly" in refused("list")
