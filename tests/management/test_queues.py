"""dataqueue_queues: what it does, prints and refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dataqueue_django import get_queue
from dataqueue_django.queue import JobQueue


@pytest.fixture
def queue(any_alias: str, settings: Any) -> JobQueue:
    """The queue "shop", in the database of the test."""
    settings.DATAQUEUE = {"shop": {"OPTIONS": {"DATABASE": any_alias}, "OUTSIDE_TRANSACTION": "allow"}}
    return get_queue("shop")


def run(*given: str) -> str:
    """Run the command and return what it printed."""
    out = StringIO()
    call_command("dataqueue_queues", *given, "--alias", "shop", stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*given: str) -> str:
    """Run the command, which must refuse, and return what it says."""
    with pytest.raises(CommandError) as caught:
        run(*given)
    assert getattr(caught.value, "returncode", 2) in (1, 2)  # argparse's own, which the shell gets as 2
    return str(caught.value)


def test_list(queue: JobQueue) -> None:
    assert run("list") == "There are no queues.\n"
    queue.declare_queue("mail", description="letters \x1b[2J")
    for _ in range(3):
        queue.add_job("send", queue="mail", allow_unknown=True)
    queue.pause_queue("mail", reason="quiet \x1b[2J week", actor="ann")
    queue.set_limit(job_type="send", per_group=True, concurrency=2, rate=5, per=1, max_size=0)
    assert run("list").splitlines() == [
        "mail: 3 ready, 0 running, paused (letters \\x1b[2J)",
        "queue mail: paused: quiet \\x1b[2J week (ann)",
        "type send, each group: at most 2 at once, 5 per 1 s, 0 waiting",
    ]
    facts = json.loads(run("list", "--json"))
    assert facts["queues"] == [
        {
            "name": "mail",
            "description": "letters \x1b[2J",
            "declared": True,
            "ready": 3,
            "running": 0,
            "paused": True,
        }
    ]
    [pause], [limit] = facts["pauses"], facts["limits"]
    assert (pause["queue"], pause["jobType"], pause["until"], pause["actor"]) == ("mail", None, None, "ann")
    assert (limit["perGroup"], limit["group"], limit["perMs"], limit["burst"]) == (True, None, 1000, None)
    assert limit["updatedAt"].endswith("Z")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (["--queue", "mail"], "queue mail"),
        (["--job-type", "send"], "type send"),
        (["--queue", "mail", "--job-type", "send"], "type send of queue mail"),
        (["--all"], "all jobs"),
    ],
)
def test_pause_and_resume(queue: JobQueue, scope: list[str], words: str) -> None:
    said = run("pause", *scope, "--reason", "holidays", "--until", "2031-05-01T12:00:00Z")
    assert said == f"{words}: paused until 2031-05-01T12:00:00.000Z: holidays (dataqueue_queues)\n"
    [pause] = queue.get_pauses()
    assert (pause.reason, pause.actor, pause.until) == (
        "holidays",
        "dataqueue_queues",
        datetime(2031, 5, 1, 12, tzinfo=UTC),
    )
    assert run("resume", *scope) == f"{words}: resumed.\n"
    assert queue.get_pauses() == []
    assert json.loads(run("resume", *scope, "--json")) == {
        "alias": "shop",
        "action": "resume",
        "scope": words,
        "changed": False,
    }
    assert run("resume", *scope) == f"{words}: was so already.\n"


def test_a_time_without_an_offset_is_the_projects(queue: JobQueue, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    pause = json.loads(run("pause", "--all", "--until", "2031-05-01T12:00", "--json"))["pause"]
    assert pause["until"] == "2031-05-01T06:30:00.000Z"


def test_limit_and_unlimit(queue: JobQueue) -> None:
    each = ["--job-type", "send", "--per-group"]
    said = run("limit", *each, "--concurrency", "2", "--rate", "5", "--per", "0.5", "--burst", "3")
    assert said == "type send, each group: at most 2 at once, 5 per 0.5 s with bursts of 3\n"
    run("limit", "--queue", "mail", "--group", "acme", "--max-size", "10")
    run("limit", "--queue", "mail", "--concurrency", "0")
    limits = {limit.id: limit for limit in queue.get_limits()}
    assert [(one.queue, one.group_id, one.concurrency, one.max_size) for one in limits.values()] == [
        ("", None, 2, None),
        ("mail", None, 0, None),
        ("mail", "acme", None, 10),
    ]
    assert {one.actor for one in limits.values()} == {"dataqueue_queues"}
    assert (
        json.loads(run("limit", "--max-size", "0", "--per-group", "--json"))["limit"]["scope"] == "all jobs, each group"
    )
    assert run("unlimit", *each) == "type send, each group: no limit any more.\n"
    assert run("unlimit", *each) == "type send, each group: was so already.\n"
    assert run("unlimit", "--queue", "mail", "--group", "acme") == "queue mail, group acme: no limit any more.\n"
    assert run("unlimit", "--queue", "mail") == "queue mail: no limit any more.\n"
    assert run("unlimit", "--per-group") == "all jobs, each group: no limit any more.\n"
    assert queue.get_limits() == []


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["pause"], "pause needs --queue, --job-type or --all."),
        (["resume", "--all", "--queue", "x"], "--all is every queue and job type"),
        (["list", "--queue", "x"], "list takes no --queue."),
        (["pause", "--all", "--concurrency", "0"], "pause takes no --concurrency."),
        (["resume", "--all", "--reason", "x"], "resume takes no --reason."),
        (["limit", "--all", "--concurrency", "1"], "limit takes no --all."),
        (["unlimit", "--queue", "x", "--max-size", "1"], "unlimit takes no --max-size."),
        (["limit", "--queue", "x"], "The limit limits nothing"),
        (["limit", "--queue", "x", "--rate", "1"], "rate is given without per"),
        (["limit", "--per-group", "--group", "x", "--concurrency", "1"], "not allowed with argument"),
        (["limit", "--concurrency", "-1"], "is not a whole number from 0 to"),
        (["limit", "--rate", "0", "--per", "1"], "is not a whole number from 1 to"),
        (["pause", "--all", "--until", "soon"], "'soon' is not a time; expected one such as 2030-12-31T18:00"),
        (["pause", "--all", "--until", "2020-01-01"], "expected a time that is still to come"),
        (["pause", "--all", "--reason", "x" * 1001], "reason is"),
        (["pause", "--queue", "x" * 300], "queue is"),
        (["pauze"], "'pauze' is not one of them. Did you mean 'pause'?"),
    ],
)
def test_what_it_refuses(queue: JobQueue, given: list[str], words: str) -> None:
    assert words in refused(*given)
    assert (queue.get_pauses(), queue.get_limits()) == ([], [])
