"""Options of `dataqueue_worker` that make no sense: one sentence, exit code 2."""

from __future__ import annotations

import pytest
from django.core.management import ManagementUtility

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurrency", "0"], "argument --concurrency: it is 0; expected a whole number from 1 to 10000"),
        (["--concurrency", "-1"], "argument --concurrency: it is -1; expected"),
        (["--concurrency", "abc"], "argument --concurrency: it is 'abc'; expected a whole number from 1 to 10000"),
        (["--concurrency", "100000"], "argument --concurrency: it is 100000; expected"),
        (["--concurrency", "1.5"], "argument --concurrency: it is '1.5'; expected"),
        (["--group-concurrency", "0"], "argument --group-concurrency: it is 0; expected a whole number from 1 to"),
        (["--batch-size", "0"], "argument --batch-size: it is 0; expected a whole number from 1 to 1000"),
        (["--batch-size", "x"], "argument --batch-size: it is 'x'; expected"),
        (["--processes", "0"], "argument --processes: it is 0; expected a whole number from 1 to 1000"),
        (["--max-jobs", "0"], "argument --max-jobs: it is 0; expected a whole number from 1 to 1000000000"),
        (["--poll-interval", "0"], "argument --poll-interval: it is 0.0; expected 0.001 to 3600 seconds"),
        (["--poll-interval", "nan"], "argument --poll-interval: it is nan; expected"),
        (["--poll-interval", "soon"], "argument --poll-interval: it is 'soon'; expected"),
        (["--queues", "a,,b"], "argument --queues: it is ''; expected a name of 1 to 128 characters"),
        (["--job-types", ""], "argument --job-types: it is ''; expected"),
        (["--job-types", "harness.atc"], "--job-types: unknown job type 'harness.atc'. Did you mean 'harness.act'?"),
        (["--job-types", "zzz"], "--job-types: unknown job type 'zzz'. Known: "),
        (["--queues", "a", "--exclude-queues", "a"], "--exclude-queues leaves none of the --queues."),
        (["--alias", "defautl"], "--alias: DATAQUEUE has no alias 'defautl'. Did you mean 'default'?"),
        (["--concurency", "3"], "unrecognized arguments: --concurency 3 Did you mean '--concurrency'?"),
        (["--burs"], "unrecognized arguments: --burs Did you mean '--burst'?"),
        (["--alias", "zzz"], "--alias: DATAQUEUE has no alias 'zzz'. Known: 'default'"),
        (["--worker-id", "a\nb"], "--worker-id is 'a\\nb'; expected 1 to 200 printable characters."),
        (["--worker-id", ""], "--worker-id is ''; expected"),
        (["--once", "--burst"], "--once cannot be combined with --burst."),
        (["--once", "--max-jobs", "3"], "--once cannot be combined with --max-jobs."),
        (["--once", "--processes", "2"], "--once cannot be combined with --processes."),
        (["--once", "--reload"], "--once cannot be combined with --reload."),
        (["--concurency", "3"], "unrecognized arguments: --concurency 3"),
        (["--queues"], "argument --queues: expected one argument"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def run(*arguments: str) -> int | str | None:
    """Run the command in this process, as `manage.py` does, and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", "dataqueue_worker", "--no-reload", *arguments]).execute()
    return ended.value.code
